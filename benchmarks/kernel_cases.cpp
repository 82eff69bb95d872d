#include "benchmarks/kernel_cases.h"

#include <bit>
#include <cstring>
#include <limits>

#include "benchmarks/case_list.h"
#include "benchmarks/cpu_peers.h"
#include "kernels/batch_norm/cases.h"
#include "kernels/classification/cases.h"
#include "kernels/common/philox.h"
#include "kernels/conv1d/cases.h"
#include "kernels/conv1d/implementation.h"
#include "kernels/cuda/device.h"
#include "kernels/elementwise/cases.h"
#include "kernels/linear/cases.h"
#include "kernels/pool/cases.h"
#include "kernels/reconstruction/cases.h"

namespace systole::benchmarks {

using namespace systole::kernels;

// ---- buffers

namespace {

/// Random numbers are drawn once and repeated: a prime number of them, so that neighbouring rows differ.
const std::vector<float>& pool_of_normals() {
  static const std::vector<float> pool = [] {
    const RandomStream stream(1, Purpose::test);
    std::vector<float> values(262'139);
    for (size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(static_cast<uint32_t>(i));
    return values;
  }();
  return pool;
}

}  // namespace

int Problem::given(std::vector<float> values) {
  buffers.push_back(std::move(values));
  return static_cast<int>(buffers.size()) - 1;
}

int Problem::normal(int64_t count, float scale) {
  const std::vector<float>& pool = pool_of_normals();
  std::vector<float> values(static_cast<size_t>(count));
  size_t from = 7919 * (buffers.size() + 1);  // another place for every buffer
  for (float& value : values) value = scale * pool[from++ % pool.size()];
  return given(std::move(values));
}

int Problem::positive(int64_t count) {
  const int buffer = normal(count);
  for (float& value : buffers.back()) value = 1 + 0.5f * value / (1 + std::abs(value));
  return buffer;
}

int Problem::result(int64_t count) {
  return updated(given(std::vector<float>(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN())));
}

int Problem::updated(int buffer) {
  results.push_back(buffer);
  return buffer;
}

int Problem::series(int buffer) {
  // Rounded for all: the reference would otherwise let other values through a ReLU than those that read bf16.
  for (float& value : buffers[static_cast<size_t>(buffer)]) value = to_float(to_bf16(value));
  stored.push_back(buffer);
  return buffer;
}

// ---- families

namespace {

/// A raw output with the BatchNorm and ReLU behind it.
struct Normalized {
  int y, mean, scale, shift;

  Normalized(Problem& p, int64_t size, int64_t columns)
      : y(p.series(p.normal(size))),
        mean(p.normal(columns, 0.1f)),
        scale(p.positive(columns)),
        shift(p.normal(columns)) {}
  NormalizedOutput in(const Memory& m, int groups, Storage storage = Storage::f32) const {
    return {ConstSeries(m[y], storage), m[mean], m[scale], m[shift], groups, true};
  }
};

void add_batch_norm(Cases& cases) {
  for (const BatchNormCase& c : batch_norm_cases()) {
    const BatchNormShape s = c.shape;
    const int64_t columns = int64_t{s.groups} * s.C;
    add(cases, "batch_norm.statistics", c.name, 5.0 * s.size(), 4.0 * s.size(), [=](Problem& p) -> Run {
      const int x = p.normal(s.size()), mean = p.result(columns), var = p.result(columns);
      return [=](Queue& q, const Memory& m) { batch_norm_kernels(q.device()).statistics(q, s, m[x], m[mean], m[var]); };
    });
    add(cases, "batch_norm.apply", c.name, 3.0 * s.size(), 8.0 * s.size(), [=](Problem& p) -> Run {
      const int x = p.normal(s.size()), scale = p.positive(columns), shift = p.normal(columns), y = p.result(s.size());
      return [=](Queue& q, const Memory& m) {
        batch_norm_kernels(q.device()).apply(q, s, m[x], m[scale], m[shift], true, m[y]);
      };
    });
    add(cases, "batch_norm.backward", c.name, c.backward_flop(), c.backward_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(s.size()), dy = p.normal(s.size()), mean = p.normal(columns, 0.1f),
                var = p.positive(columns), scale = p.positive(columns), shift = p.normal(columns),
                dx = p.result(s.size()), dgamma = p.result(s.C), dbeta = p.result(s.C);
      return [=](Queue& q, const Memory& m) {
        batch_norm_kernels(q.device())
            .backward(q, s, m[x], m[dy], m[mean], m[var], 1e-5f, m[scale], m[shift], true, m[dx], kOverwrite, m[dgamma],
                      m[dbeta], kOverwrite);
      };
    });
    add(cases, "batch_norm.backward_evaluation", c.name, c.backward_flop(), c.backward_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(s.size()), dy = p.normal(s.size()), mean = p.normal(columns, 0.1f),
                var = p.positive(columns), scale = p.positive(columns), shift = p.normal(columns),
                dx = p.result(s.size()), dgamma = p.result(s.C), dbeta = p.result(s.C);
      return [=](Queue& q, const Memory& m) {
        batch_norm_kernels(q.device())
            .backward_evaluation(q, s, m[x], m[dy], m[mean], m[var], 1e-5f, m[scale], m[shift], true, m[dx], kOverwrite,
                                 m[dgamma], m[dbeta], kOverwrite);
      };
    });
    const int64_t records = int64_t{s.N} * s.C;
    if (s.rows_per_group() > 1)  // one row has no unbiased variance
      add(cases, "batch_norm.finish_statistics", c.name, 6.0 * records + 12.0 * columns, c.finish_bytes(),
          [=](Problem& p) -> Run {
            const int record_mean = p.normal(records), m2 = p.positive(records), gamma = p.normal(s.C),
                      beta = p.normal(s.C), mean = p.result(columns), var = p.result(columns),
                      scale = p.result(columns), shift = p.result(columns), running_mean = p.updated(p.normal(s.C)),
                      running_var = p.updated(p.positive(s.C));
            return [=](Queue& q, const Memory& m) {
              batch_norm_kernels(q.device())
                  .finish_statistics(q, s, m[record_mean], m[m2], s.L,
                                     {m[gamma], m[beta], 1e-5f, 0.1f, m[mean], m[var], m[scale], m[shift],
                                      m[running_mean], m[running_var]});
            };
          });
    add(cases, "batch_norm.fold", c.name, 5.0 * columns, 16.0 * columns, [=](Problem& p) -> Run {
      const int mean = p.normal(columns), var = p.positive(columns), gamma = p.normal(s.C), beta = p.normal(s.C),
                scale = p.result(columns), shift = p.result(columns);
      return [=](Queue& q, const Memory& m) {
        batch_norm_kernels(q.device()).fold(q, s, m[mean], m[var], m[gamma], m[beta], 1e-5f, m[scale], m[shift]);
      };
    });
    if (s.rows_per_group() > 1)  // one row has no unbiased variance
      add(cases, "batch_norm.update_running", c.name, 7.0 * columns, 8.0 * columns + 16.0 * s.C,
          [=](Problem& p) -> Run {
            const int mean = p.normal(columns), var = p.positive(columns), running_mean = p.updated(p.normal(s.C)),
                      running_var = p.updated(p.positive(s.C));
            return [=](Queue& q, const Memory& m) {
              batch_norm_kernels(q.device())
                  .update_running(q, s, m[mean], m[var], 0.1f, m[running_mean], m[running_var]);
            };
          });
    add(cases, "batch_norm.backward_sums", c.name, c.sums_flop(), c.sums_bytes(), [=](Problem& p) -> Run {
      const int dz = p.normal(s.size()), g = p.result(records), gd = p.result(records);
      const Normalized output(p, s.size(), columns);
      return [=](Queue& q, const Memory& m) {
        batch_norm_kernels(q.device()).backward_sums(q, s, m[dz], {output.in(m, s.groups), m[g], m[gd]});
      };
    });
    add(cases, "batch_norm.backward_finish", c.name, c.finish_flop(), c.finish_bytes(), [=](Problem& p) -> Run {
      const int g = p.normal(records), gd = p.normal(records), var = p.positive(columns), scale = p.positive(columns),
                offset = p.result(columns), slope = p.result(columns), dgamma = p.result(s.C), dbeta = p.result(s.C);
      return [=](Queue& q, const Memory& m) {
        batch_norm_kernels(q.device())
            .backward_finish(q, s, m[g], m[gd], 1, m[var], 1e-5f, m[scale], true, m[offset], m[slope], m[dgamma],
                             m[dbeta], kOverwrite);
      };
    });
    add(cases, "batch_norm.backward_apply", c.name, c.backward_apply_flop(), c.backward_apply_bytes(),
        [=](Problem& p) -> Run {
          const int dz = p.normal(s.size()), offset = p.normal(columns), slope = p.normal(columns),
                    dy = p.result(s.size());
          const Normalized output(p, s.size(), columns);
          return [=](Queue& q, const Memory& m) {
            batch_norm_kernels(q.device())
                .backward_apply(q, s, m[dz], {output.in(m, s.groups), m[offset], m[slope]}, m[dy]);
          };
        });
  }
}

void add_classification(Cases& cases) {
  for (const BceCase& c : bce_cases()) {
    const BceShape s = c.shape;
    const int64_t count = int64_t{s.N} * s.C;
    add(cases, "classification.bce_forward", c.name, c.flop(), c.forward_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), y = p.given(std::vector<float>(size_t(count), 1)), loss = p.result(1);
      return [=](Queue& q, const Memory& m) {
        classification_kernels(q.device()).bce_forward(q, s, m[x], m[y], nullptr, nullptr, m[loss]);
      };
    });
    add(cases, "classification.bce_backward", c.name, c.flop(), c.backward_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), y = p.given(std::vector<float>(size_t(count), 1)), upstream = p.given({1}),
                dx = p.result(count);
      return [=](Queue& q, const Memory& m) {
        classification_kernels(q.device())
            .bce_backward(q, s, m[x], m[y], nullptr, nullptr, m[upstream], m[dx], kOverwrite);
      };
    });
  }
}

