// The cases of kernels/contrastive.

#include <cstring>

#include "benchmarks/case_list.h"
#include "kernels/contrastive/cases.h"
#include "kernels/contrastive/feature_loss.h"
#include "kernels/contrastive/sigmoid_loss.h"

namespace systole::benchmarks {

using namespace systole::kernels;

namespace {

/// Equal sets have equal rows; rows that equal their positives would leave a gradient of nothing but roundings.
std::vector<float> unit_rows(int64_t M, int D, int set = 0) {
  Problem p;
  for (int before = 0; before < set; ++before) p.normal(1);
  p.normal(M * D);
  std::vector<float> z(p.buffers.back().size()), norm(static_cast<size_t>(M));
  Queue queue(Device::cpu);
  cpu::contrastive.l2_normalize(queue, {M, D}, p.buffers.back().data(), z.data(), norm.data());
  return z;
}

/// i % groups, as the bits of floats.
std::vector<float> group_ids(int count, int groups) {
  std::vector<float> ids(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const int32_t id = i % groups;
    std::memcpy(&ids[static_cast<size_t>(i)], &id, sizeof id);
  }
  return ids;
}

template <class Struct>
int64_t floats_of(int64_t count) {
  return count * static_cast<int64_t>(sizeof(Struct) / sizeof(float));
}

PairSums* sums_in(float* memory) {
  return reinterpret_cast<PairSums*>(memory);
}
PairRow* rows_in(float* memory) {
  return reinterpret_cast<PairRow*>(memory);
}

/// The buffers that every pass over pairs reads.
struct PairInputs {
  int x, y, row_ids, column_ids;

