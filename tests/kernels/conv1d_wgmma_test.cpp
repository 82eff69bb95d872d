// The convolution by wgmma against the one for all GPUs, on simt, where both are models, and on a GPU that has wgmma.

#include <cmath>
#include <optional>

#include "kernels/conv1d/implementation.h"
#include "kernels/conv1d/packed_weights.h"
#include "kernels/cuda/device.h"
#include "tests/device.h"
#include "tests/kernels/bf16.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

struct Tables {
  const Conv1dKernels &wgmma, &portable;
};
/// None where the device under test has no wgmma.
std::optional<Tables> tables() {
#if defined(SYSTOLE_CUDA)
  if (device() == Device::cuda && cuda::has_wgmma()) return Tables{cuda::conv1d_wgmma, cuda::conv1d};
#endif
  if (device() == Device::simt) return Tables{simt::conv1d_wgmma, simt::conv1d};
  return std::nullopt;
}

/// A convolution of bf16 series, of a normalised input where that `pends`; gradients are finished.
struct WgmmaProblem {
  static constexpr int kGroups = 2;
  Conv1dShape s;
  bool pends;
  std::vector<bf16> x, dy, before;
  std::vector<float> w, bias;
  std::vector<float> in_scale, in_shift, in_mean;

  WgmmaProblem(const Conv1dShape& shape, bool pending) : s(shape), pends(pending) {
    const auto series = [](int64_t count, uint32_t which) { return rounded(random_normal(size_t(count), which)); };
    x = series(s.input_size(), 1), dy = series(s.output_size(), 2);
    before = series(s.input_size(), 4);
    w = random_normal(size_t(s.weight_size()), 5), bias = random_normal(size_t(s.C_out), 6);
    for (float& weight : w) weight /= std::sqrt(static_cast<float>(s.K * s.C_in));
    uint32_t which = 7;
    for (auto* values : {&in_scale, &in_shift, &in_mean}) *values = random_normal(size_t(kGroups * s.C_in), which++);
  }

  PendingAffine affine(OnDevice& d) const {
    return pends ? PendingAffine{d.in(in_scale), d.in(in_shift), kGroups, true} : PendingAffine{};
  }
  RecordGradientSums sums(OnDevice& d, std::vector<float>& g, std::vector<float>& gd) const {
    if (!pends) return {};
    return {{d.in(x), d.in(in_mean), d.in(in_scale), d.in(in_shift), kGroups, true}, d.out(g), d.out(gd)};
  }
};

/// What one implementation makes of a problem.
struct Results {
  std::vector<bf16> y, dz, dz_added;
  std::vector<float> mean, m2, g, gd, g_added, gd_added, dw, dbias;

  Results(const Conv1dKernels& conv, const WgmmaProblem& p)
      : y(p.dy.size(), to_bf16(NAN)), dz(p.x.size(), to_bf16(NAN)), dz_added(p.before) {
    const auto N = static_cast<size_t>(p.s.N);
    mean = m2 = std::vector<float>(N * p.s.C_out, NAN);
    g = gd = std::vector<float>(N * p.s.C_in, NAN);
    dw = std::vector<float>(p.w.size(), NAN), dbias = std::vector<float>(p.bias.size(), NAN);
    g_added = gd_added = g;
    OnDevice d(Precision::bf16);
    conv.forward(d.queue(), p.s, d.in(p.x), p.affine(d), d.in(p.w), d.in(p.bias), d.out(y), {d.out(mean), d.out(m2)});
    conv.input_gradient(d.queue(), p.s, d.in(p.dy), {}, d.in(p.w), d.out(dz), GradientMode::overwrite,
                        p.sums(d, g, gd));
    conv.input_gradient(d.queue(), p.s, d.in(p.dy), {}, d.in(p.w), d.out(dz_added), GradientMode::accumulate,
                        p.sums(d, g_added, gd_added));
    conv.weight_gradient(d.queue(), p.s, d.in(p.x), p.affine(d), d.in(p.dy), {}, d.out(dw), d.out(dbias),
                         GradientMode::overwrite);
  }
};

