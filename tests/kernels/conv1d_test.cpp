// Conv1d's kernels against their formula, finite differences and themselves on other numbers of threads.

#include "kernels/conv1d/conv1d.h"

#include <limits>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/conv1d/cases.h"
#include "tests/reference/conv1d.h"
#include "tests/support.h"

namespace systole {
namespace reference = test::reference;
namespace {

using kernels::Conv1dShape;
using kernels::PendingAffine;
using kernels::RecordMoments;
using Floats = std::vector<float>;

constexpr float kSentinel = 12345.0f;

/// An output buffer with a border that nobody may write to.
class Guarded {
 public:
  explicit Guarded(int64_t size, float content = 0) : memory_(kBorder, kSentinel) {
    memory_.insert(memory_.end(), static_cast<size_t>(size), content);
    memory_.insert(memory_.end(), kBorder, kSentinel);
  }
  float* data() { return memory_.data() + kBorder; }
  Floats content() const {
    for (size_t i = 0; i < kBorder; ++i) {
      CHECK(memory_[i] == kSentinel);
      CHECK(memory_[memory_.size() - 1 - i] == kSentinel);
    }
    return {memory_.begin() + kBorder, memory_.end() - kBorder};
  }

 private:
  static constexpr size_t kBorder = 17;
  Floats memory_;
};

/// Random inputs of one convolution. With `groups` > 0 a normalisation with ReLU is pending.
struct Problem {
  Conv1dShape shape;
  int groups;
  Floats x, w, bias, dy, scale, shift;

  explicit Problem(const Conv1dShape& s, int pending_groups = 0)
      : shape(s),
        groups(pending_groups),
        x(test::random_normal(s.input_size(), 1)),
        w(test::random_normal(s.weight_size(), 2)),
        bias(test::random_normal(s.C_out, 3)),
        dy(test::random_normal(s.output_size(), 4)),
        scale(test::random_normal(static_cast<size_t>(groups) * s.C_in, 5)),
        shift(test::random_normal(static_cast<size_t>(groups) * s.C_in, 6)) {}

  PendingAffine pending() const {
    if (groups == 0) return {};
    return {scale.data(), shift.data(), groups, true};
  }
  template <class T>
  std::vector<T> z() const {
    return reference::pending(of<T>(x), shape.N, shape.L, shape.C_in, of<T>(scale), of<T>(shift), std::max(groups, 1),
                              true);
  }
  template <class T>
  static std::vector<T> of(const Floats& values) {
    return {values.begin(), values.end()};
  }
};

/// Everything that the kernels compute from a problem.
struct Results {
  Floats y, mean, m2, dz, dw, dbias;
};

Results run_kernels(const Problem& p, GradientMode mode = GradientMode::overwrite, float before = 0) {
  const Conv1dShape& s = p.shape;
  Queue queue(Device::cpu);
  const kernels::Conv1dKernels& conv1d = kernels::cpu::conv1d;
  Guarded y(s.output_size()), mean(int64_t{s.N} * s.C_out), m2(int64_t{s.N} * s.C_out);
  Guarded dz(s.input_size(), before), dw(s.weight_size(), before), dbias(s.C_out, before);
  conv1d.forward(queue, s, p.x.data(), p.pending(), p.w.data(), p.bias.data(), y.data(), {mean.data(), m2.data()});
  conv1d.input_gradient(queue, s, p.dy.data(), p.w.data(), dz.data(), mode);
  conv1d.weight_gradient(queue, s, p.x.data(), p.pending(), p.dy.data(), dw.data(), dbias.data(), mode);
  return {y.content(), mean.content(), m2.content(), dz.content(), dw.content(), dbias.content()};
}

template <class T>
struct Expected {
  std::vector<T> y, dz, dw, dbias;
  reference::RecordMoments<T> moments;

