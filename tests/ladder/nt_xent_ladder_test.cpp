// Every step of NT-Xent's ladder is the whole loss with its gradient: of every shape, as good as plain float code, the
// same bits in any order of threads, within the memory that it asks for.

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/common/bf16.h"
#include "kernels/common/error.h"
#include "kernels/contrastive/ladder/ladder.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/contrastive.h"
#include "tests/support.h"

namespace systole {
namespace reference = test::reference;
namespace {

using kernels::NtXentShape;
using kernels::nt_xent_ladder::Step;
using Floats = std::vector<float>;

constexpr float kSentinel = 12345.0f;
constexpr size_t kBorder = 16;                     // 64 bytes: what is between the borders stays aligned
constexpr float kLeastForConstantOffset = 0.023f;  // temperature

const std::vector<Step>& steps() {
  return kernels::nt_xent_ladder::steps(test::device());
}
bool has_running_maximum(const Step& step) {
  return &step < &steps()[2];
}

/// Memory of a step: NaN between borders that nobody may write to.
Floats bordered(size_t count) {
  Floats memory(count + 2 * kBorder, kSentinel);
  std::fill_n(memory.begin() + kBorder, count, NAN);
  return memory;
}
void check_borders(const Floats& memory) {
  const auto is_sentinel = [](float v) { return v == kSentinel; };
  CHECK(std::all_of(memory.begin(), memory.begin() + kBorder, is_sentinel));
  CHECK(std::all_of(memory.end() - kBorder, memory.end(), is_sentinel));
}

struct Result {
  float loss = NAN;
  Floats dz;
};

Result run(const Step& step, const NtXentShape& shape, const Floats& z) {
  Floats working = bordered(step.working_floats(shape)), dz = bordered(z.size());
  Result result;
  {
    test::OnDevice d(step.precision);
    step.loss_and_gradient(d.queue(), shape, d.in(z), d.out(working) + kBorder, d.out(&result.loss, 1),
                           d.out(dz) + kBorder);
  }
  check_borders(working);
  check_borders(dz);
  result.dz.assign(dz.begin() + kBorder, dz.end() - kBorder);
  return result;
}

/// Two noisy views of records that lie in clusters of four, as unit rows: near partners, near negatives and far ones.
/// Softmaxes of rows alike would hide most mistakes.
Floats clustered_rows(int M, int D, uint32_t which) {
  const int N = M / 2;
  const size_t size = size_t(N) * D;
  const Floats centres = test::random_normal(size, which), records = test::random_normal(size, which + 1, 0.5f);
  Floats x = test::random_normal(2 * size, which + 2, 0.3f);
  for (int i = 0; i < M; ++i)
    for (int d = 0; d < D; ++d) x[i * D + d] += centres[i % N / 4 * D + d] + records[i % N * D + d];
  const auto z = reference::l2_normalize<double>(M, D, test::to_double(x));
  return {z.begin(), z.end()};
}

/// Rows as the products of a precision see them.
Floats rounded(Floats z, Precision precision) {
  if (precision == Precision::bf16)
    for (float& v : z) v = to_float(to_bf16(v));
  return z;
}

/// What a step shall return for unit rows, and how far from it.
class Expected {
 public:
  Expected(const NtXentShape& s, const Floats& z, Precision precision)
      : exact_(reference::nt_xent<double>(s.M, s.D, double{s.temperature}, test::to_double(rounded(z, precision)))) {
    const double c = 1 / double{s.temperature};
    if (precision == Precision::f32) {
      // Twice the error of plain float code, or the four roundings of a logit where that code is right by luck.
      const auto plain = reference::nt_xent<float>(s.M, s.D, s.temperature, z);
      const double logit = 4 * 0x1p-24 * (1 + c);
      loss_ = std::max(2 * std::abs(plain.loss - exact_.loss), logit);
      dz_ = std::max(2 * test::max_error(plain.dz, exact_.dz), c / s.M * logit);
    } else {
      // Products are exact, a similarity is added up in at most D / 16 instructions, and D ≤ 512 here: 32 roundings.
      // The gradient has rounded weights: |Σ_j δ_j w_ij z_j| ≤ 2⁻⁹ Σ_j |w_ij|, since |z_j| ≤ 1, and a row's weights add
      // up to about 4: 1 from 1/r_i, 1 from 1/r_j, 2 from the partner.
      const double logit = 32 * 0x1p-24 * (1 + c);
      loss_ = logit;
      dz_ = c / s.M * (4 * 0x1p-9 + logit);
    }
  }

  void check(const Result& result, const std::string& what) const {
    const double loss_error = std::abs(result.loss - exact_.loss), dz_error = test::max_error(result.dz, exact_.dz);
    CHECK_MESSAGE(loss_error <= loss_, fmt::format("{}, loss: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what,
                                                   loss_error, loss_, test::seed()));
    CHECK_MESSAGE(dz_error <= dz_, fmt::format("{}, dz: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what,
                                               dz_error, dz_, test::seed()));
  }

