// Conv1d's kernels against their formula, finite differences and themselves on other numbers of threads, in every
// precision of the device under test.

#include "kernels/conv1d/conv1d.h"

#include <limits>
#include <optional>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/conv1d/cases.h"
#include "kernels/simt/options.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/conv1d.h"
#include "tests/support.h"

namespace systole {
namespace reference = test::reference;
namespace {

using kernels::Conv1dShape;
using kernels::PendingAffine;
using Floats = std::vector<float>;

constexpr float kSentinel = 12345.0f;

/// The cpu device computes in f32 only.
std::vector<Precision> precisions() {
  if (test::device() == Device::cpu) return {Precision::f32};
  return {std::begin(kAllPrecisions), std::end(kAllPrecisions)};
}

/// An output buffer with a border that nobody may write to.
class Guarded {
 public:
  explicit Guarded(int64_t size, float content = 0) : memory_(kBorder, kSentinel) {
    memory_.insert(memory_.end(), static_cast<size_t>(size), content);
    memory_.insert(memory_.end(), kBorder, kSentinel);
  }
  float* on(test::OnDevice& d) { return d.out(memory_) + kBorder; }
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

/// Values with so few bits that sums and products of a few of them are exact: in whatever order a kernel computes what
/// is then rounded to bf16 or decides about a ReLU, there is one result.
Floats coarse(Floats values) {
  for (float& value : values) value = std::round(16 * value) / 16;
  return values;
}

/// The neighbours in a fused backward pass: dy is the gradient behind a BatchNorm of the convolution's output, and the
/// BatchNorm of its input wants the sums of dz.
struct Fused {
  int groups;
  bool relu;
  Precision precision;  // of the products: below f32 what becomes a factor is coarse

  reference::Normalized<float> around(int N, int L, int C, uint32_t which) const {
    const auto values = [&](int64_t count, uint32_t i) { return test::random_normal(size_t(count), which + i); };
    const auto maybe_coarse = [&](Floats v) { return precision == Precision::f32 ? v : coarse(std::move(v)); };
    const int64_t columns = int64_t{groups} * C;
    return {.N = size_t(N),
            .L = size_t(L),
            .C = size_t(C),
            .groups = size_t(groups),
            .relu = relu,
            .y = coarse(values(int64_t{N} * L * C, 0)),
            .mean = maybe_coarse(values(columns, 1)),
            .scale = coarse(values(columns, 2)),
            .shift = coarse(values(columns, 3)),
            .offset = maybe_coarse(values(columns, 4)),
            .slope = maybe_coarse(values(columns, 5))};
  }
};

kernels::NormalizedOutput on(test::OnDevice& d, const reference::Normalized<float>& o) {
  return {d.in(o.y), d.in(o.mean), d.in(o.scale), d.in(o.shift), static_cast<int>(o.groups), o.relu};
}

/// Random inputs of one convolution. With `groups` > 0 a normalisation with ReLU is pending.
struct Problem {
  Conv1dShape shape;
  int groups;
  Floats x, w, bias, dy, scale, shift;
  std::optional<reference::Normalized<float>> output,
      input;  // where the backward pass is fused; dy is then output's dz

  Problem(const Conv1dShape& s, int pending_groups, const Fused& fused) : Problem(s, pending_groups) {
    if (fused.precision != Precision::f32) dy = coarse(dy);
    output = fused.around(s.N, s.L_out(), s.C_out, 10);
    input = fused.around(s.N, s.L, s.C_in, 20);
  }
  explicit Problem(const Conv1dShape& s, int pending_groups = 0)
      : shape(s),
        groups(pending_groups),
        x(test::random_normal(s.input_size(), 1)),
        w(test::random_normal(s.weight_size(), 2)),
        bias(test::random_normal(s.C_out, 3)),
        dy(test::random_normal(s.output_size(), 4)),
        scale(test::random_normal(static_cast<size_t>(groups) * s.C_in, 5)),
        shift(test::random_normal(static_cast<size_t>(groups) * s.C_in, 6)) {}

