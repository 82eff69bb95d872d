// NT-Xent and the normalisation of rows: against the formulas with the whole matrix, finite differences, PyTorch, and
// at the borders of the temperature. Rows are clustered, so that softmaxes have peaks: uniform ones hide most mistakes.

#include "kernels/contrastive/contrastive.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/common/bf16.h"
#include "kernels/common/error.h"
#include "kernels/contrastive/cases.h"
#include "kernels/contrastive/exp2.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/contrastive.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;

const ContrastiveKernels& contrastive() {
  return contrastive_kernels(device());
}

struct Normalized {
  std::vector<float> z, norm;
};

Normalized normalize(int M, int D, const std::vector<float>& x) {
  Normalized result{std::vector<float>(x.size(), NAN), std::vector<float>(M, NAN)};
  OnDevice d;
  contrastive().l2_normalize(d.queue(), {M, D}, d.in(x), d.out(result.z), d.out(result.norm));
  return result;
}

/// Writes dx, or adds to it.
void normalize_backward(int M, int D, const Normalized& forward, const std::vector<float>& dz, std::vector<float>& dx,
                        GradientMode mode) {
  OnDevice d;
  contrastive().l2_normalize_backward(d.queue(), {M, D}, d.in(forward.z), d.in(forward.norm), d.in(dz), d.out(dx),
                                      mode);
}

std::vector<float> normalize_backward(int M, int D, const Normalized& forward, const std::vector<float>& dz) {
  std::vector<float> dx(dz.size(), NAN);
  normalize_backward(M, D, forward, dz, dx, kOverwrite);
  return dx;
}

/// Writes dz, or adds to it.
void nt_xent_backward(const NtXentShape& s, const std::vector<float>& z, const std::vector<float>& log_sum,
                      float upstream, std::vector<float>& dz, GradientMode mode, Precision precision) {
  OnDevice d(precision);
  const std::vector<float> scale{upstream};
  contrastive().nt_xent_backward(d.queue(), s, d.in(z), d.in(log_sum), d.in(scale), d.out(dz), mode);
}

reference::NtXent<float> nt_xent(const NtXentShape& s, const std::vector<float>& z,
                                 Precision precision = Precision::f32) {
  reference::NtXent<float> result{NAN, std::vector<float>(s.M, NAN), std::vector<float>(z.size(), NAN)};
  {
    OnDevice d(precision);
    contrastive().nt_xent_forward(d.queue(), s, d.in(z), d.out(&result.loss, 1), d.out(result.log_sum));
  }
  nt_xent_backward(s, z, result.log_sum, 1, result.dz, kOverwrite, precision);
  return result;
}

/// Two noisy views of N records, and the records in clusters of four: near partners, near negatives and far ones.
std::vector<float> clustered_rows(int M, int D, uint32_t which) {
  const int N = M / 2;
  const std::vector<float> centres = random_normal(size_t(N) * D, which),
                           records = random_normal(size_t(N) * D, which + 1);
  std::vector<float> x = random_normal(size_t(M) * D, which + 2, 0.3f);
  for (int i = 0; i < M; ++i)
    for (int d = 0; d < D; ++d) x[i * D + d] += centres[i % N / 4 * D + d] + 0.5f * records[i % N * D + d];
  return x;
}

/// At most twice the error of the plain float code, or `rounding` where that code is right by luck.
void check_error(const std::vector<float>& kernel, const std::vector<float>& plain, const std::vector<double>& exact,
                 double rounding, const std::string& what) {
  const double error = max_error(kernel, exact), allowed = std::max(2 * max_error(plain, exact), rounding);
  CHECK_MESSAGE(error <= allowed,
                fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error, allowed, seed()));
}

void check_against_the_matrix(const NtXentShape& s, const std::vector<float>& z) {
  const std::string what = fmt::format("M {}, D {}, temperature {}", s.M, s.D, s.temperature);
  const auto kernel = nt_xent(s, z);
  const auto plain = reference::nt_xent<float>(s.M, s.D, s.temperature, z);
  const auto exact = reference::nt_xent<double>(s.M, s.D, s.temperature, to_double(z));
  const double c = 1 / double{s.temperature}, logit = 4 * 0x1p-24 * (1 + c);  // a logit's four roundings
  check_error({kernel.loss}, {plain.loss}, {exact.loss}, logit, what + ", loss");
  check_error(kernel.log_sum, plain.log_sum, exact.log_sum, logit, what + ", log_sum");
  check_error(kernel.dz, plain.dz, exact.dz, c / s.M * logit, what + ", dz");
}

