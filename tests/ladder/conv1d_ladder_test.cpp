// Every step of the ladder is a whole convolution: of every shape, as good as plain float code, the same bits in any
// order of threads.

#include <cmath>
#include <limits>

#include "kernels/conv1d/cases.h"
#include "kernels/conv1d/ladder/ladder.h"
#include "kernels/simt/options.h"
#include "tests/device.h"
#include "tests/reference/conv1d.h"
#include "tests/support.h"

namespace systole {
namespace reference = test::reference;
namespace {

using kernels::Conv1dShape;
using kernels::ladder::Step;
using Floats = std::vector<float>;

constexpr float kSentinel = 12345.0f;
constexpr size_t kBorder = 17;

const std::vector<Step>& steps() {
  return kernels::ladder::steps(test::device());
}

struct Problem {
  Conv1dShape shape;
  Floats x, w;

  explicit Problem(const Conv1dShape& s)
      : shape(s), x(test::random_normal(s.input_size(), 1)), w(test::random_normal(s.weight_size(), 2)) {}
};

/// The output of a step, which writes all of it and nothing beside it.
Floats run(const Step& step, const Problem& p) {
  Floats memory(static_cast<size_t>(p.shape.output_size()) + 2 * kBorder, kSentinel);
  {
    test::OnDevice d(step.precision);
    step.forward(d.queue(), p.shape, d.in(p.x), d.in(p.w), d.out(memory) + kBorder);
  }
  for (size_t i = 0; i < kBorder; ++i) {
    CHECK(memory[i] == kSentinel);
    CHECK(memory[memory.size() - 1 - i] == kSentinel);
  }
  return {memory.begin() + kBorder, memory.end() - kBorder};
}

template <class T>
std::vector<T> convolution(const Conv1dShape& s, const Floats& z, const Floats& w, Precision precision) {
  const Floats rounded_z = reference::rounded(z, precision), rounded_w = reference::rounded(w, precision);
  return reference::conv1d_forward<T>(s, {rounded_z.begin(), rounded_z.end()}, {rounded_w.begin(), rounded_w.end()},
                                      {});
}

/// What a step shall return for one problem: the exact result on rounded factors, within what float sums may lose.
class Expected {
 public:
  Expected(const Conv1dShape& s, const Floats& z, const Floats& w, Precision precision)
      : exact_(convolution<double>(s, z, w, precision)) {
    const double plain = test::max_error(convolution<float>(s, z, w, precision), exact_);
    // Twice what plain float code loses. A step sums in another order, and the largest error of a few outputs is a
    // matter of luck: √depth roundings of the largest value, as a random walk, are always allowed.
    const double depth = 1.0 * s.K * s.C_in, rounding = 0x1p-24 * test::max_magnitude(exact_);
    allowed_ = std::max(2 * plain, rounding * std::max(4.0, std::sqrt(depth)));
    // The tensor cores of a GPU cut sums off instead of rounding them (Fasi, Higham, Mikaitis, Pranesh: Numerical
    // behavior of NVIDIA tensor cores, 2021): up to a last bit of the sum in each of depth / 8 steps.
    if (precision != Precision::f32 && test::device() == Device::cuda) allowed_ += 2 * rounding * (2 + depth / 8);
  }

  void check(const Floats& y, const std::string& what) const {
    const double error = test::max_error(y, exact_);
    CHECK_MESSAGE(error <= allowed_, fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error,
                                                 allowed_, test::seed()));
  }

 private:
  std::vector<double> exact_;
  double allowed_ = 0;
};

void check_all_steps(const Conv1dShape& shape, const std::string& name) {
  const Problem p(shape);
  for (Precision precision : kAllPrecisions) {
    const Expected expected(shape, p.x, p.w, precision);
    for (const Step& step : steps())
      if (step.precision == precision) expected.check(run(step, p), fmt::format("{}: {}", step.name, name));
  }
}

/// What would take minutes on simt under a sanitizer.
bool is_large(const Conv1dShape& s) {
  return s.weight_size() > 100'000;
}

/// The layers of the networks as one short record; on simt without the large ones.
std::vector<kernels::Conv1dCase> layers() {
  std::vector<kernels::Conv1dCase> layers;
  for (kernels::Conv1dCase c : kernels::conv1d_cases()) {
    if (c.is_odd() || c.shape.N != 8) continue;
    if (test::device() == Device::simt && is_large(c.shape)) continue;
    c.shape.N = 1;
    c.shape.L = std::min(c.shape.L, 67);
    layers.push_back(c);
  }
  return layers;
}

}  // namespace

TEST_CASE("ladder: all steps exist on the devices that execute CUDA kernels, numbered in the order of reading") {
  REQUIRE(steps().size() == 8);
  for (size_t i = 0; i < steps().size(); ++i)
    CHECK(std::string_view(steps()[i].name).substr(0, 3) == fmt::format("0{} ", i + 1));
  CHECK(kernels::ladder::steps(Device::cpu).empty());
}