  PendingAffine pending(test::OnDevice& d) const {
    if (groups == 0) return {};
    return {d.in(scale), d.in(shift), groups, true};
  }
  kernels::PendingGradient pending_dy(test::OnDevice& d) const {
    if (!output) return {};
    return {on(d, *output), d.in(output->offset), d.in(output->slope)};
  }
  /// The gradient of the convolution's output.
  template <class T>
  std::vector<T> output_gradient() const {
    return output ? output->as<T>().dy(of<T>(dy)) : of<T>(dy);
  }
  /// z, w or dy as the products of a precision see them.
  template <class T>
  std::vector<T> z(Precision precision = Precision::f32) const {
    const int C = shape.C_in, g = std::max(groups, 1);
    if (precision == Precision::f32)
      return reference::pending(of<T>(x), shape.N, shape.L, C, of<T>(scale), of<T>(shift), g, true);
    return factor<T>(reference::fused_pending(x, shape.N, shape.L, C, scale, shift, g, true), precision);
  }
  template <class T>
  static std::vector<T> factor(const Floats& values, Precision precision) {
    return of<T>(reference::rounded(values, precision));
  }
  template <class T>
  static std::vector<T> of(const Floats& values) {
    return {values.begin(), values.end()};
  }
};

/// Everything that the kernels compute from a problem.
struct Results {
  Floats y, mean, m2, dz, dw, dbias, g, gd;
  bool operator==(const Results&) const = default;
};

Results run_kernels(const Problem& p, Precision precision = Precision::f32, GradientMode mode = GradientMode::overwrite,
                    float before = 0) {
  const Conv1dShape& s = p.shape;
  const kernels::Conv1dKernels& conv1d = kernels::conv1d_kernels(test::device());
  Guarded y(s.output_size()), mean(int64_t{s.N} * s.C_out), m2(int64_t{s.N} * s.C_out);
  Guarded dz(s.input_size(), before), dw(s.weight_size(), before), dbias(s.C_out, before);
  Guarded g(p.input ? int64_t{s.N} * s.C_in : 0), gd(p.input ? int64_t{s.N} * s.C_in : 0);
  {
    test::OnDevice d(precision);
    const PendingAffine pending = p.pending(d);
    const float *x = d.in(p.x), *w = d.in(p.w), *dy = d.in(p.dy);
    conv1d.forward(d.queue(), s, x, pending, w, d.in(p.bias), y.on(d), {mean.on(d), m2.on(d)});
    const kernels::PendingGradient pending_dy = p.pending_dy(d);
    kernels::RecordGradientSums sums;
    if (p.input) sums = {on(d, *p.input), g.on(d), gd.on(d)};
    conv1d.input_gradient(d.queue(), s, dy, pending_dy, w, dz.on(d), mode, sums);
    conv1d.weight_gradient(d.queue(), s, x, pending, dy, pending_dy, dw.on(d), dbias.on(d), mode);
  }
  return {y.content(),  mean.content(),  m2.content(), dz.content(),
          dw.content(), dbias.content(), g.content(),  gd.content()};
}

/// The bias gradient multiplies nothing: its dy is not rounded.
template <class T>
struct Expected {
  std::vector<T> y, dz, dw, dbias;
  reference::RecordMoments<T> moments;