  explicit Expected(const Problem& p)
      : y(reference::conv1d_forward(p.shape, p.z<T>(), p.of<T>(p.w), p.of<T>(p.bias))),
        dz(reference::conv1d_input_gradient(p.shape, p.of<T>(p.dy), p.of<T>(p.w))),
        dw(reference::conv1d_weight_gradient(p.shape, p.z<T>(), p.of<T>(p.dy))),
        dbias(reference::column_sums(p.of<T>(p.dy), p.shape.C_out)),
        moments(reference::record_moments(p.shape, y)) {}
};

void check_against_reference(const Problem& p, const std::string& name) {
  const Results kernel = run_kernels(p);
  const Expected<double> exact(p);
  const Expected<float> plain(p);
  test::check_as_good_as_plain(kernel.y, plain.y, exact.y, name + ": y");
  test::check_as_good_as_plain(kernel.mean, plain.moments.mean, exact.moments.mean, name + ": mean");
  test::check_as_good_as_plain(kernel.m2, plain.moments.m2, exact.moments.m2, name + ": m2");
  test::check_as_good_as_plain(kernel.dz, plain.dz, exact.dz, name + ": dz");
  test::check_as_good_as_plain(kernel.dw, plain.dw, exact.dw, name + ": dw");
  test::check_as_good_as_plain(kernel.dbias, plain.dbias, exact.dbias, name + ": dbias");
}

/// The case with few and short records, so that the plain reference is done soon.
Conv1dShape shortened(Conv1dShape s) {
  s.N = std::min(s.N, 2);
  s.L = std::min(s.L, 131);
  return s;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

const Conv1dShape kSmallShapes[] = {
    {2, 7, 2, 3, 3, 1, 1, 1},  {2, 9, 2, 3, 3, 2, 2, 2}, {2, 8, 3, 2, 4, 3, 1, 1},
    {2, 11, 1, 4, 3, 2, 3, 3}, {4, 6, 2, 2, 1, 2, 0, 1}, {2, 5, 3, 2, 5, 1, 4, 1},
};

}  // namespace

TEST_CASE("conv1d: all passes of the odd shapes agree with the reference in double as well as plain float code does") {
  for (const kernels::Conv1dCase& c : kernels::conv1d_cases())
    if (c.is_odd()) check_against_reference(Problem(c.shape), c.name);
}

TEST_CASE("conv1d: all passes of the networks' layers agree with the reference, a normalisation pending per view") {
  for (const kernels::Conv1dCase& c : kernels::conv1d_cases())
    if (!c.is_odd()) check_against_reference(Problem(shortened(c.shape), 2), c.name);
}

TEST_CASE("conv1d: a whole record of each encoder layer agrees with the reference") {
  for (const kernels::Conv1dCase& c : kernels::conv1d_cases()) {
    if (!std::string_view(c.name).starts_with("encoder/") || c.shape.N != 8) continue;
    Conv1dShape shape = c.shape;
    shape.N = 1;
    check_against_reference(Problem(shape), c.name);
  }
}

TEST_CASE("conv1d: the gradients are the finite differences of the forward pass") {
  for (const Conv1dShape& s : kSmallShapes) {
    const Problem p(s, 2);
    const Results kernel = run_kernels(p);
    const auto z = p.z<double>(), w = p.of<double>(p.w), bias = p.of<double>(p.bias), dy = p.of<double>(p.dy);
    const auto loss = [&](const auto& z_, const auto& w_, const auto& bias_) {
      return dot(reference::conv1d_forward(s, z_, w_, bias_), dy);
    };
    test::check_close(kernel.dz, test::finite_differences([&](const auto& v) { return loss(v, w, bias); }, z), 2e-6,
                      "dz");
    test::check_close(kernel.dw, test::finite_differences([&](const auto& v) { return loss(z, v, bias); }, w), 2e-6,
                      "dw");
    test::check_close(kernel.dbias, test::finite_differences([&](const auto& v) { return loss(z, w, v); }, bias), 2e-6,
                      "dbias");
  }
}

TEST_CASE("conv1d: each group of records has its own pending normalisation, with or without ReLU") {
  const Conv1dShape shape{6, 20, 5, 9, 3, 1, 1, 1};
  const Problem p(shape, 3);
  for (bool relu : {false, true}) {
    const auto z = reference::pending(p.x, shape.N, shape.L, shape.C_in, p.scale, p.shift, 3, relu);
    const Floats expected = reference::conv1d_forward(shape, z, p.w, {});
    Floats y(expected.size());
    Queue queue;
    const PendingAffine pending{p.scale.data(), p.shift.data(), 3, relu};
    kernels::cpu::conv1d.forward(queue, shape, p.x.data(), pending, p.w.data(), nullptr, y.data(), {});
    test::check_close(y, expected, 1e-6, relu ? "with ReLU" : "without ReLU");
  }
}

TEST_CASE("conv1d: the pending ReLU does not hide a NaN") {
  Problem p({1, 12, 20, 4, 1, 1, 0, 1}, 1);
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  p.x[3 * 20 + 2] = p.x[7 * 20 + 19] = nan;  // one in a whole vector of channels, one in the rest
  const Results kernel = run_kernels(p);
  for (size_t l = 0; l < 12; ++l) CHECK(std::isnan(kernel.y[l * 4]) == (l == 3 || l == 7));
}

TEST_CASE("conv1d: accumulating adds to the gradients what overwriting writes") {
  for (const Conv1dShape& s : kSmallShapes) {
    const Problem p(s, 2);
    const Results written = run_kernels(p, GradientMode::overwrite, 7.0f);
    Results added = run_kernels(p, GradientMode::accumulate, 0.5f);
    for (Floats* gradient : {&added.dz, &added.dw, &added.dbias})
      for (float& value : *gradient) value -= 0.5f;
    test::check_close(added.dz, written.dz, 1e-6, "dz");
    test::check_close(added.dw, written.dw, 1e-6, "dw");
    test::check_close(added.dbias, written.dbias, 1e-6, "dbias");
  }
}

TEST_CASE("conv1d: positions that no window reads have gradient zero") {
  const Problem p({1, 10, 2, 3, 2, 4, 0, 1});  // windows at 0 … 1, 4 … 5, 8 … 9
  const Results kernel = run_kernels(p, GradientMode::overwrite, 3.0f);
  for (size_t i : {2, 3, 6, 7})
    for (size_t c = 0; c < 2; ++c) CHECK(kernel.dz[i * 2 + c] == 0.0f);
}

TEST_CASE("conv1d: the number of threads does not change a bit") {
  const Conv1dShape shapes[] = {{1, 131, 12, 250, 5, 2, 2, 1},
                                {7, 131, 64, 64, 7, 1, 3, 1},
                                {40, 33, 20, 37, 3, 2, 2, 2},
                                {133, 9, 4, 17, 3, 1, 1, 1}};
  for (const Conv1dShape& s : shapes) {
    const Problem p(s, 1);
    set_threads(1);
    const Results alone = run_kernels(p);
    for (int count : {2, 3, 5}) {
      set_threads(count);
      const Results together = run_kernels(p);
      INFO(fmt::format("{} threads, N = {}", count, s.N));
      CHECK(together.y == alone.y);
      CHECK(together.mean == alone.mean);
      CHECK(together.m2 == alone.m2);
      CHECK(together.dz == alone.dz);
      CHECK(together.dw == alone.dw);
      CHECK(together.dbias == alone.dbias);
    }
  }
  set_threads(0);
}

TEST_CASE("conv1d: a shape that cannot be is named in full") {
  CHECK(test::sentence_of<Error>([] {
          kernels::check({2, 10, 3, 4, 5, 1, 0, 3});
        }) ==
        "a Conv1d of N = 2, L = 10, C_in = 3, C_out = 4, K = 5, stride = 1, padding = 0, dilation = 3 has no output: "
        "its taps "
        "span 13 samples and the padded record has 10");
  CHECK(test::sentence_of<Error>([] {
          kernels::check({2, 10, 3, 4, 5, 0, 0, 1});
        }).find("stride = 0") != std::string::npos);
  CHECK(test::sentence_of<Error>([] {
          kernels::check({2, 10, 3, 4, 5, 1, -1, 1});
        }).find("padding must not be negative") != std::string::npos);
  CHECK(test::sentence_of<Error>([] { kernels::check({0, 10, 3, 4, 5, 1, 0, 1}); }).find("N = 0") != std::string::npos);
  CHECK_NOTHROW(kernels::check({1, 1, 1, 1, 1, 1, 0, 1}));
  for (const kernels::Conv1dCase& c : kernels::conv1d_cases()) CHECK_NOTHROW(kernels::check(c.shape));
}

}  // namespace systole
