// Exchanges of a warp: each reads what the lanes brought and leaves every lane its result.

#include "kernels/simt/intrinsics.h"

#include <algorithm>
#include <array>

#include "kernels/simt/language.h"

namespace systole::simt {
namespace {

/// Copies what all lanes brought, before results take its place.
std::array<LaneData, 32> brought_by(Thread* const* lanes) {
  std::array<LaneData, 32> data;
  for (unsigned k = 0; k < 32; ++k)
    if (lanes[k]) data[k] = lanes[k]->data;
  return data;
}

float bf16_half(uint32_t packed, unsigned half) {
  return float_of(half ? packed & 0xffff0000u : packed << 16);
}

/// The lane data of mma: c, a, b.
constexpr unsigned kC = 0, kA = 4, kB = 8;

/// c += a · b for lanes with g = lane / 4, t = lane % 4. `a(row, k)` and `b(k, column)` find the elements.
template <int K, class A, class B>
void multiply(Thread* const* lanes, const std::array<LaneData, 32>& in, const A& a, const B& b) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
      float sum = in[lane].f32[kC + i];
      for (unsigned k = 0; k < K; ++k) sum += a(row, k) * b(k, column);
      lanes[lane]->data.f32[kC + i] = sum;
    }
  }
}

void exchange_mma_bf16(Thread* const* lanes, unsigned) {
  const auto in = brought_by(lanes);
  std::array<std::array<float, 16>, 16> a;
  std::array<std::array<float, 16>, 8> b;
  for (unsigned r = 0; r < 16; ++r)
    for (unsigned k = 0; k < 16; ++k) a[r][k] = bf16_half(in[r % 8 * 4 + k % 8 / 2].u32[kA + r / 8 + k / 8 * 2], k % 2);
  for (unsigned n = 0; n < 8; ++n)
    for (unsigned k = 0; k < 16; ++k) b[n][k] = bf16_half(in[n * 4 + k % 8 / 2].u32[kB + k / 8], k % 2);
  multiply<16>(
      lanes, in, [&](unsigned r, unsigned k) { return a[r][k]; }, [&](unsigned k, unsigned n) { return b[n][k]; });
}

void exchange_mma_tf32(Thread* const* lanes, unsigned) {
  const auto in = brought_by(lanes);
  const auto tf32 = [](uint32_t bits) { return float_of(bits & 0xffffe000u); };  // the hardware ignores the low bits
  multiply<8>(
      lanes, in, [&](unsigned r, unsigned k) { return tf32(in[r % 8 * 4 + k % 4].u32[kA + r / 8 + k / 4 * 2]); },
      [&](unsigned k, unsigned n) { return tf32(in[n * 4 + k % 4].u32[kB + k / 4]); });
}

void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Exchange exchange, const Where& where) {
  LaneData& data = current_thread->data;
  std::copy_n(c, 4, data.f32 + kC);
  std::copy_n(a, 4, data.u32 + kA);
  std::copy_n(b, 2, data.u32 + kB);
  warp_rendezvous(0xffffffffu, exchange, false, where);
  std::copy_n(data.f32 + kC, 4, c);
}

/// Value `index` of the row that lane `lane` read.
uint32_t value_of(const std::array<LaneData, 32>& rows, unsigned lane, unsigned index) {
  return rows[lane].u32[index / 2] >> index % 2 * 16 & 0xffffu;
}

void distribute(Thread* const* lanes, bool transposed) {
  const auto rows = brought_by(lanes);
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned j = 0; j < 4; ++j) {
      const uint32_t low = transposed ? value_of(rows, j * 8 + 2 * t, g) : value_of(rows, j * 8 + g, 2 * t);
      const uint32_t high = transposed ? value_of(rows, j * 8 + 2 * t + 1, g) : value_of(rows, j * 8 + g, 2 * t + 1);
      lanes[lane]->data.u32[j] = low | high << 16;
    }
  }
}

}  // namespace

void mma_m16n8k16_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where) {
  mma(c, a, b, exchange_mma_bf16, where);
}
void mma_m16n8k8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where) {
  mma(c, a, b, exchange_mma_tf32, where);
}

void exchange_ldmatrix(Thread* const* lanes, unsigned) {
  distribute(lanes, false);
}
void exchange_ldmatrix_transposed(Thread* const* lanes, unsigned) {
  distribute(lanes, true);
}

void exchange_shuffle(Thread* const* lanes, unsigned mask) {
  const auto in = brought_by(lanes);
  for (unsigned k = 0; k < 32; ++k) {
    if (!lanes[k]) continue;
    const auto source = static_cast<unsigned>(in[k].words[1]);
    if (source >= 32 || !(mask >> source & 1u))
      fail("the shuffle of lane " + std::to_string(k) + " reads lane " + std::to_string(source) +
               ", which is not in the mask",
           lanes[k]->where);
    lanes[k]->data.words[0] = in[source].words[0];
  }
}

void exchange_ballot(Thread* const* lanes, unsigned) {
  uint64_t ballot = 0;
  for (unsigned k = 0; k < 32; ++k)
    if (lanes[k] && lanes[k]->data.words[0]) ballot |= uint64_t{1} << k;
  for (unsigned k = 0; k < 32; ++k)
    if (lanes[k]) lanes[k]->data.words[0] = ballot;
}

}  // namespace systole::simt