  PairInputs(Problem& p, const PairCase& c)
      : x(p.given(unit_rows(c.shape.A, c.shape.D))),
        y(c.shape.same_rows ? x : p.given(unit_rows(c.shape.B, c.shape.D, 1))),
        row_ids(p.given(group_ids(c.shape.A, c.groups))),
        column_ids(p.given(group_ids(c.shape.B, c.groups))) {}
};

/// What the cpu has of the rows.
std::vector<float> sums_of(const Problem& p, const PairInputs& in, const PairShape& s) {
  Queue queue(Device::cpu);
  std::vector<std::vector<float>> buffers = p.buffers;
  std::vector<float> sums(static_cast<size_t>(floats_of<PairSums>(s.A)));
  const auto at = [&](int buffer) { return buffers[static_cast<size_t>(buffer)].data(); };
  cpu::pair_loss.sums(queue, s, at(in.x), at(in.y), integers(at(in.row_ids)), integers(at(in.column_ids)),
                      sums_in(sums.data()), kOverwrite);
  return sums;
}

/// What it keeps of the forward pass.
std::vector<float> rows_of_loss(const Problem& p, const PairInputs& in, const PairShape& s) {
  Queue queue(Device::cpu);
  std::vector<float> sums = sums_of(p, in, s), rows(static_cast<size_t>(floats_of<PairRow>(s.A)));
  float loss = 0;
  int32_t left_out = 0;
  cpu::pair_loss.loss(queue, {s.A, s.temperature, PairMean::rows}, sums_in(sums.data()), &loss, rows_in(rows.data()),
                      &left_out);
  return rows;
}

void add_pairs(Cases& cases, const PairCase& c) {
  const PairShape s = c.shape;
  const int64_t numbers = int64_t{s.A} * s.D;
  add(cases, "contrastive.pair_sums", c.name, c.forward_flop(), c.forward_bytes(), [=](Problem& p) -> Run {
    const PairInputs in(p, c);
    const int sums = p.result(floats_of<PairSums>(s.A));
    return [=](Queue& q, const Memory& m) {
      pair_loss_kernels(q.device())
          .sums(q, s, m[in.x], m[in.y], integers(m[in.row_ids]), integers(m[in.column_ids]), sums_in(m[sums]),
                kOverwrite);
    };
  });
  add(cases, "contrastive.pair_loss", c.name, 6.0 * s.A, 4.0 * (floats_of<PairSums>(s.A) + floats_of<PairRow>(s.A)),
      [=](Problem& p) -> Run {
        const PairInputs in(p, c);
        const int sums = p.given(sums_of(p, in, s)), loss = p.result(1), rows = p.result(floats_of<PairRow>(s.A)),
                  left_out = p.given({0});
        return [=](Queue& q, const Memory& m) {
          pair_loss_kernels(q.device())
              .loss(q, {s.A, s.temperature, PairMean::rows}, sums_in(m[sums]), m[loss], rows_in(m[rows]),
                    integers(m[left_out]));
        };
      });
  add(cases, "contrastive.pair_temperature", c.name, 2.0 * numbers, 8.0 * numbers, [=](Problem& p) -> Run {
    const int x = p.given(unit_rows(s.A, s.D)), dx = p.positive(numbers), dtemperature = p.result(1);
    return [=](Queue& q, const Memory& m) {
      pair_loss_kernels(q.device()).temperature(q, {s.A, s.D, s.temperature}, m[x], m[dx], m[dtemperature], kOverwrite);
    };
  });
  add(cases, "contrastive.pair_gradient", c.name, c.backward_flop(), c.backward_bytes(), [=](Problem& p) -> Run {
    const PairInputs in(p, c);
    const int rows = p.given(rows_of_loss(p, in, s)), upstream = p.given({1}), dx = p.result(numbers);
    return [=](Queue& q, const Memory& m) {
      const PairRow* columns = s.same_rows ? rows_in(m[rows]) : nullptr;
      pair_loss_kernels(q.device())
          .gradient(q, s, m[in.x], m[in.y], integers(m[in.row_ids]), integers(m[in.column_ids]), rows_in(m[rows]),
                    columns, m[upstream], m[dx], kOverwrite);
    };
  });
  const SigmoidShape sigmoid{s, -2, pair_count(s)};
  add(cases, "contrastive.sigmoid_loss", c.name, c.forward_flop(), c.forward_bytes(), [=](Problem& p) -> Run {
    const PairInputs in(p, c);
    const int loss = p.result(1);
    return [=](Queue& q, const Memory& m) {
      sigmoid_loss_kernels(q.device())
          .loss(q, sigmoid, m[in.x], m[in.y], integers(m[in.row_ids]), integers(m[in.column_ids]), m[loss], kOverwrite);
    };
  });
  add(cases, "contrastive.sigmoid_gradient", c.name, c.backward_flop(), c.backward_bytes(), [=](Problem& p) -> Run {
    const PairInputs in(p, c);
    const int upstream = p.given({1}), dx = p.result(numbers), dbias = p.result(1);
    return [=](Queue& q, const Memory& m) {
      sigmoid_loss_kernels(q.device())
          .gradient(q, sigmoid, m[in.x], m[in.y], integers(m[in.row_ids]), integers(m[in.column_ids]), m[upstream],
                    m[dx], m[dbias], kOverwrite);
    };
  });
}

void add_features(Cases& cases, const FeatureCase& c) {
  const int64_t rows = int64_t{c.N} * c.D, matrix = int64_t{c.D} * c.D;
  const CosineShape cosine{c.N, c.D};
  add(cases, "contrastive.cosine_forward", c.name, 6 * c.rows(), 8 * c.rows(), [=](Problem& p) -> Run {
    const int a = p.normal(rows), b = p.normal(rows), loss = p.result(1);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device()).cosine_forward(q, cosine, m[a], m[b], m[loss]);
    };
  });
  add(cases, "contrastive.cosine_backward", c.name, 9 * c.rows(), 12 * c.rows(), [=](Problem& p) -> Run {
    const int a = p.normal(rows), b = p.normal(rows), upstream = p.given({1}), da = p.result(rows);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device())
          .cosine_backward(q, cosine, m[a], m[b], m[upstream], m[da], kOverwrite, nullptr, kOverwrite);
    };
  });
  const BarlowTwinsShape barlow{c.N, c.D, 0.0051f};
  add(cases, "contrastive.barlow_twins_forward", c.name, 4 * c.matrix(), 4 * c.matrix(), [=](Problem& p) -> Run {
    const int sums = p.normal(matrix), loss = p.result(1);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device()).barlow_twins_forward(q, barlow, m[sums], m[loss]);
    };
  });
  add(cases, "contrastive.barlow_twins_backward", c.name, 2 * c.matrix(), 8 * c.matrix(), [=](Problem& p) -> Run {
    const int sums = p.normal(matrix), upstream = p.given({1}), dsums = p.result(matrix);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device()).barlow_twins_backward(q, barlow, m[sums], m[upstream], m[dsums]);
    };
  });
  const VicregShape vicreg{c.N, c.D, 25, 25, 1};
  add(cases, "contrastive.vicreg_forward", c.name, 8 * c.matrix(), 8 * (c.matrix() + c.rows()), [=](Problem& p) -> Run {
    const int x = p.normal(2 * rows), sums = p.positive(2 * matrix), loss = p.result(1);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device()).vicreg_forward(q, vicreg, m[x], m[sums], m[loss]);
    };
  });
  add(cases, "contrastive.vicreg_backward", c.name, 4 * c.matrix(), 16 * c.matrix(), [=](Problem& p) -> Run {
    const int sums = p.positive(2 * matrix), upstream = p.given({1}), dsums = p.result(2 * matrix);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device()).vicreg_backward(q, vicreg, m[sums], m[upstream], m[dsums]);
    };
  });
  add(cases, "contrastive.vicreg_invariance_backward", c.name, 6 * c.rows(), 16 * c.rows(), [=](Problem& p) -> Run {
    const int x = p.normal(2 * rows), upstream = p.given({1}), dx = p.result(2 * rows);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device()).vicreg_invariance_backward(q, vicreg, m[x], m[upstream], m[dx], kOverwrite);
    };
  });
  add(cases, "contrastive.column_affine", c.name, 4.0 * c.D, 16.0 * c.D, [=](Problem& p) -> Run {
    const int mean = p.normal(c.D), var = p.positive(c.D), scale = p.result(c.D), shift = p.result(c.D);
    return [=](Queue& q, const Memory& m) {
      feature_loss_kernels(q.device()).column_affine(q, c.D, m[mean], m[var], 1e-5f, m[scale], m[shift]);
    };
  });
}

}  // namespace

