// Masked reconstruction: the mask by its definition, the error against plain sums and finite differences.

#include "kernels/reconstruction/reconstruction.h"

#include <cmath>

#include "kernels/reconstruction/cases.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

const ReconstructionKernels& kernels_under_test() {
  return reconstruction_kernels(test::device());
}

size_t size(const BlockMaskShape& s) {
  return size_t(s.N) * s.L * s.C;
}

std::vector<float> masked(const BlockMaskShape& s, const std::vector<float>& x) {
  std::vector<float> y(size(s), NAN);
  {
    OnDevice d;
    kernels_under_test().mask_blocks(d.queue(), s, d.in(x), d.out(y));
  }
  return y;
}

float squared_error(const std::vector<float>& x, const std::vector<float>& target) {
  std::vector<float> loss(1, NAN);
  {
    OnDevice d;
    kernels_under_test().squared_error_forward(d.queue(), static_cast<int64_t>(x.size()), d.in(x), d.in(target),
                                               d.out(loss));
  }
  return loss[0];
}

std::vector<float> squared_error_gradient(const std::vector<float>& x, const std::vector<float>& target, float upstream,
                                          std::vector<float> into, GradientMode mode) {
  const std::vector<float> slope{upstream};
  {
    OnDevice d;
    kernels_under_test().squared_error_backward(d.queue(), static_cast<int64_t>(x.size()), d.in(x), d.in(target),
                                                d.in(slope), d.out(into), mode);
  }
  return into;
}

const std::vector<size_t> kCounts{1, 2, 7, 127, 1000, 4095, 4097, 12289};

}  // namespace

TEST_CASE("reconstruction: a block is cleared in all leads or kept, as its draw says") {
  for (const BlockMaskCase& c : block_mask_cases()) {
    const BlockMaskShape& s = c.shape;
    if (size(s) > 300000) continue;
    CAPTURE(c.name);
    const std::vector<float> x = random_normal(size(s), 1);
    std::vector<float> expected = x;
    for (int n = 0; n < s.N; ++n) {
      const RandomStream stream(s.seed, Purpose::block_mask, s.step, static_cast<uint32_t>(n));
      for (int l = 0; l < s.L; ++l)
        for (int channel = 0; channel < s.C; ++channel)
          if (stream.uniform(static_cast<uint32_t>(l / s.block)) < s.p)
            expected[(size_t(n) * s.L + l) * s.C + channel] = 0;
    }
    CHECK(masked(s, x) == expected);
  }
}

TEST_CASE("reconstruction: the share of cleared blocks is p") {
  const BlockMaskShape s{.N = 40, .L = 5000, .C = 1, .block = 10, .p = 0.3f, .seed = 11, .step = 2};
  const std::vector<float> y = masked(s, std::vector<float>(size(s), 1));
  double cleared = 0;
  for (size_t i = 0; i < y.size(); i += 10) cleared += y[i] == 0;
  const double blocks = static_cast<double>(y.size()) / 10;
  CHECK(std::abs(cleared / blocks - 0.3) < 5 * std::sqrt(0.3 * 0.7 / blocks));
}

TEST_CASE("reconstruction: the mask changes with seed, step and record") {
  const BlockMaskShape s{.N = 2, .L = 1000, .C = 2, .block = 10, .p = 0.5f, .seed = 1, .step = 1};
  BlockMaskShape other_seed = s, other_step = s;
  other_seed.seed = 2, other_step.step = 2;
  const std::vector<float> x(size(s), 1), y = masked(s, x);
  CHECK(masked(other_seed, x) != y);
  CHECK(masked(other_step, x) != y);
  CHECK(std::vector<float>(y.begin(), y.begin() + 2000) != std::vector<float>(y.begin() + 2000, y.end()));
}

TEST_CASE("reconstruction: the squared error is exact to the last bits, and its gradient its slope") {
  for (const size_t count : kCounts) {
    CAPTURE(count);
    const std::vector<float> x = random_normal(count, 1), target = random_normal(count, 2);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += std::pow(double{x[i]} - target[i], 2);
    const double exact = sum / static_cast<double>(count);
    CHECK(std::abs(squared_error(x, target) - exact) <= 0x1p-23 * exact);

    const std::vector<float> before = random_normal(count, 3);
    std::vector<double> expected, added;
    for (size_t i = 0; i < count; ++i) {
      expected.push_back(2 * 1.5 * (double{x[i]} - target[i]) / static_cast<double>(count));
      added.push_back(before[i] + expected[i]);
    }
    check_close(squared_error_gradient(x, target, 1.5f, before, GradientMode::overwrite), expected, 4e-7, "overwrite");
    check_close(squared_error_gradient(x, target, 1.5f, before, GradientMode::accumulate), added, 4e-7, "accumulate");
  }
}

TEST_CASE("reconstruction: the same bits in any schedule") {
  const std::vector<float> x = random_normal(30001, 1), target = random_normal(30001, 2);
  check_same_bits_for_any_schedule([&] { return squared_error(x, target); }, "squared error");
}