using Conv1dRun = std::function<void(const Conv1dKernels&, Queue&, const Memory&, Storage)>;

/// What a convolution does beside the product: oneDNN has it alone.
enum class Convolution { plain, fused };

/// Our kernels, and cuDNN's or oneDNN's where the device and the build have them.
template <class Prepare>
void add_convolution(Cases& cases, const char* kernel, Convolution kind, const Conv1dCase& c, const Prepare& prepare) {
  cases.push_back(
      {kernel, c.name, c.flop(), c.bytes(), [=](Device device) {
         Problem p;
         const Conv1dRun run = prepare(p);
         p.add("systole", [=](Queue& q, const Memory& m) { run(conv1d_kernels(q.device()), q, m, Storage::f32); });
         if (device != Device::cpu && Queue(device).precision() == Precision::bf16) {
           const double series = static_cast<double>(c.shape.input_size() + c.shape.output_size());
           p.variants.push_back(
               {"systole bf16 series",
                [=](Queue& q, const Memory& m) { run(conv1d_kernels(q.device()), q, m, Storage::bf16); }, Storage::bf16,
                c.bytes() - 2 * series});
#if defined(SYSTOLE_CUDA)
           if (device == Device::cuda && cuda::has_wgmma())
             p.variants.push_back({"portable bf16 series",
                                   [=](Queue& q, const Memory& m) { run(cuda::conv1d, q, m, Storage::bf16); },
                                   Storage::bf16, c.bytes() - 2 * series});
#endif
         }
#if defined(SYSTOLE_CUDNN)
         if (device == Device::cuda)
           p.add("cudnn", [=](Queue& q, const Memory& m) { run(cuda::conv1d_cudnn, q, m, Storage::f32); });
#endif
#if defined(SYSTOLE_ONEDNN)
         if (device == Device::cpu && kind == Convolution::plain)
           p.add("onednn", [=](Queue& q, const Memory& m) { run(onednn_conv1d, q, m, Storage::f32); });
#endif
         (void)device;
         (void)kind;
         return p;
       }});
}

