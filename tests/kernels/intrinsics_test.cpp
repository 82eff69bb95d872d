// The warp-wide instructions against what the PTX manual says of them: on simt this tests the models, on cuda it tests
// that the models say what the hardware does.

#include "tests/kernels/intrinsics.h"

#include <cmath>

#include "kernels/common/bf16.h"
#include "kernels/cuda/device.h"
#include "tests/device.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

bool has_intrinsics() {
  return device() != Device::cpu;
}
bool has_wgmma() {
#if defined(SYSTOLE_CUDA)
  if (device() == Device::cuda) return cuda::has_wgmma();
#endif
  return device() == Device::simt;
}

const IntrinsicKernels& table() {
#if defined(SYSTOLE_CUDA)
  if (device() == Device::cuda) return cuda::intrinsics;
#endif
  return simt::intrinsics;
}

/// c + round(a) · round(b) in double.
template <class Round>
std::vector<double> product(int K, const std::vector<float>& a, const std::vector<float>& b,
                            const std::vector<float>& c, const Round& round) {
  std::vector<double> sum(c.begin(), c.end());
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n)
      for (int k = 0; k < K; ++k)
        sum[static_cast<size_t>(m * 8 + n)] +=
            double{round(a[static_cast<size_t>(m * K + k)])} * round(b[static_cast<size_t>(k * 8 + n)]);
  return sum;
}

}  // namespace

TEST_CASE("intrinsics: mma.sync multiplies rounded matrices and adds in f32") {
  if (!has_intrinsics()) return;
  const std::vector<float> a = random_normal(256, 1), b = random_normal(128, 2), c = random_normal(128, 3);
  {
    OnDevice d;
    std::vector<float> result = c;
    table().mma_bf16(d.queue(), d.in(a), d.in(b), d.out(result));
    d.finish();
    check_close(result, product(16, a, b, c, [](float x) { return to_float(to_bf16(x)); }), 1e-6, "bf16");
  }
  OnDevice d;
  std::vector<float> result = c;
  const std::vector<float> a8(a.begin(), a.begin() + 128), b8(b.begin(), b.begin() + 64);
  table().mma_tf32(d.queue(), d.in(a8), d.in(b8), d.out(result));
  d.finish();
  check_close(result, product(8, a8, b8, c, to_tf32), 1e-6, "tf32");
}

TEST_CASE("intrinsics: ldmatrix gives lane (g, t) the values 2t, 2t + 1 of row g, or of column g") {
  if (!has_intrinsics()) return;
  for (bool transposed : {false, true}) {
    OnDevice d;
    std::vector<uint32_t> registers(128);
    table().ldmatrix(d.queue(), transposed, d.out(registers));
    d.finish();
    for (uint32_t lane = 0; lane < 32; ++lane)
      for (uint32_t j = 0; j < 4; ++j) {
        const uint32_t g = lane / 4, t = lane % 4, first = j * 64;
        const uint32_t low = transposed ? first + 2 * t * 8 + g : first + g * 8 + 2 * t;
        CHECK(registers[lane * 4 + j] == (low | (transposed ? low + 8 : low + 1) << 16));
      }
  }
}

TEST_CASE("intrinsics: asynchronous copies arrive group by group, zeros where there is nothing to read") {
  if (!has_intrinsics()) return;
  const std::vector<float> x = random_normal(64, 1);
  for (int valid : {64, 40, 0}) {
    OnDevice d;
    std::vector<float> y(64, 7.0f);
    table().cp_async(d.queue(), valid, d.in(x), d.out(y));
    d.finish();
    for (size_t i = 0; i < 64; ++i) CHECK(y[i] == (static_cast<int>(i) < valid ? x[i] : 0.0f));
  }
}