 private:
  reference::NtXent<double> exact_;
  double loss_, dz_;
};

void check_step(const Step& step, const NtXentShape& shape, const Floats& z, const Expected& expected) {
  expected.check(run(step, shape, z), fmt::format("{}: {}", step.name, text(shape)));
}

/// All steps that can do this temperature.
void check_steps(const NtXentShape& shape, const Floats& z) {
  const Expected f32(shape, z, Precision::f32), bf16(shape, z, Precision::bf16);
  for (const Step& step : steps())
    if (has_running_maximum(step) || shape.temperature >= kLeastForConstantOffset)
      check_step(step, shape, z, step.precision == Precision::f32 ? f32 : bf16);
}

}  // namespace

TEST_CASE("nt_xent ladder: all steps exist on the devices that execute CUDA kernels, in the order of reading") {
  REQUIRE(steps().size() == 5);
  for (size_t i = 0; i < steps().size(); ++i)
    CHECK(std::string_view(steps()[i].name).substr(0, 3) == fmt::format("0{} ", i + 1));
  CHECK(kernels::nt_xent_ladder::steps(Device::cpu).empty());
}

TEST_CASE("nt_xent ladder: loss and gradient of all steps agree with the whole matrix for every kind of shape") {
  for (int M : {4, 6, 64, 126, 130, 258})
    for (int D : {8, 33}) check_steps({M, D, 0.07f}, clustered_rows(M, D, 1));
  for (const auto& [M, D] : {std::pair{10, 1}, {130, 128}, {6, 256}, {66, 256}, {70, 300}})
    check_steps({M, D, 0.1f}, clustered_rows(M, D, 2));
}

TEST_CASE("nt_xent ladder: a piece of the triangle may have several tiles") {
  const NtXentShape shape{1410, 8, 0.07f};  // 276 tiles on and above the diagonal, 256 pieces
  const Floats z = clustered_rows(shape.M, shape.D, 3);
  check_step(steps()[3], shape, z, Expected(shape, z, Precision::f32));
}

TEST_CASE("nt_xent ladder: temperatures, from where a constant offset would lose all terms to where rows are alike") {
  const Floats z = clustered_rows(130, 16, 5);
  for (float temperature : {0.005f, 0.02f, kLeastForConstantOffset, 0.1f, 0.5f, 10.0f})
    check_steps({130, 16, temperature}, z);
}

TEST_CASE("nt_xent ladder: a row opposite to all others does not vanish from its sum") {
  const int M = 66, D = 8;
  Floats z(size_t(M) * D, 0.0f);
  for (int i = 0; i < M; ++i) z[size_t(i) * D] = i == 65 ? 1.0f : -1.0f;
  check_steps({M, D, 0.005f}, z);
  check_steps({M, D, kLeastForConstantOffset}, z);
}

TEST_CASE("nt_xent ladder: only the first step's memory grows with the square of the rows") {
  const NtXentShape shape{1 << 15, 128, 0.07f}, twice{1 << 16, 128, 0.07f};
  for (const Step& step : steps()) {
    const double growth = double(step.working_floats(twice)) / double(step.working_floats(shape));
    INFO(step.name);
    CHECK((&step == &steps()[0] ? growth > 3.9 : growth <= 2));
  }
}

TEST_CASE("nt_xent ladder: every run and every order of threads gives the same bits") {
  for (const NtXentShape& shape : {NtXentShape{10, 8, 0.07f}, NtXentShape{130, 40, 0.07f}}) {
    const Floats z = clustered_rows(shape.M, shape.D, 6);
    for (const Step& step : steps()) {
      const auto everything = [&] {
        const Result result = run(step, shape, z);
        Floats all = result.dz;
        all.push_back(result.loss);
        return all;
      };
      test::check_same_bits_for_any_schedule(everything, fmt::format("{}, M {}", step.name, shape.M));
    }
  }
}

TEST_CASE("nt_xent ladder: an impossible shape, or a temperature too low for a step, is refused with its value") {
  const auto sentence = [](const Step& step, const NtXentShape& shape) {
    Floats nothing(1);
    test::OnDevice d(step.precision);
    return test::sentence_of<Error>([&] {
      step.loss_and_gradient(d.queue(), shape, nothing.data(), nothing.data(), nothing.data(), nothing.data());
    });
  };
  for (const Step& step : steps()) {
    INFO(step.name);
    CHECK(sentence(step, {5, 8, 0.1f}).find("5 rows") != std::string::npos);
    if (!has_running_maximum(step)) CHECK(sentence(step, {8, 8, 0.02f}).find("0.02 ") != std::string::npos);
  }
}

}  // namespace systole