void add_contrastive(Cases& cases) {
  for (const NormalizeCase& c : normalize_cases()) {
    const NormalizeShape s = c.shape;
    add(cases, "contrastive.l2_normalize", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(s.M * s.D), z = p.result(s.M * s.D), norm = p.result(s.M);
      return
          [=](Queue& q, const Memory& m) { contrastive_kernels(q.device()).l2_normalize(q, s, m[x], m[z], m[norm]); };
    });
    add(cases, "contrastive.l2_normalize_backward", c.name, 2 * c.flop(), 1.5 * c.bytes(), [=](Problem& p) -> Run {
      const int z = p.given(unit_rows(s.M, s.D)), norm = p.positive(s.M), dz = p.normal(s.M * s.D),
                dx = p.result(s.M * s.D);
      return [=](Queue& q, const Memory& m) {
        contrastive_kernels(q.device()).l2_normalize_backward(q, s, m[z], m[norm], m[dz], m[dx], kOverwrite);
      };
    });
  }
  for (const NtXentCase& c : nt_xent_cases()) {
    const NtXentShape s = c.shape;
    add(cases, "contrastive.nt_xent_forward", c.name, c.forward_flop(), c.forward_bytes(), [=](Problem& p) -> Run {
      const int z = p.given(unit_rows(s.M, s.D)), loss = p.result(1), log_sum = p.result(s.M);
      return [=](Queue& q, const Memory& m) {
        contrastive_kernels(q.device()).nt_xent_forward(q, s, m[z], m[loss], m[log_sum]);
      };
    });
    add(cases, "contrastive.nt_xent_backward", c.name, c.backward_flop(), c.backward_bytes(), [=](Problem& p) -> Run {
      const int z = p.given(unit_rows(s.M, s.D)), upstream = p.given({1}), dz = p.result(int64_t{s.M} * s.D);
      float loss = 0;
      std::vector<float> sums(static_cast<size_t>(s.M));
      Queue queue(Device::cpu);
      cpu::contrastive.nt_xent_forward(queue, s, p.buffers[size_t(z)].data(), &loss, sums.data());
      const int log_sum = p.given(std::move(sums));
      return [=](Queue& q, const Memory& m) {
        contrastive_kernels(q.device()).nt_xent_backward(q, s, m[z], m[log_sum], m[upstream], m[dz], kOverwrite);
      };
    });
  }
  for (const PairCase& c : pair_cases()) add_pairs(cases, c);
  for (const FeatureCase& c : feature_cases()) add_features(cases, c);
}

}  // namespace systole::benchmarks