TEST_CASE("intrinsics: wgmma reads lines of 32, 64 and 128 bytes, from any line on, by depths and by rows") {
  if (!has_wgmma()) return;
  std::vector<float> a(64 * 16), b(64 * 16);  // small whole numbers: their sums are exact
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = static_cast<float>(i * 7 % 31) - 15, b[i] = static_cast<float>(i * 11 % 29) - 14;
  std::vector<float> expected(64 * 64);
  for (size_t i = 0; i < expected.size(); ++i)
    for (size_t k = 0; k < 16; ++k) expected[i] += a[i / 64 * 16 + k] * b[i % 64 * 16 + k];
  for (int line_bytes : {32, 64, 128})
    for (bool row_major : {false, true})
      for (int first_line : {0, 1, 6, 13}) {
        CAPTURE(line_bytes);
        CAPTURE(row_major);
        CAPTURE(first_line);
        OnDevice d;
        std::vector<float> c(expected.size(), NAN);
        table().wgmma(d.queue(), line_bytes, row_major, first_line, d.in(a), d.in(b), d.out(c));
        d.finish();
        CHECK(c == expected);
      }
}

TEST_CASE("intrinsics: groups of rows that wgmma reads may overlap, some lines apart: windows of the same lines") {
  if (!has_wgmma()) return;
  for (int line_bytes : {32, 64})
    for (int group_lines : {1, 2, 3, 5, 8})
      for (int first_line : {0, 1, 6, 13}) {
        CAPTURE(line_bytes);
        CAPTURE(group_lines);
        CAPTURE(first_line);
        const auto values = static_cast<size_t>(line_bytes) / 2;
        std::vector<float> x(64 * values), b(16 * 64);  // small whole numbers: their sums are exact
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 31) - 15;
        for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 11 % 29) - 14;
        std::vector<float> expected(64 * 64);
        for (size_t i = 0; i < expected.size(); ++i)
          for (size_t k = 0; k < 16; ++k) {
            const size_t row = i / 64;
            const size_t line = static_cast<size_t>(first_line) + row / values * static_cast<size_t>(group_lines) + k;
            expected[i] += x[line * values + row % values] * b[k * 64 + i % 64];
          }
        OnDevice d;
        std::vector<float> c(expected.size(), NAN);
        table().wgmma_windows(d.queue(), line_bytes, group_lines, first_line, d.in(x), d.in(b), d.out(c));
        d.finish();
        CHECK(c == expected);
      }
}

TEST_CASE("intrinsics: powers of two are within 2 ulp, pairs of bf16 round to the nearest even and have a maximum") {
  if (!has_intrinsics()) return;
  std::vector<float> x = random_normal(1000, 1, 20.0f);
  x[0] = 1.00390625f;  // half-way between two bf16, the lower one even
  x[1] = 1.01171875f;  // half-way, the upper one even
  x[2] = -140;         // a denormal power becomes zero
  x[3] = NAN;
  OnDevice d;
  std::vector<float> y(x.size());
  std::vector<uint32_t> packed(x.size()), larger(x.size());
  const uint32_t zero_and_minus_infinity = 0xff800000;
  table().round(d.queue(), static_cast<int>(x.size()), d.in(x), d.out(y), d.out(packed), zero_and_minus_infinity,
                d.out(larger));
  d.finish();
  CHECK((packed[0] & 0xffffu) == 0x3f80u);
  CHECK((packed[1] & 0xffffu) == 0x3f82u);
  CHECK(y[2] == 0);
  for (const uint32_t half : {larger[3] & 0xffffu, larger[3] >> 16}) CHECK(std::isnan(to_float(bf16{uint16_t(half)})));
  for (size_t i = 4; i < x.size(); ++i) {
    CHECK(larger[i] == ((packed[i] & 0xffff0000u) | (x[i] < 0 ? 0 : packed[i] & 0xffffu)));
    CHECK(packed[i] == (uint32_t{to_bf16(x[i]).bits} | uint32_t{to_bf16(-x[i]).bits} << 16));
    const double exact = std::exp2(double{x[i]});
    if (exact > 0x1p-126) CHECK(std::abs(y[i] - exact) <= 3e-7 * exact);
  }
}