void add_conv1d(Cases& cases) {
  for (const Conv1dCase& c : conv1d_cases()) {
    const Conv1dShape s = c.shape;
    const float weight = 1 / std::sqrt(static_cast<float>(s.K * s.C_in));
    add_convolution(cases, "conv1d.forward", Convolution::plain, c, [=](Problem& p) -> Conv1dRun {
      const int x = p.series(p.normal(s.input_size())), w = p.normal(s.weight_size(), weight), bias = p.normal(s.C_out),
                y = p.series(p.result(s.output_size()));
      return [=](const Conv1dKernels& k, Queue& q, const Memory& m, Storage storage) {
        k.forward(q, s, ConstSeries(m[x], storage), {}, m[w], m[bias], Series(m[y], storage), {});
      };
    });
    add_convolution(
        cases, "conv1d.forward, normalising, with moments", Convolution::fused, c, [=](Problem& p) -> Conv1dRun {
          const int64_t moments = int64_t{s.N} * s.C_out;
          const int x = p.series(p.normal(s.input_size())), w = p.normal(s.weight_size(), weight),
                    scale = p.positive(s.C_in), shift = p.normal(s.C_in), y = p.series(p.result(s.output_size())),
                    mean = p.result(moments), m2 = p.result(moments);
          return [=](const Conv1dKernels& k, Queue& q, const Memory& m, Storage storage) {
            k.forward(q, s, ConstSeries(m[x], storage), {.scale = m[scale], .shift = m[shift], .relu = true}, m[w],
                      nullptr, Series(m[y], storage), {m[mean], m[m2]});
          };
        });
    add_convolution(cases, "conv1d.input_gradient", Convolution::plain, c, [=](Problem& p) -> Conv1dRun {
      const int dy = p.series(p.normal(s.output_size())), w = p.normal(s.weight_size(), weight),
                dz = p.series(p.result(s.input_size()));
      return [=](const Conv1dKernels& k, Queue& q, const Memory& m, Storage storage) {
        k.input_gradient(q, s, ConstSeries(m[dy], storage), {}, m[w], Series(m[dz], storage), kOverwrite, {});
      };
    });
    add_convolution(cases, "conv1d.input_gradient fused", Convolution::fused, c, [=](Problem& p) -> Conv1dRun {
      const int dy = p.series(p.normal(s.output_size())), w = p.normal(s.weight_size(), weight),
                offset = p.normal(s.C_out, 0.1f), slope = p.normal(s.C_out, 0.1f),
                dz = p.series(p.result(s.input_size())), g = p.result(int64_t{s.N} * s.C_in),
                gd = p.result(int64_t{s.N} * s.C_in);
      const Normalized output(p, s.output_size(), s.C_out), input(p, s.input_size(), s.C_in);
      return [=](const Conv1dKernels& k, Queue& q, const Memory& m, Storage storage) {
        k.input_gradient(q, s, ConstSeries(m[dy], storage), {output.in(m, 1, storage), m[offset], m[slope]}, m[w],
                         Series(m[dz], storage), kOverwrite, {input.in(m, 1, storage), m[g], m[gd]});
      };
    });
    add_convolution(cases, "conv1d.weight_gradient", Convolution::plain, c, [=](Problem& p) -> Conv1dRun {
      const int x = p.series(p.normal(s.input_size())), dy = p.series(p.normal(s.output_size())),
                dw = p.result(s.weight_size()), dbias = p.result(s.C_out);
      return [=](const Conv1dKernels& k, Queue& q, const Memory& m, Storage storage) {
        k.weight_gradient(q, s, ConstSeries(m[x], storage), {}, ConstSeries(m[dy], storage), {}, m[dw], m[dbias],
                          kOverwrite);
      };
    });
    add_convolution(cases, "conv1d.weight_gradient fused", Convolution::fused, c, [=](Problem& p) -> Conv1dRun {
      const int x = p.series(p.normal(s.input_size())), scale = p.positive(s.C_in), shift = p.normal(s.C_in),
                dy = p.series(p.normal(s.output_size())), offset = p.normal(s.C_out, 0.1f),
                slope = p.normal(s.C_out, 0.1f), dw = p.result(s.weight_size()), dbias = p.result(s.C_out);
      const Normalized output(p, s.output_size(), s.C_out);
      return [=](const Conv1dKernels& k, Queue& q, const Memory& m, Storage storage) {
        k.weight_gradient(q, s, ConstSeries(m[x], storage), {.scale = m[scale], .shift = m[shift], .relu = true},
                          ConstSeries(m[dy], storage), {output.in(m, 1, storage), m[offset], m[slope]}, m[dw], m[dbias],
                          kOverwrite);
      };
    });
  }
}