TEST_CASE("ladder: all steps agree with the reference on the odd shapes as well as plain float code does") {
  for (kernels::Conv1dCase c : kernels::conv1d_cases()) {
    if (!c.is_odd()) continue;
    if (test::device() == Device::simt && is_large(c.shape)) c.shape.N = 1;
    check_all_steps(c.shape, c.name);
  }
}

TEST_CASE("ladder: all steps agree with the reference on the networks' layers") {
  for (const kernels::Conv1dCase& c : layers()) check_all_steps(c.shape, c.name);
}

TEST_CASE("ladder: shapes whose windows do not fit into one slab") {
  check_all_steps({1, 650, 5, 6, 3, 1, 4, 300}, "taps further apart than the slab is long");
  check_all_steps({2, 700, 5, 6, 3, 100, 4, 1}, "a stride that leaves a tile two positions");
  check_all_steps({2, 700, 5, 6, 3, 200, 4, 201}, "both longer than the slab");
  check_all_steps({1, 90, 3, 66, 170, 1, 85, 1}, "more taps than the slab has rows");
  check_all_steps({1, 3, 4, 8, 3, 5, 4, 2}, "padding alone");
}

TEST_CASE("ladder: the order of threads and blocks does not change a bit") {
  if (test::device() != Device::simt) return;
  const Problem problems[] = {Problem({2, 131, 12, 70, 5, 2, 2, 1}), Problem({3, 40, 7, 20, 3, 1, 2, 2})};
  const simt::Options before = simt::options();
  for (const Problem& p : problems)
    for (const Step& step : steps()) {
      simt::options() = {};
      const Floats expected = run(step, p);
      for (simt::Order order : {simt::Order::reverse, simt::Order::shuffled})
        for (int workers : {2, 3}) {
          simt::options() = {order, 7, workers};
          INFO(step.name);
          CHECK(run(step, p) == expected);
        }
    }
  simt::options() = before;
}

TEST_CASE("ladder: the last step normalises its input per group and returns the moments of its output") {
  const Conv1dShape shapes[] = {{4, 131, 12, 70, 5, 2, 2, 1},
                                {2, 33, 3, 5, 3, 1, 7, 1},
                                {2, 97, 20, 64, 3, 3, 1, 2},
                                {2, 700, 5, 6, 3, 100, 4, 1},
                                {2, 1, 4, 3, 1, 1, 0, 1}};
  for (const Conv1dShape& s : shapes)
    for (bool relu : {false, true}) {
      const Problem p(s);
      const Floats scale = test::random_normal(size_t{2} * s.C_in, 3), shift = test::random_normal(scale.size(), 4);
      Floats y(static_cast<size_t>(s.output_size())), mean(static_cast<size_t>(s.N) * s.C_out), m2(mean.size());
      {
        test::OnDevice d(Precision::bf16);
        const kernels::PendingAffine pending{d.in(scale), d.in(shift), 2, relu};
        kernels::ladder::fused_forward(test::device())(d.queue(), s, d.in(p.x), pending, d.in(p.w), d.out(y),
                                                       {d.out(mean), d.out(m2)});
      }
      const std::string name = fmt::format("L = {}, C_out = {}, relu = {}", s.L, s.C_out, relu);
      const Floats z = reference::fused_pending(p.x, s.N, s.L, s.C_in, scale, shift, 2, relu);
      Expected(s, z, p.w, Precision::bf16).check(y, name);
      const auto exact = reference::record_moments(s, test::to_double(y));
      const auto plain = reference::record_moments(s, y);
      test::check_as_good_as_plain(mean, plain.mean, exact.mean, name + ": mean");
      test::check_as_good_as_plain(m2, plain.m2, exact.m2, name + ": m2");
    }
}

TEST_CASE("ladder: the moments keep their digits when the mean is large") {
  const Conv1dShape s{1, 500, 1, 3, 1, 1, 0, 1};
  const Floats x(500, 1.0f), w = {4096.0f, -3.0f, 0.5f};
  Floats y(1500), mean(3), m2(3, kSentinel);
  {
    test::OnDevice d(Precision::bf16);
    kernels::ladder::fused_forward(test::device())(d.queue(), s, d.in(x), {}, d.in(w), d.out(y),
                                                   {d.out(mean), d.out(m2)});
  }
  CHECK(mean == w);
  CHECK(m2 == Floats(3, 0.0f));
}

TEST_CASE("ladder: the pending ReLU of the last step does not hide a NaN") {
  const Conv1dShape s{1, 12, 4, 4, 1, 1, 0, 1};
  Problem p(s);
  p.x[3 * 4 + 2] = std::numeric_limits<float>::quiet_NaN();
  const Floats scale(4, 1.0f), shift(4, 0.0f);
  Floats y(static_cast<size_t>(s.output_size()));
  {
    test::OnDevice d(Precision::bf16);
    kernels::ladder::fused_forward(test::device())(d.queue(), s, d.in(p.x), {d.in(scale), d.in(shift), 1, true},
                                                   d.in(p.w), d.out(y), {});
  }
  for (size_t l = 0; l < 12; ++l) CHECK(std::isnan(y[l * 4]) == (l == 3));
}

}  // namespace systole