/// Compares every pass of the two tables, where the device under test has both.
void check_wgmma(const Conv1dShape& s) {
  const auto both = tables();
  if (!both) return;
  for (bool pends : {false, true}) {
    CAPTURE(text(s));
    CAPTURE(pends);
    const WgmmaProblem problem(s, pends);
    const Results found(both->wgmma, problem), expected(both->portable, problem);
    // The factors are the same bf16 numbers in both: what differs is the order of f32 sums, and so at times the last
    // bit of a stored bf16.
    constexpr double kSums = 2e-5, kStored = 0x1p-8;
    check_close(widened(found.y), widened(expected.y), kStored, "y");
    check_close(found.mean, expected.mean, kSums, "mean");
    check_close(found.m2, expected.m2, kSums, "m2");
    check_close(widened(found.dz), widened(expected.dz), kStored, "dz");
    check_close(widened(found.dz_added), widened(expected.dz_added), kStored, "dz added");
    check_close(found.dw, expected.dw, kSums, "dw");
    check_close(found.dbias, expected.dbias, kSums, "dbias");
    if (!pends) continue;  // then no sums of the gradient are wanted
    check_close(found.g, expected.g, kSums, "g");
    check_close(found.gd, expected.gd, kSums, "gd");
    check_close(found.g_added, expected.g_added, kSums, "g of the sum");
    check_close(found.gd_added, expected.gd_added, kSums, "gd of the sum");
  }
}

}  // namespace

// N, L, C_in, C_out, K, stride, padding, dilation.

TEST_CASE("conv1d by wgmma: whole tiles of many channels are those of the kernels for all GPUs") {
  for (const Conv1dShape& s :
       {Conv1dShape{2, 128, 64, 64, 7, 1, 3, 1}, {2, 250, 64, 128, 5, 2, 2, 1}, {2, 65, 128, 128, 3, 1, 1, 1}})
    check_wgmma(s);
}

TEST_CASE("conv1d by wgmma: so are parts of tiles, strides, dilations and records shorter than their taps") {
  // A part of a chunk and of a panel; one tap; many slabs of few taps; several tiles a record; 12 leads; two and four
  // taps a step, with slabs of 32 and 6 taps; in the weight gradient, two and four taps an instruction, more of them
  // than a block has sums for, and slots for one tap an instruction only.
  for (const Conv1dShape& s : {Conv1dShape{2, 70, 32, 136, 3, 2, 1, 1},
                               {2, 70, 80, 24, 5, 1, 2, 3},
                               {2, 33, 16, 8, 1, 1, 0, 1},
                               {2, 9, 48, 72, 7, 3, 6, 2},
                               {2, 150, 16, 64, 3, 1, 40, 40},
                               {2, 61, 136, 24, 2, 4, 0, 1},
                               {2, 140, 12, 64, 11, 2, 5, 1},
                               {2, 70, 32, 32, 7, 1, 3, 1},
                               {2, 70, 16, 64, 38, 1, 18, 1},
                               {2, 150, 16, 64, 2, 1, 60, 60}})
    check_wgmma(s);
}

TEST_CASE("conv1d by wgmma: blocks of the weight gradient with several units, one of them with two groups' records") {
  const auto both = tables();
  if (!both) return;
  for (const Conv1dShape& s : {Conv1dShape{100, 3, 72, 72, 2, 1, 1, 1}, {150, 3, 12, 8, 5, 2, 2, 1}}) {
    CAPTURE(text(s));
    const WgmmaProblem p(s, true);
    const auto gradient = [&](const Conv1dKernels& conv) {
      std::vector<float> dw(p.w.size(), NAN), dbias(p.bias.size(), NAN);
      {
        OnDevice d(Precision::bf16);
        conv.weight_gradient(d.queue(), p.s, d.in(p.x), p.affine(d), d.in(p.dy), {}, d.out(dw), d.out(dbias),
                             GradientMode::overwrite);
      }
      dw.insert(dw.end(), dbias.begin(), dbias.end());
      return dw;
    };
    check_close(gradient(both->wgmma), gradient(both->portable), 2e-5, "dw and dbias");
  }
}