TEST_CASE("contrastive: exp2 is within 2 ulp and never below 2^-126") {
  using cpu::kWidth;
  double worst = 0;
  for (int i = 0; i < 79'944; i += kWidth) {  // up to 127.4
    float in[kWidth], out[kWidth];
    for (int l = 0; l < kWidth; ++l) in[l] = -126 + 0.00317f * static_cast<float>(i + l);
    cpu::store(cpu::exp2(cpu::load(in)), out);
    for (int l = 0; l < kWidth; ++l) {
      const double exact = std::exp2(double{in[l]}), ulp = std::exp2(std::floor(double{in[l]}) - 23);
      worst = std::max(worst, std::abs(out[l] - exact) / ulp);
    }
  }
  CHECK(worst <= 2);
  const auto first_lane = [](float x) -> float { return cpu::exp2(x)[0]; };
  for (float x : {-126.0f, -127.0f, -1000.0f, -1e30f, -INFINITY}) CHECK(first_lane(x) == 0x1p-126f);
  for (float x : {-3.0f, 0.0f, 1.0f, 100.0f}) CHECK(first_lane(x) == std::exp2(x));
}

TEST_CASE("contrastive: rows and their gradient are normalised as the formula says") {
  for (const auto& [M, D] : {std::pair{5, 1}, {4, 3}, {17, 13}, {130, 127}, {512, 128}}) {
    const std::vector<float> x = random_normal(size_t(M) * D, 1, 3), dz = random_normal(size_t(M) * D, 2);
    const Normalized forward = normalize(M, D, x);
    const std::string what = fmt::format("M {}, D {}", M, D);
    check_as_good_as_plain(forward.z, reference::l2_normalize<float>(M, D, x),
                           reference::l2_normalize<double>(M, D, to_double(x)), what + ", z");
    const auto exact = reference::l2_normalize_backward<double>(M, D, to_double(x), to_double(dz));
    if (D == 1) continue;  // the gradient is zero, all that remains is rounding
    check_as_good_as_plain(normalize_backward(M, D, forward, dz), reference::l2_normalize_backward<float>(M, D, x, dz),
                           exact, what + ", dx");
  }
}

TEST_CASE("contrastive: normalisation keeps rows whose squares leave the range of float") {
  const Normalized forward = normalize(2, 2, {3e-30f, 4e-30f, 3e30f, 4e30f});
  check_close(forward.z, std::vector<float>{0.6f, 0.8f, 0.6f, 0.8f}, 1e-6, "z");
  check_close(forward.norm, std::vector<float>{5e-30f, 5e30f}, 1e-6, "norm");
}

TEST_CASE("contrastive: a row of zeros stays zero, has gradient zero and leaves a finite loss") {
  const int M = 10, D = 13;
  for (float temperature : {0.005f, 0.015f, 0.07f}) {
    std::vector<float> x = clustered_rows(M, D, 1);
    std::fill_n(x.begin() + 3 * D, D, 0.0f);
    const Normalized forward = normalize(M, D, x);
    const auto loss = nt_xent({M, D, temperature}, forward.z);
    const std::vector<float> dx = normalize_backward(M, D, forward, loss.dz);
    CHECK(forward.norm[3] == 0);
    CHECK(std::isfinite(loss.loss));
    for (int i = 0; i < M * D; ++i) {
      CHECK(std::isfinite(dx[i]));
      if (i / D == 3) CHECK((dx[i] == 0 && forward.z[i] == 0));
    }
  }
}

TEST_CASE("contrastive: NT-Xent agrees with the whole matrix for every kind of shape") {
  for (int M : {4, 6, 10, 126, 130, 258})
    for (int D : {1, 3, 13, 64, 127, 129, 250})
      check_against_the_matrix({M, D, 0.07f}, normalize(M, D, clustered_rows(M, D, 1)).z);
  check_against_the_matrix({1026, 13, 0.07f}, normalize(1026, 13, clustered_rows(1026, 13, 1)).z);
  // Large enough that a piece of the forward pass and a part of the backward pass have several tiles on every device.
  for (const NtXentShape& s : {NtXentShape{1538, 3, 0.1f}, {1154, 5, 0.01f}})
    check_against_the_matrix(s, normalize(s.M, s.D, clustered_rows(s.M, s.D, 1)).z);
  for (const NtXentCase& c : nt_xent_cases())
    if (c.unit() < 1e8)
      check_against_the_matrix(c.shape, normalize(c.shape.M, c.shape.D, clustered_rows(c.shape.M, c.shape.D, 2)).z);
}