void add_elementwise(Cases& cases) {
  for (const ElementwiseCase& c : elementwise_cases()) {
    const int64_t count = c.count();
    add(cases, "elementwise.relu", c.name, c.flop(), c.map_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), y = p.result(count);
      return [=](Queue& q, const Memory& m) { elementwise_kernels(q.device()).relu(q, count, m[x], m[y]); };
    });
    add(cases, "elementwise.relu_backward", c.name, c.flop(), c.join_bytes(), [=](Problem& p) -> Run {
      const int y = p.normal(count), dy = p.normal(count), dx = p.result(count);
      return [=](Queue& q, const Memory& m) {
        elementwise_kernels(q.device()).relu_backward(q, count, m[y], m[dy], m[dx], kOverwrite);
      };
    });
    add(cases, "elementwise.scale", c.name, c.flop(), c.map_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), y = p.result(count);
      return [=](Queue& q, const Memory& m) {
        elementwise_kernels(q.device()).scale(q, count, 0.5f, m[x], m[y], kOverwrite);
      };
    });
    add(cases, "elementwise.add", c.name, c.flop(), c.join_bytes(), [=](Problem& p) -> Run {
      const int a = p.normal(count), b = p.normal(count), y = p.result(count);
      return [=](Queue& q, const Memory& m) { elementwise_kernels(q.device()).add(q, count, m[a], m[b], m[y]); };
    });
    const DropoutShape dropout{.N = c.N, .elements = c.elements, .p = 0.5f, .seed = 1, .step = 1, .layer = 0};
    add(cases, "elementwise.dropout", c.name, c.flop(), c.map_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), y = p.result(count);
      return [=](Queue& q, const Memory& m) {
        elementwise_kernels(q.device()).dropout(q, dropout, m[x], m[y], kOverwrite);
      };
    });
  }
  for (const ElementwiseCase& c : elementwise_cases()) {
    // Four channels where they divide a record, in two groups where there are two records.
    const int C = c.elements % 4 == 0 ? 4 : 1, groups = c.N % 2 == 0 ? 2 : 1;
    const ResidualShape s{c.N, static_cast<int>(c.elements / C), C};
    const DropoutShape mask{.N = c.N, .elements = c.elements, .p = 0.1f, .seed = 1, .step = 1, .layer = 0};
    const int64_t count = c.count(), columns = int64_t{groups} * C;
    add(cases, "elementwise.residual", c.name, 6 * c.flop(), c.join_bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), shortcut = p.normal(count), scale = p.positive(columns), shift = p.normal(columns),
                y = p.result(count);
      return [=](Queue& q, const Memory& m) {
        const PendingAffine affine{m[scale], m[shift], groups, false};
        elementwise_kernels(q.device()).residual(q, s, m[x], affine, m[shortcut], affine, mask, m[y]);
      };
    });
    add(cases, "elementwise.residual_backward", c.name, 3 * c.flop(), c.join_bytes() + 4 * c.flop(),
        [=](Problem& p) -> Run {
          const int y = p.normal(count), dy = p.normal(count), da = p.result(count), db = p.result(count);
          return [=](Queue& q, const Memory& m) {
            elementwise_kernels(q.device())
                .residual_backward(q, s, m[y], m[dy], mask, m[da], kOverwrite, m[db], kOverwrite);
          };
        });
  }
  for (const SplitLeadsCase& c : split_leads_cases()) {
    const SplitLeadsShape s = c.shape;
    const int64_t count = int64_t{s.V} * s.N * s.L * s.C;
    add(cases, "elementwise.split_leads", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), y = p.result(count);
      return [=](Queue& q, const Memory& m) { elementwise_kernels(q.device()).split_leads(q, s, m[x], m[y]); };
    });
  }
  for (const GatherCase& c : gather_cases()) {
    const GatherShape s = c.shape;
    add(cases, "elementwise.gather", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      std::vector<float> numbers;  // i32, in buffers of floats
      for (int n = 0; n < s.N; ++n) numbers.push_back(std::bit_cast<float>(n * 7919 % c.table_rows));
      const int table = p.normal(int64_t{c.table_rows} * s.C), rows = p.given(std::move(numbers)),
                y = p.result(int64_t{s.N} * s.C);
      return [=](Queue& q, const Memory& m) {
        elementwise_kernels(q.device()).gather(q, s, m[table], reinterpret_cast<const int32_t*>(m[rows]), m[y]);
      };
    });
  }
  for (const ConcatenateCase& c : concatenate_cases()) {
    const ConcatenateShape s = c.shape;
    add(cases, "elementwise.concatenate", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int a = p.normal(s.rows * s.C_a), b = p.normal(s.rows * s.C_b), y = p.result(s.rows * (s.C_a + s.C_b));
      return [=](Queue& q, const Memory& m) { elementwise_kernels(q.device()).concatenate(q, s, m[a], m[b], m[y]); };
    });
    add(cases, "elementwise.concatenate_backward", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int dy = p.normal(s.rows * (s.C_a + s.C_b)), da = p.result(s.rows * s.C_a), db = p.result(s.rows * s.C_b);
      return [=](Queue& q, const Memory& m) {
        elementwise_kernels(q.device()).concatenate_backward(q, s, m[dy], m[da], kOverwrite, m[db], kOverwrite);
      };
    });
  }
}

