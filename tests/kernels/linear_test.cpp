// Linear's kernels against their formula, finite differences and themselves under other schedules.

#include "kernels/linear/linear.h"

#include "kernels/common/bf16.h"
#include "kernels/linear/cases.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/linear.h"
#include "tests/support.h"

namespace systole {
namespace reference = test::reference;
namespace {

using kernels::LinearShape;
using Floats = std::vector<float>;

struct Problem {
  LinearShape shape;
  Floats x, w, bias, dy;

  explicit Problem(const LinearShape& s)
      : shape(s),
        x(test::random_normal(static_cast<size_t>(s.M) * s.D_in, 1)),
        w(test::random_normal(static_cast<size_t>(s.D_in) * s.D_out, 2)),
        bias(test::random_normal(s.D_out, 3)),
        dy(test::random_normal(static_cast<size_t>(s.M) * s.D_out, 4)) {}
};

template <class T>
struct Results {
  std::vector<T> y, dx, dw, dbias;
  bool operator==(const Results&) const = default;
};

const kernels::LinearKernels& linear() {
  return kernels::linear_kernels(test::device());
}

Results<float> run_kernels(const Problem& p, GradientMode mode = GradientMode::overwrite, float before = 0,
                           Precision precision = Precision::f32) {
  Results<float> to{Floats(p.dy.size()), Floats(p.x.size(), before), Floats(p.w.size(), before),
                    Floats(p.bias.size(), before)};
  test::OnDevice d(precision);
  const float *x = d.in(p.x), *w = d.in(p.w), *dy = d.in(p.dy);
  linear().forward(d.queue(), p.shape, x, w, d.in(p.bias), d.out(to.y));
  linear().input_gradient(d.queue(), p.shape, dy, w, d.out(to.dx), mode);
  linear().weight_gradient(d.queue(), p.shape, x, dy, d.out(to.dw), d.out(to.dbias), mode);
  return to;
}

template <class T>
Results<T> expected(const Problem& p) {
  const std::vector<T> x(p.x.begin(), p.x.end()), w(p.w.begin(), p.w.end()), bias(p.bias.begin(), p.bias.end()),
      dy(p.dy.begin(), p.dy.end());
  return {reference::linear_forward(p.shape, x, w, bias), reference::linear_input_gradient(p.shape, dy, w),
          reference::linear_weight_gradient(p.shape, x, dy), reference::linear_bias_gradient(p.shape, dy)};
}

}  // namespace

TEST_CASE("linear: all passes agree with the reference in double as well as plain float code does") {
  for (const kernels::LinearCase& c : kernels::linear_cases()) {
    Problem p(c.shape);
    if (!c.is_odd()) p = Problem({std::min(c.shape.M, 70), c.shape.D_in, c.shape.D_out});
    const auto kernel = run_kernels(p);
    const auto exact = expected<double>(p);
    const auto plain = expected<float>(p);
    const std::string name = c.name;
    test::check_as_good_as_plain(kernel.y, plain.y, exact.y, name + ": y");
    test::check_as_good_as_plain(kernel.dx, plain.dx, exact.dx, name + ": dx");
    test::check_as_good_as_plain(kernel.dw, plain.dw, exact.dw, name + ": dw");
    test::check_as_good_as_plain(kernel.dbias, plain.dbias, exact.dbias, name + ": dbias");
  }
}

TEST_CASE("linear: in tf32 and bf16 all passes are the products of rounded factors, added in f32") {
  for (Precision precision : {Precision::tf32, Precision::bf16}) {
    const auto round = [precision](Floats values) {
      for (float& v : values) v = precision == Precision::tf32 ? to_tf32(v) : to_float(to_bf16(v));
      return values;
    };
    if (test::device() == Device::cpu) continue;  // it has f32 alone
    for (const kernels::LinearCase& c : kernels::linear_cases()) {
      const Problem p(c.is_odd() ? c.shape : LinearShape{std::min(c.shape.M, 7), c.shape.D_in, c.shape.D_out});
      const auto kernel = run_kernels(p, GradientMode::overwrite, 0, precision);
      Problem rounded = p;  // but the bias, and the gradients that are added up for it
      rounded.x = round(p.x);
      rounded.w = round(p.w);
      rounded.dy = round(p.dy);
      // cuBLAS, whose products cuda takes, decides itself how it rounds factors that may be rounded.
      const bool ours = test::device() != Device::cuda;
      const auto exact = expected<double>(ours ? rounded : p);
      // A product of two rounded factors is exact in f32. What is left is the rounding of up to 2048 additions, which
      // tensor cores cut off; one factor that was not rounded would show with 2e-4 (tf32) or 2e-3.
      const double tolerance = ours ? 2e-5 : precision == Precision::tf32 ? 1e-3 : 1e-2;
      const std::string name = fmt::format("{} in {}", c.name, systole::name(precision));
      test::check_close(kernel.y, exact.y, tolerance, name + ": y");
      test::check_close(kernel.dx, exact.dx, tolerance, name + ": dx");
      test::check_close(kernel.dw, exact.dw, tolerance, name + ": dw");
      test::check_close(kernel.dbias, reference::linear_bias_gradient(p.shape, test::to_double(p.dy)), tolerance,
                        name + ": dbias");
    }
  }
}

TEST_CASE("linear: long sums of a small result are cut the same way in every precision") {
  // 3000 rows into 20 × 5 weights: one tile, and parts of the depth.
  const Problem p({3000, 20, 5});
  const auto exact = expected<double>(p);
  for (Precision precision : kAllPrecisions) {
    if (test::device() == Device::cpu && precision != Precision::f32) continue;
    const auto kernel = run_kernels(p, GradientMode::overwrite, 0, precision);
    const double tolerance = precision == Precision::f32 ? 1e-6 : precision == Precision::tf32 ? 1e-3 : 1e-2;
    test::check_close(kernel.dw, exact.dw, tolerance, std::string(name(precision)) + ": dw");
  }
}

TEST_CASE("linear: the gradients are the finite differences of the forward pass") {
  const LinearShape s{5, 4, 3};
  const Problem p(s);
  const auto kernel = run_kernels(p);
  const auto x = test::to_double(p.x), w = test::to_double(p.w), bias = test::to_double(p.bias),
             dy = test::to_double(p.dy);
  const auto loss = [&](const auto& x_, const auto& w_, const auto& bias_) {
    const auto y = reference::linear_forward(s, x_, w_, bias_);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  test::check_close(kernel.dx, test::finite_differences([&](const auto& v) { return loss(v, w, bias); }, x), 2e-6,
                    "dx");
  test::check_close(kernel.dw, test::finite_differences([&](const auto& v) { return loss(x, v, bias); }, w), 2e-6,
                    "dw");
  test::check_close(kernel.dbias, test::finite_differences([&](const auto& v) { return loss(x, w, v); }, bias), 2e-6,
                    "dbias");
}

TEST_CASE("linear: accumulating adds to the gradients what overwriting writes") {
  for (const LinearShape& s : {LinearShape{300, 20, 33}, LinearShape{3, 300, 1}}) {
    const Problem p(s);
    const auto written = run_kernels(p, GradientMode::overwrite, 7.0f);
    auto added = run_kernels(p, GradientMode::accumulate, 0.5f);
    for (Floats* gradient : {&added.dx, &added.dw, &added.dbias})
      for (float& value : *gradient) value -= 0.5f;
    test::check_close(added.dx, written.dx, 1e-6, "dx");
    test::check_close(added.dw, written.dw, 1e-6, "dw");
    test::check_close(added.dbias, written.dbias, 1e-6, "dbias");
  }
}

TEST_CASE("linear: bias and its gradient may be absent") {
  const Problem p({9, 7, 5});
  Floats y(p.dy.size()), dw(p.w.size());
  {
    test::OnDevice d;
    const float* x = d.in(p.x);
    linear().forward(d.queue(), p.shape, x, d.in(p.w), nullptr, d.out(y));
    linear().weight_gradient(d.queue(), p.shape, x, d.in(p.dy), d.out(dw), nullptr, GradientMode::overwrite);
  }
  test::check_close(y, reference::linear_forward(p.shape, p.x, p.w, {}), 1e-6, "y");
  CHECK(dw == run_kernels(p).dw);
}

TEST_CASE("linear: the schedule does not change a bit") {
  for (const LinearShape& s : {LinearShape{64, 256, 250}, LinearShape{301, 130, 5}}) {
    const Problem p(s);
    test::check_same_bits_for_any_schedule([&] { return run_kernels(p); }, kernels::text(s));
  }
}

}  // namespace systole