  Expected(const Problem& p, Precision precision)
      : dbias(reference::column_sums(p.output_gradient<T>(), p.shape.C_out)) {
    const auto z = p.z<T>(precision), w = p.factor<T>(p.w, precision);
    const auto dy =
        precision == Precision::f32 ? p.output_gradient<T>() : p.factor<T>(p.output_gradient<float>(), precision);
    y = reference::conv1d_forward(p.shape, z, w, p.of<T>(p.bias));
    dz = reference::conv1d_input_gradient(p.shape, dy, w);
    dw = reference::conv1d_weight_gradient(p.shape, z, dy);
    moments = reference::record_moments(p.shape, y);
  }
};

/// As good as plain float code on the same factors, in f32 and on the tensor cores. The latter's products are exact in
/// float, so all errors are those of `depth` sums: a random walk of half a last bit each, which plain code can be lucky
/// to miss where there are few outputs. The tensor cores of a GPU do not round a sum but cut it off (Fasi, Higham,
/// Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, 2021): a last bit for each step of 8.
template <class T>
void check_product(const Floats& kernel, const std::vector<T>& plain, const std::vector<double>& exact, int64_t depth,
                   Precision precision, const std::string& what) {
  if (precision == Precision::f32) return test::check_as_good_as_plain(kernel, plain, exact, what);
  const double half_bit = 0x1p-24 * test::max_magnitude(exact), sums = static_cast<double>(depth);
  const double walk = half_bit * std::max(4.0, std::sqrt(sums));
  const double cut_off = test::device() == Device::cuda ? 2 * half_bit * (1 + sums / 8) : 0;
  const double allowed = std::max(2 * test::max_error(plain, exact), walk) + cut_off;
  const double error = test::max_error(kernel, exact);
  CHECK_MESSAGE(error <= allowed, fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error,
                                              allowed, test::seed()));
}

/// As good as plain float code, or as a random walk of half a last bit of `partial`, the size of the partial sums, for
/// each term: a sum may end near 0, and plain code can be lucky where there are few.
template <class T>
void check_sum(const Floats& kernel, const std::vector<T>& plain, const std::vector<double>& exact, double partial,
               int64_t terms, const std::string& what) {
  const double walk = 0x1p-24 * partial * std::sqrt(static_cast<double>(terms));
  const double allowed = std::max(2 * test::max_error(plain, exact), walk), error = test::max_error(kernel, exact);
  CHECK_MESSAGE(error <= allowed, fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error,
                                              allowed, test::seed()));
}

/// The sums are those of the dz that was written.
void check_gradient_sums(const Problem& p, const Results& kernel, const std::string& name) {
  const auto exact = reference::gradient_sums(p.input->as<double>(), p.of<double>(kernel.dz));
  const auto plain = reference::gradient_sums(*p.input, kernel.dz);
  check_sum(kernel.g, plain.g, exact.g, 4 * exact.largest_g, p.shape.L, name + ": sums of g");
  check_sum(kernel.gd, plain.gd, exact.gd, 4 * exact.largest_gd, p.shape.L, name + ": sums of g (y - mean)");
}

void check_against_reference(const Problem& p, const std::string& case_name, Precision precision) {
  const std::string name = fmt::format("{} in {}", case_name, systole::name(precision));
  const Conv1dShape& s = p.shape;
  const Results kernel = run_kernels(p, precision);
  Expected<double> exact(p, precision);
  Expected<float> plain(p, precision);
  check_product(kernel.y, plain.y, exact.y, int64_t{s.K} * s.C_in, precision, name + ": y");
  check_product(kernel.dz, plain.dz, exact.dz, int64_t{s.K} * s.C_out, precision, name + ": dz");
  check_product(kernel.dw, plain.dw, exact.dw, int64_t{s.N} * s.L_out(), precision, name + ": dw");
  if (p.input) {  // nothing about the forward pass is new then
    const double partial =
        std::max(4 * test::max_magnitude(p.output_gradient<double>()), test::max_magnitude(exact.dbias));
    check_sum(kernel.dbias, plain.dbias, exact.dbias, partial, int64_t{s.N} * s.L_out(), name + ": dbias");
    return check_gradient_sums(p, kernel, name);
  }
  test::check_as_good_as_plain(kernel.dbias, plain.dbias, exact.dbias, name + ": dbias");
  if (precision != Precision::f32) {  // of the y that was written
    exact.moments = reference::record_moments(s, p.of<double>(kernel.y));
    plain.moments = reference::record_moments(s, kernel.y);
  }
  const double times = test::device() == Device::cuda ? 3 : 2;  // seen there, where multiplies are fused otherwise: 2.1
  test::check_as_good_as_plain(kernel.mean, plain.moments.mean, exact.moments.mean, name + ": mean", times);
  test::check_as_good_as_plain(kernel.m2, plain.moments.m2, exact.moments.m2, name + ": m2");
}

void check_same(const Results& a, const Results& b) {
  CHECK(a.y == b.y);
  CHECK(a.mean == b.mean);
  CHECK(a.m2 == b.m2);
  CHECK(a.dz == b.dz);
  CHECK(a.dw == b.dw);
  CHECK(a.dbias == b.dbias);
  CHECK(a.g == b.g);
  CHECK(a.gd == b.gd);
}

/// The case with few and short records, so that the plain reference is done soon.
Conv1dShape shortened(Conv1dShape s, int length) {
  s.N = std::min(s.N, 2);
  s.L = std::min(s.L, length);
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
  for (Precision precision : precisions())
    for (const kernels::Conv1dCase& c : kernels::conv1d_cases())
      if (c.is_odd()) check_against_reference(Problem(c.shape), c.name, precision);
}

TEST_CASE("conv1d: all passes of the networks' layers agree with the reference, a normalisation pending per view") {
  for (Precision precision : precisions())
    for (const kernels::Conv1dCase& c : kernels::conv1d_cases()) {
      if (c.is_odd() || (std::string_view(c.name).starts_with("encoder/") && c.shape.N == 8)) continue;  // as N256 is
      const int length = test::device() == Device::cpu ? 131 : precision == Precision::f32 ? 67 : 41;
      check_against_reference(Problem(shortened(c.shape, length), 2), c.name, precision);
    }
}

TEST_CASE("conv1d: fused backward passes of the odd shapes agree with the reference") {
  for (Precision precision : precisions())
    for (const kernels::Conv1dCase& c : kernels::conv1d_cases()) {
      if (!c.is_odd()) continue;
      for (int groups : {1, 2})
        for (bool relu : {false, true})
          if (c.shape.N % groups == 0 && (test::device() == Device::cpu || c.shape.N % 2 || relu == (groups == 2)))
            check_against_reference(Problem(c.shape, 0, {groups, relu, precision}),
                                    fmt::format("{}, {} groups, relu={}", c.name, groups, relu), precision);
    }
}

TEST_CASE("conv1d: fused backward passes of the networks' layers agree with the reference") {
  for (Precision precision : precisions())
    for (const kernels::Conv1dCase& c : kernels::conv1d_cases()) {
      if (c.is_odd() || (std::string_view(c.name).starts_with("encoder/") && c.shape.N == 8)) continue;  // as N256 is
      const int length = test::device() == Device::cpu ? 131 : 41;
      const Fused fused{2, c.shape.K % 4 != 1, precision};
      check_against_reference(Problem(shortened(c.shape, length), 2, fused), c.name, precision);
    }
}

TEST_CASE("conv1d: a whole record of each encoder layer agrees with the reference") {
  for (Precision precision : precisions())
    for (const kernels::Conv1dCase& c : kernels::conv1d_cases()) {
      if (!std::string_view(c.name).starts_with("encoder/") || c.shape.N != 8) continue;
      Conv1dShape shape = c.shape;
      shape.N = 1;
      check_against_reference(Problem(shape), c.name, precision);
    }
}

// Which tiles a kernel takes, how many splits and how many slabs depends on the shape.
TEST_CASE("conv1d: shapes that choose other tiles agree with the reference") {
  const std::pair<const char*, Conv1dShape> shapes[] = {
      {"tall tiles", {67, 200, 4, 20, 3, 1, 1}},
      {"tall and wide tiles", {264, 130, 5, 128, 2, 2, 0}},
      {"a slab for each tap", {2, 300, 6, 5, 5, 1, 70, 35}},
      {"several taps in a slab, several slabs", {2, 90, 20, 5, 40, 1, 20}},
      {"several slabs in each of three phases", {2, 400, 3, 70, 7, 3, 150, 50}},
      {"more strides than positions", {3, 5, 4, 6, 2, 9, 2}},
      {"tiles of many rows of weights", {4, 70, 36, 8, 5, 1, 2}},
  };
  for (Precision precision : precisions())
    for (const auto& [name, shape] : shapes) {
      check_against_reference(Problem(shape, 1), name, precision);
      check_against_reference(Problem(shape, 1, {1, true, precision}), fmt::format("{}, fused", name), precision);
    }
}

TEST_CASE("conv1d: inputs that are not 16-byte aligned give the same bits") {
  const Conv1dShape s{2, 20, 8, 12, 3, 1, 1};
  const Problem p(s);
  Floats shifted_x(p.x), shifted_dy(p.dy);
  shifted_x.insert(shifted_x.begin(), 1.0f);
  shifted_dy.insert(shifted_dy.begin(), 1.0f);
  for (Precision precision : precisions()) {
    const Results aligned = run_kernels(p, precision);
    Floats y(p.dy.size()), dz(p.x.size()), dw(p.w.size());
    {
      test::OnDevice d(precision);
      const kernels::Conv1dKernels& conv1d = kernels::conv1d_kernels(test::device());
      const float *x = d.in(shifted_x) + 1, *dy = d.in(shifted_dy) + 1, *w = d.in(p.w);
      conv1d.forward(d.queue(), s, x, {}, w, d.in(p.bias), d.out(y), {});
      conv1d.input_gradient(d.queue(), s, dy, {}, w, d.out(dz), GradientMode::overwrite, {});
      conv1d.weight_gradient(d.queue(), s, x, {}, dy, {}, d.out(dw), nullptr, GradientMode::overwrite);
    }
    CHECK(y == aligned.y);
    CHECK(dz == aligned.dz);
    CHECK(dw == aligned.dw);
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
    {
      test::OnDevice d;
      const PendingAffine pending{d.in(p.scale), d.in(p.shift), 3, relu};
      kernels::conv1d_kernels(test::device())
          .forward(d.queue(), shape, d.in(p.x), pending, d.in(p.w), nullptr, d.out(y), {});
    }
    test::check_close(y, expected, 1e-6, relu ? "with ReLU" : "without ReLU");
  }
}

TEST_CASE("conv1d: the pending ReLU does not hide a NaN") {
  Problem p({1, 12, 20, 4, 1, 1, 0, 1}, 1);
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  p.x[3 * 20 + 2] = p.x[7 * 20 + 19] = nan;  // one in a whole vector of channels, one in the rest
  for (Precision precision : precisions()) {
    const Results kernel = run_kernels(p, precision);
    for (size_t l = 0; l < 12; ++l) CHECK(std::isnan(kernel.y[l * 4]) == (l == 3 || l == 7));
    for (size_t c = 0; c < 20; ++c) CHECK(std::isnan(kernel.dw[c * 4]) == (c == 2 || c == 19));
  }
}

TEST_CASE("conv1d: accumulating adds to the gradients what overwriting writes") {
  for (Precision precision : precisions())
    for (const Conv1dShape& s : kSmallShapes) {
      const Problem p(s, 2);
      const Results written = run_kernels(p, precision, GradientMode::overwrite, 7.0f);
      Results added = run_kernels(p, precision, GradientMode::accumulate, 0.5f);
      for (Floats* gradient : {&added.dz, &added.dw, &added.dbias})
        for (float& value : *gradient) value -= 0.5f;
      test::check_close(added.dz, written.dz, 1e-6, "dz");
      test::check_close(added.dw, written.dw, 1e-6, "dw");
      test::check_close(added.dbias, written.dbias, 1e-6, "dbias");
    }
}

TEST_CASE("conv1d: the sums of an accumulated gradient are those of the sum") {
  const Conv1dShape shapes[] = {
      {4, 131, 5, 9, 3, 1, 1},
      {4, 300, 64, 12, 7, 1, 3},
      {4, 270, 12, 20, 5, 2, 2},
      {2, 401, 1, 3, 2, 3, 0},
  };
  for (Precision precision : precisions())
    for (const Conv1dShape& s : shapes)
      for (int groups : {1, 2}) {
        const Problem p(s, 0, {groups, true, precision});
        const std::string name = fmt::format("{} in {}", text(s), systole::name(precision));
        const Results written = run_kernels(p, precision, GradientMode::overwrite, 7.0f);
        Results added = run_kernels(p, precision, GradientMode::accumulate, 0.5f);
        check_gradient_sums(p, written, name);
        check_gradient_sums(p, added, name + ", accumulated");
        for (float& value : added.dz) value -= 0.5f;
        test::check_close(added.dz, written.dz, 1e-6, name);
      }
}

TEST_CASE("conv1d: a fused backward pass of tensors that are not 16-byte aligned gives the same bits") {
  const Conv1dShape s{2, 140, 8, 12, 3, 1, 1};
  const auto behind_one = [](Floats values) {
    values.insert(values.begin(), 1.0f);
    return values;
  };
  for (Precision precision : precisions()) {
    const Problem p(s, 0, {2, true, precision});
    const Results aligned = run_kernels(p, precision);
    const Floats dy = behind_one(p.dy), output_y = behind_one(p.output->y), input_y = behind_one(p.input->y);
    Floats dz(p.x.size()), dw(p.w.size()), g(aligned.g.size()), gd(g.size());
    {
      test::OnDevice d(precision);
      kernels::PendingGradient pending = p.pending_dy(d);
      kernels::RecordGradientSums sums{on(d, *p.input), d.out(g), d.out(gd)};
      pending.output.y = d.in(output_y) + 1;
      sums.output.y = d.in(input_y) + 1;
      const kernels::Conv1dKernels& conv1d = kernels::conv1d_kernels(test::device());
      const float* const gradient = d.in(dy) + 1;
      conv1d.input_gradient(d.queue(), s, gradient, pending, d.in(p.w), d.out(dz), GradientMode::overwrite, sums);
      conv1d.weight_gradient(d.queue(), s, d.in(p.x), {}, gradient, pending, d.out(dw), nullptr,
                             GradientMode::overwrite);
    }
    CHECK(dz == aligned.dz);
    CHECK(dw == aligned.dw);
    CHECK(g == aligned.g);
    CHECK(gd == aligned.gd);
  }
}

TEST_CASE("conv1d: positions that no window reads have gradient zero") {
  const Problem p({1, 10, 2, 3, 2, 4, 0, 1});  // windows at 0 … 1, 4 … 5, 8 … 9
  for (Precision precision : precisions()) {
    const Results kernel = run_kernels(p, precision, GradientMode::overwrite, 3.0f);
    for (size_t i : {2, 3, 6, 7})
      for (size_t c = 0; c < 2; ++c) CHECK(kernel.dz[i * 2 + c] == 0.0f);
  }
}

TEST_CASE("conv1d: the number of threads does not change a bit") {
  if (test::device() != Device::cpu) return;
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
      INFO(fmt::format("{} threads, N = {}", count, s.N));
      check_same(run_kernels(p), alone);
    }
  }
  set_threads(0);
}