using LinearRun = std::function<void(const LinearKernels&, Queue&, const Memory&)>;

/// What the table has, which is cuBLAS on cuda, and there our plain kernels beside it; on cpu OpenBLAS where the build
/// has it.
template <class Prepare>
void add_product(Cases& cases, const char* kernel, const LinearCase& c, const Prepare& prepare) {
  cases.push_back({kernel, c.name, c.flop(), c.bytes(), [=](Device device) {
                     Problem p;
                     const LinearRun run = prepare(p);
                     p.add(device == Device::cuda ? "cublas" : "systole",
                           [=](Queue& q, const Memory& m) { run(linear_kernels(q.device()), q, m); });
#if defined(SYSTOLE_CUDA)
                     if (device == Device::cuda)
                       p.add("systole", [=](Queue& q, const Memory& m) { run(cuda::linear, q, m); });
#endif
#if defined(SYSTOLE_OPENBLAS)
                     if (device == Device::cpu)
                       p.add("openblas", [=](Queue& q, const Memory& m) { run(openblas_linear, q, m); });
#endif
                     return p;
                   }});
}

void add_linear(Cases& cases) {
  for (const LinearCase& c : linear_cases()) {
    const LinearShape s = c.shape;
    const int64_t M = s.M, weights = int64_t{s.D_in} * s.D_out;
    const float weight = 1 / std::sqrt(static_cast<float>(s.D_in));
    add_product(cases, "linear.forward", c, [=](Problem& p) -> LinearRun {
      const int x = p.normal(M * s.D_in), w = p.normal(weights, weight), bias = p.normal(s.D_out),
                y = p.result(M * s.D_out);
      return [=](const LinearKernels& k, Queue& q, const Memory& m) { k.forward(q, s, m[x], m[w], m[bias], m[y]); };
    });
    add_product(cases, "linear.input_gradient", c, [=](Problem& p) -> LinearRun {
      const int dy = p.normal(M * s.D_out), w = p.normal(weights, weight), dx = p.result(M * s.D_in);
      return [=](const LinearKernels& k, Queue& q, const Memory& m) {
        k.input_gradient(q, s, m[dy], m[w], m[dx], kOverwrite);
      };
    });
    add_product(cases, "linear.weight_gradient", c, [=](Problem& p) -> LinearRun {
      const int x = p.normal(M * s.D_in), dy = p.normal(M * s.D_out), dw = p.result(weights), dbias = p.result(s.D_out);
      return [=](const LinearKernels& k, Queue& q, const Memory& m) {
        k.weight_gradient(q, s, m[x], m[dy], m[dw], m[dbias], kOverwrite);
      };
    });
  }
}