TEST_CASE("conv1d by wgmma: rows whose address 16 bytes do not divide are left to the kernels for all GPUs") {
  const auto both = tables();
  if (!both) return;
  const Conv1dShape s{1, 40, 16, 16, 3, 1, 1, 1};
  constexpr size_t kShift = 4;  // bf16 values: 8 bytes
  const std::vector<bf16> x = rounded(random_normal(kShift + static_cast<size_t>(s.input_size()), 1)),
                          dy = rounded(random_normal(static_cast<size_t>(s.output_size()), 2));
  const std::vector<float> w = random_normal(static_cast<size_t>(s.weight_size()), 3);
  const auto results = [&](const Conv1dKernels& conv) {
    std::vector<bf16> y(dy.size(), to_bf16(NAN));
    std::vector<float> dw(w.size(), NAN), all;
    {
      OnDevice d(Precision::bf16);
      const bf16* rows = d.in(x) + kShift;
      conv.forward(d.queue(), s, rows, {}, d.in(w), nullptr, d.out(y), {});
      conv.weight_gradient(d.queue(), s, rows, {}, d.in(dy), {}, d.out(dw), nullptr, GradientMode::overwrite);
    }
    all = widened(y);
    all.insert(all.end(), dw.begin(), dw.end());
    return all;
  };
  CHECK(results(both->wgmma) == results(both->portable));
}

TEST_CASE("conv1d by wgmma: so are sums beside a normalisation whose address 16 bytes do not divide") {
  const auto both = tables();
  if (!both) return;
  const Conv1dShape s{2, 40, 16, 16, 3, 1, 1, 1};
  const WgmmaProblem p(s, true);
  const std::vector<float> scale = random_normal(size_t(WgmmaProblem::kGroups * s.C_in) + 1, 1);
  const auto results = [&](const Conv1dKernels& conv) {
    std::vector<bf16> dz(p.x.size(), to_bf16(NAN));
    std::vector<float> g(static_cast<size_t>(s.N) * s.C_in, NAN), gd = g, all;
    {
      OnDevice d(Precision::bf16);
      RecordGradientSums sums = p.sums(d, g, gd);
      sums.output.scale = d.in(scale) + 1;
      conv.input_gradient(d.queue(), s, d.in(p.dy), {}, d.in(p.w), d.out(dz), GradientMode::overwrite, sums);
    }
    all = widened(dz);
    all.insert(all.end(), g.begin(), g.end());
    all.insert(all.end(), gd.begin(), gd.end());
    return all;
  };
  CHECK(results(both->wgmma) == results(both->portable));
}

TEST_CASE("conv1d by wgmma: weights that are packed together give the same bits, and follow a change between scopes") {
  const auto both = tables();
  if (!both) return;
  // More than one launch packs: 27 convolutions, each in two layouts.
  const Conv1dShape shapes[] = {{1, 9, 64, 64, 3, 2, 1, 1}, {1, 8, 12, 24, 5, 1, 2, 1}, {1, 8, 72, 128, 2, 1, 0, 1}};
  constexpr size_t kEach = 9;
  int64_t count = 0;
  for (const Conv1dShape& s : shapes) count += int64_t{kEach} * s.weight_size();
  std::vector<float> w = random_normal(static_cast<size_t>(count), 1);

  Queue queue(device(), Precision::bf16);
  const std::shared_ptr<std::byte> memory = allocate_memory(device(), w.size() * sizeof(float));
  auto* const on_device = reinterpret_cast<float*>(memory.get());
  PackedWeights packed(device(), on_device, count);
  /// y and dx of all convolutions.
  const auto results = [&] {
    std::vector<std::vector<float>> all;
    const float* weights = on_device;
    for (const Conv1dShape& s : shapes)
      for (size_t i = 0; i < kEach; ++i, weights += s.weight_size()) {
        const WgmmaProblem p(s, false);
        std::vector<bf16> y(p.dy.size(), to_bf16(NAN)), dx(p.x.size(), to_bf16(NAN));
        {
          OnDevice d(Precision::bf16);
          both->wgmma.forward(d.queue(), s, d.in(p.x), {}, weights, nullptr, d.out(y), {});
          both->wgmma.input_gradient(d.queue(), s, d.in(p.dy), {}, weights, d.out(dx), GradientMode::overwrite, {});
        }
        all.push_back(widened(y));
        all.push_back(widened(dx));
      }
    return all;
  };
  for (int change = 0; change < 2; ++change) {
    for (float& value : w) value *= 0.5f - static_cast<float>(change);
    copy_to_device(queue, on_device, w.data(), w.size() * sizeof(float));
    const auto expected = results();
    const PackedWeights::Scope scope(packed);
    CHECK(results() == expected);  // packed one by one, then together
  }

  const PackedLayout layout{{1, 1, 1, 0, false}, 64, 64, 1, 64};
  const float elsewhere[1] = {};
  CHECK(PackedWeights::find(queue, layout, on_device) == nullptr);  // outside of a scope
  const PackedWeights::Scope scope(packed);
  CHECK(PackedWeights::find(queue, layout, on_device) != nullptr);
  CHECK(PackedWeights::find(queue, layout, elsewhere) == nullptr);
  CHECK(PackedWeights::find(queue, layout, on_device + count) == nullptr);
}