TEST_CASE("conv1d: the order of threads and blocks does not change a bit") {
  if (test::device() != Device::simt) return;
  const Conv1dShape shapes[] = {{3, 131, 12, 70, 5, 2, 2, 1}, {9, 17, 20, 37, 3, 2, 2, 2}};
  const simt::Options before = simt::options();
  for (Precision precision : precisions())
    for (const Conv1dShape& s : shapes) {
      const Problem p(s, 1);
      simt::options() = {};
      const Results first = run_kernels(p, precision);
      for (simt::Order order : {simt::Order::forward, simt::Order::reverse, simt::Order::shuffled})
        for (int workers : {2, 3}) {
          simt::options() = {.order = order, .workers = workers};
          INFO(fmt::format("order {}, {} workers, {}", static_cast<int>(order), workers, name(precision)));
          check_same(run_kernels(p, precision), first);
        }
    }
  simt::options() = before;
}

TEST_CASE("conv1d: a fused backward pass has the same bits for any schedule") {
  const Conv1dShape shapes[] = {{1, 131, 12, 250, 5, 2, 2, 1}, {4, 150, 64, 20, 7, 1, 3, 1}, {10, 33, 20, 37, 3, 2, 2}};
  for (Precision precision : precisions())
    for (const Conv1dShape& s : shapes) {
      const Problem p(s, 1, {s.N % 2 ? 1 : 2, true, precision});
      test::check_same_bits_for_any_schedule([&] { return run_kernels(p, precision); },
                                             fmt::format("{} in {}", text(s), name(precision)));
    }
}

TEST_CASE("conv1d: the same call gives the same bits every time") {
  for (Precision precision : precisions()) {
    const Problem p({9, 70, 20, 37, 3, 2, 2, 2}, 1);
    const Results first = run_kernels(p, precision);
    for (int i = 0; i < 3; ++i) check_same(run_kernels(p, precision), first);
  }
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