/// With rows rounded to the precision the first product is exact but for its sums, so loss and log_sum keep the
/// accuracy of float; the gradient's second product rounds the weights too.
void check_rounded(const NtXentShape& s, std::vector<float> z, Precision precision) {
  const std::string what = fmt::format("{} in {}", text(s), name(precision));
  const auto kernel = nt_xent(s, z, precision);
  for (float& v : z) v = precision == Precision::tf32 ? to_tf32(v) : to_float(to_bf16(v));
  const auto exact = reference::nt_xent<double>(s.M, s.D, s.temperature, to_double(z));
  // A similarity is added up in at most 32 instructions of mma here, each of which rounds once.
  const double c = 1 / double{s.temperature}, logit = 32 * 0x1p-24 * (1 + c);
  const double loss_error = std::abs(kernel.loss - exact.loss), sum_error = max_error(kernel.log_sum, exact.log_sum);
  CHECK_MESSAGE(loss_error <= logit, fmt::format("{}, loss: error {:.3g}", what, loss_error));
  CHECK_MESSAGE(sum_error <= logit, fmt::format("{}, log_sum: error {:.3g}", what, sum_error));
  // |Σ_j δ_j w_ij z_j| ≤ u Σ_j |w_ij|, since |z_j| ≤ 1; the weights of a row add up to about 4 at most: 1 from 1/r_i, 1
  // from 1/r_j, 2 from the partner. Half of that is allowed, since roundings differ in sign.
  const double u = precision == Precision::tf32 ? 0x1p-11 : 0x1p-8;
  const double error = max_error(kernel.dz, exact.dz);
  CHECK_MESSAGE(error <= c / s.M * (2 * u + logit), fmt::format("{}, dz: error {:.3g}", what, error));
}

TEST_CASE("contrastive: in tf32 and bf16 NT-Xent is that of rounded rows, in every regime of the offset") {
  if (device() == Device::cpu) return;  // it has f32 alone
  for (Precision precision : {Precision::tf32, Precision::bf16}) {
    for (const auto& [M, D] : {std::pair{4, 3}, {10, 13}, {126, 64}, {130, 127}, {258, 250}})
      check_rounded({M, D, 0.07f}, normalize(M, D, clustered_rows(M, D, 7)).z, precision);
    for (float temperature : {0.005f, 0.0127f, 0.015f, 0.023f, 0.5f})
      check_rounded({130, 16, temperature}, normalize(130, 16, clustered_rows(130, 16, 8)).z, precision);
  }
}

/// Both sides of each border of the softmax offset, and temperatures far from them.
std::vector<float> temperatures() {
  std::vector<float> result{0.005f, 0.01f, 0.018f, 0.05f, 0.1f, 0.5f, 1.0f, 10.0f};
  for (float border : {0.0128f, 0.023f})
    result.insert(result.end(), {std::nextafter(border, 0.0f), border, std::nextafter(border, 1.0f)});
  return result;
}

TEST_CASE("contrastive: NT-Xent agrees with the whole matrix at every temperature") {
  for (float temperature : temperatures())
    check_against_the_matrix({130, 16, temperature}, normalize(130, 16, clustered_rows(130, 16, 3)).z);
}

TEST_CASE("contrastive: rows opposite to all others do not vanish from their sums") {
  const int M = 132;  // more than one tile
  std::vector<float> z(M * 2, 0.0f);
  for (int i = 0; i < M; ++i) z[2 * i] = i == 0 || i == 130 ? 1.0f : -1.0f;
  z[2 * 130] = 0, z[2 * 130 + 1] = 1;  // one at right angles to all: its sum has all columns alike
  const std::vector<float> four{1, -1, -1, -1};
  for (float temperature : temperatures()) {
    check_against_the_matrix({M, 2, temperature}, z);

    const auto kernel = nt_xent({4, 1, temperature}, four);
    const auto exact = reference::nt_xent<double>(4, 1, temperature, to_double(four));
    const double c = 1 / double{temperature}, rounding = 8 * 0x1p-24 * (1 + c);  // of a logit
    CHECK(std::abs(kernel.loss - exact.loss) <= rounding);
    CHECK(max_error(kernel.dz, exact.dz) <= c * rounding);  // a row's weights add up to at most 4, and M is 4
  }
}