TEST_CASE("conv1d: pieces of records that were asked for have their moments and sums, of either implementation") {
  const auto both = tables();
  if (!both) return;
  const auto size = [](int N, int pieces, int C) { return static_cast<size_t>(N) * pieces * C; };
  for (const Conv1dShape& s :
       {Conv1dShape{2, 300, 16, 64, 3, 2, 1, 1}, {2, 250, 64, 128, 3, 1, 1, 1}, {2, 9, 8, 16, 1, 3, 0, 1}})
    for (const Conv1dKernels* conv : {&both->wgmma, &both->portable}) {
      CAPTURE(text(s));
      const WgmmaProblem p(s, true);
      const Results whole(*conv, p);
      int piece_rows = s.L_out(), pieces = 1;
      const int most = most_pieces(s.L_out()), most_of_gradient = most_pieces(s.L, s.stride);
      std::vector<bf16> y(p.dy.size()), dz(p.x.size());
      std::vector<float> mean(size(s.N, most, s.C_out)), m2(mean), g(size(s.N, most_of_gradient, s.C_in)), gd(g);
      {
        OnDevice d(Precision::bf16);
        conv->forward(d.queue(), s, d.in(p.x), p.affine(d), d.in(p.w), d.in(p.bias), d.out(y),
                      {d.out(mean), d.out(m2), &piece_rows});
        RecordGradientSums sums = p.sums(d, g, gd);
        sums.pieces = &pieces;
        conv->input_gradient(d.queue(), s, d.in(p.dy), {}, d.in(p.w), d.out(dz), GradientMode::overwrite, sums);
      }
      CHECK(widened(y) == widened(whole.y));
      CHECK(widened(dz) == widened(whole.dz));
      const int moments = (s.L_out() + piece_rows - 1) / piece_rows;
      REQUIRE(moments <= most);
      CHECK((moments > 1) == (s.L_out() > 128));
      REQUIRE(pieces <= most_of_gradient);
      CHECK((pieces > s.stride) == (s.L > 128 * s.stride));

      std::vector<double> joined_mean, joined_m2, joined_g, joined_gd;
      for (int n = 0; n < s.N; ++n) {
        for (int c = 0; c < s.C_out; ++c) {
          double rows = 0, of_mean = 0, of_m2 = 0;
          for (int piece = 0; piece < moments; ++piece) {
            const size_t at = size(n, moments, s.C_out) + size(piece, 1, s.C_out) + static_cast<size_t>(c);
            const double more = std::min(piece_rows, s.L_out() - piece * piece_rows), delta = mean[at] - of_mean;
            of_mean += delta * more / (rows + more);
            of_m2 += m2[at] + delta * delta * rows * more / (rows + more);
            rows += more;
          }
          joined_mean.push_back(of_mean);
          joined_m2.push_back(of_m2);
        }
        for (int c = 0; c < s.C_in; ++c) {
          double of_g = 0, of_gd = 0;
          for (int piece = 0; piece < pieces; ++piece) {
            const size_t at = size(n, pieces, s.C_in) + size(piece, 1, s.C_in) + static_cast<size_t>(c);
            of_g += g[at];
            of_gd += gd[at];
          }
          joined_g.push_back(of_g);
          joined_gd.push_back(of_gd);
        }
      }
      check_close(whole.mean, joined_mean, 1e-6, "mean");
      check_close(whole.m2, joined_m2, 1e-6, "m2");
      check_close(whole.g, joined_g, 1e-6, "g");
      check_close(whole.gd, joined_gd, 1e-6, "gd");
    }
}
