// Linear's kernels against their formula, finite differences and themselves on other numbers of threads.

#include "kernels/linear/linear.h"

#include "kernels/common/parallel.h"
#include "kernels/linear/cases.h"
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

Results<float> run_kernels(const Problem& p, GradientMode mode = GradientMode::overwrite, float before = 0) {
  Queue queue(Device::cpu);
  const kernels::LinearKernels& linear = kernels::cpu::linear;
  Results<float> to{Floats(p.dy.size()), Floats(p.x.size(), before), Floats(p.w.size(), before),
                    Floats(p.bias.size(), before)};
  linear.forward(queue, p.shape, p.x.data(), p.w.data(), p.bias.data(), to.y.data());
  linear.input_gradient(queue, p.shape, p.dy.data(), p.w.data(), to.dx.data(), mode);
  linear.weight_gradient(queue, p.shape, p.x.data(), p.dy.data(), to.dw.data(), to.dbias.data(), mode);
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
  Queue queue;
  Floats y(p.dy.size()), dw(p.w.size());
  kernels::cpu::linear.forward(queue, p.shape, p.x.data(), p.w.data(), nullptr, y.data());
  kernels::cpu::linear.weight_gradient(queue, p.shape, p.x.data(), p.dy.data(), dw.data(), nullptr,
                                       GradientMode::overwrite);
  test::check_close(y, reference::linear_forward(p.shape, p.x, p.w, {}), 1e-6, "y");
  CHECK(dw == run_kernels(p).dw);
}

TEST_CASE("linear: the number of threads does not change a bit") {
  for (const LinearShape& s : {LinearShape{64, 256, 250}, LinearShape{301, 130, 5}}) {
    const Problem p(s);
    set_threads(1);
    const auto alone = run_kernels(p);
    for (int count : {2, 3, 5}) {
      set_threads(count);
      CHECK_MESSAGE(run_kernels(p) == alone, fmt::format("{} threads, M = {}", count, s.M));
    }
  }
  set_threads(0);
}

}  // namespace systole