TEST_CASE("contrastive: the gradient through the normalisation agrees with finite differences") {
  for (const NtXentShape& s : {NtXentShape{4, 3, 0.5f}, NtXentShape{10, 5, 0.07f}, NtXentShape{6, 4, 0.011f}}) {
    const std::vector<float> x = clustered_rows(s.M, s.D, 4);
    const Normalized forward = normalize(s.M, s.D, x);
    const auto loss_of = [&](const std::vector<double>& rows) {
      return reference::nt_xent<double>(s.M, s.D, s.temperature, reference::l2_normalize<double>(s.M, s.D, rows)).loss;
    };
    check_close(normalize_backward(s.M, s.D, forward, nt_xent(s, forward.z).dz),
                finite_differences(loss_of, to_double(x), 1e-6), 1e-4, fmt::format("temperature {}", s.temperature));
  }
}

TEST_CASE("contrastive: gradients are scaled by upstream and added on request") {
  const NtXentShape s{130, 13, 0.07f};
  const Normalized forward = normalize(s.M, s.D, clustered_rows(s.M, s.D, 5));
  const auto once = nt_xent(s, forward.z);
  const std::vector<float> start = random_normal(once.dz.size(), 9);

  std::vector<float> dz = start, expected(start.size());
  nt_xent_backward(s, forward.z, once.log_sum, -2, dz, kAccumulate, Precision::f32);
  for (size_t i = 0; i < dz.size(); ++i) expected[i] = start[i] - 2 * once.dz[i];
  check_close(dz, expected, 1e-6, "dz");

  std::vector<float> dx = start;
  normalize_backward(s.M, s.D, forward, once.dz, dx, kAccumulate);
  const std::vector<float> alone = normalize_backward(s.M, s.D, forward, once.dz);
  for (size_t i = 0; i < dx.size(); ++i) expected[i] = start[i] + alone[i];
  check_close(dx, expected, 1e-6, "dx");
}

TEST_CASE("contrastive: every result has the same bits under any schedule") {
  const int M = device() == Device::cpu ? 1026 : 258;
  for (const NtXentShape& s : {NtXentShape{10, 3, 0.07f}, NtXentShape{M, 64, 0.07f}, NtXentShape{M, 64, 0.01f}}) {
    const std::vector<float> x = clustered_rows(s.M, s.D, 6);
    const auto everything = [&] {
      const Normalized forward = normalize(s.M, s.D, x);
      const auto loss = nt_xent(s, forward.z);
      std::vector<float> all = normalize_backward(s.M, s.D, forward, loss.dz);
      all.insert(all.end(), loss.log_sum.begin(), loss.log_sum.end());
      all.push_back(loss.loss);
      return all;
    };
    check_same_bits_for_any_schedule(everything, fmt::format("M {}, temperature {}", s.M, s.temperature));
  }
}

TEST_CASE("contrastive: NT-Xent has PyTorch's values and gradients") {
  const auto golden_losses = nlohmann::json::parse(read_file(golden("losses.json")));
  REQUIRE(golden_losses["nt_xent"].size() == 2);
  for (const auto& c : golden_losses["nt_xent"]) {
    const NtXentShape s{c["M"], c["D"], c["temperature"]};
    const Normalized forward = normalize(s.M, s.D, c["x"].get<std::vector<float>>());
    const auto loss = nt_xent(s, forward.z);
    CHECK(loss.loss == doctest::Approx(c["loss"].get<double>()).epsilon(1e-6));
    check_close(normalize_backward(s.M, s.D, forward, loss.dz), c["dx"].get<std::vector<double>>(), 1e-5, "dx");
  }
}

TEST_CASE("contrastive: an impossible shape or temperature is refused with its value") {
  CHECK(sentence_of<Error>([] { check(NtXentShape{5, 8, 0.1f}); }).find("5 rows") != std::string::npos);
  CHECK(sentence_of<Error>([] { check(NtXentShape{2, 8, 0.1f}); }).find("2 rows") != std::string::npos);
  CHECK(sentence_of<Error>([] { check(NtXentShape{8, 0, 0.1f}); }).find("0 numbers") != std::string::npos);
  for (float temperature : {0.0f, -1.0f, NAN, INFINITY})
    CHECK(sentence_of<Error>([=] { check(NtXentShape{8, 8, temperature}); }).find("temperature") != std::string::npos);
}

}  // namespace