void add_pool(Cases& cases) {
  for (const MeanCase& c : mean_cases()) {
    const MeanShape s = c.shape;
    const int64_t inputs = int64_t{s.N} * s.L * s.C, outputs = int64_t{s.N} * s.C;
    add(cases, "pool.mean_forward", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(inputs), y = p.result(outputs);
      return [=](Queue& q, const Memory& m) { pool_kernels(q.device()).mean_forward(q, s, m[x], {}, m[y]); };
    });
    add(cases, "pool.mean_backward", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int dy = p.normal(outputs), dx = p.result(inputs);
      return [=](Queue& q, const Memory& m) {
        pool_kernels(q.device()).mean_backward(q, s, m[dy], m[dx], kOverwrite, {});
      };
    });
  }
  for (const PoolCase& c : max_pool_cases()) {
    const MaxPoolShape s = c.shape;
    const int64_t inputs = int64_t{s.N} * s.L * s.C, outputs = int64_t{s.N} * s.L_out() * s.C;
    add(cases, "pool.max_forward", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(inputs), y = p.result(outputs), index = p.given(std::vector<float>(size_t(outputs)));
      return [=](Queue& q, const Memory& m) {
        pool_kernels(q.device()).max_forward(q, s, m[x], m[y], integers(m[index]));
      };
    });
    add(cases, "pool.max_backward", c.name, c.flop(), c.bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(inputs), dy = p.normal(outputs), dx = p.result(inputs);
      std::vector<float> y(static_cast<size_t>(outputs)), positions(y.size());
      Queue queue(Device::cpu);
      cpu::pool.max_forward(queue, s, p.buffers[size_t(x)].data(), y.data(), integers(positions.data()));
      const int index = p.given(std::move(positions));
      return [=](Queue& q, const Memory& m) {
        pool_kernels(q.device()).max_backward(q, s, m[dy], integers(m[index]), m[dx], kOverwrite);
      };
    });
  }
}

void add_reconstruction(Cases& cases) {
  for (const BlockMaskCase& c : block_mask_cases()) {
    const BlockMaskShape s = c.shape;
    const int64_t count = int64_t{s.N} * s.L * s.C;
    add(cases, "reconstruction.mask_blocks", c.name, 0, c.bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), y = p.result(count);
      return [=](Queue& q, const Memory& m) { reconstruction_kernels(q.device()).mask_blocks(q, s, m[x], m[y]); };
    });
    add(cases, "reconstruction.squared_error_forward", c.name, 3 * c.values(), c.bytes(), [=](Problem& p) -> Run {
      const int x = p.normal(count), target = p.normal(count), loss = p.result(1);
      return [=](Queue& q, const Memory& m) {
        reconstruction_kernels(q.device()).squared_error_forward(q, count, m[x], m[target], m[loss]);
      };
    });
    add(cases, "reconstruction.squared_error_backward", c.name, 2 * c.values(), 1.5 * c.bytes(),
        [=](Problem& p) -> Run {
          const int x = p.normal(count), target = p.normal(count), upstream = p.given({1}), dx = p.result(count);
          return [=](Queue& q, const Memory& m) {
            reconstruction_kernels(q.device())
                .squared_error_backward(q, count, m[x], m[target], m[upstream], m[dx], kOverwrite);
          };
        });
  }
}

}  // namespace

std::vector<KernelCase> kernel_cases() {
  Cases cases;
  add_batch_norm(cases);
  add_classification(cases);
  add_contrastive(cases);
  add_conv1d(cases);
  add_elementwise(cases);
  add_linear(cases);
  add_optimizer(cases);
  add_pool(cases);
  add_reconstruction(cases);
  add_step_data(cases);
  return cases;
}

}  // namespace systole::benchmarks
