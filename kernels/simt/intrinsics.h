// Models of the instructions of kernels/common/intrinsics.h, which documents them.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/simt/runtime.h"

namespace systole::simt {

inline float exp2_approx(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}
inline float max_or_nan(float a, float b) {
  return a > b || std::isnan(a) ? a : b;
}
inline uint32_t pack_bf16(float low, float high) {
  return uint32_t{to_bf16(low).bits} | uint32_t{to_bf16(high).bits} << 16;
}
inline uint32_t max_or_nan_bf16x2(uint32_t a, uint32_t b) {
  const auto value = [](uint32_t bits) { return to_float(bf16{static_cast<uint16_t>(bits)}); };
  return pack_bf16(max_or_nan(value(a), value(b)), max_or_nan(value(a >> 16), value(b >> 16)));
}
inline uint32_t tf32_bits(float x) {
  return bits_of(to_tf32(x));
}

void mma_m16n8k16_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where = Where::current());
void mma_m16n8k8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where = Where::current());

void exchange_ldmatrix(Thread* const* lanes, unsigned mask);
void exchange_ldmatrix_transposed(Thread* const* lanes, unsigned mask);

/// Every lane reads its own row, so that the checkers see who reads what; then the warp distributes them.
inline void load_matrices(uint32_t (&r)[4], const void* row, Exchange exchange, const Where& where) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("a row of ldmatrix is not 16-byte aligned", where);
  const auto* values = static_cast<const uint32_t*>(row);
  LaneData& data = current_thread->data;
  for (int i = 0; i < 4; ++i) data.u32[i] = values[i];
  warp_rendezvous(0xffffffffu, exchange, false, where);
  for (int i = 0; i < 4; ++i) r[i] = current_thread->data.u32[i];
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, Where where = Where::current()) {
  load_matrices(r, row, exchange_ldmatrix, where);
}
inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, Where where = Where::current()) {
  load_matrices(r, row, exchange_ldmatrix_transposed, where);
}

/// The source is read when the copy starts. The destination is NaN until the wait, and AddressSanitizer reports who
/// reads it before (copies of 4 bytes excepted: it watches 8 at a time).
void start_copy(void* to, const unsigned char* bytes, unsigned size, const Where& where);
void finish_copies(unsigned groups_left);

template <int Bytes>
void cp_async(void* to, const void* from, bool valid, Where where = Where::current()) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  if (reinterpret_cast<uintptr_t>(to) % Bytes != 0 || (valid && reinterpret_cast<uintptr_t>(from) % Bytes != 0))
    fail("an asynchronous copy is not aligned to its size", where);
  unsigned char bytes[16] = {};
  if (valid)
    for (int i = 0; i < Bytes; ++i) bytes[i] = static_cast<const unsigned char*>(from)[i];
  auto* const words = static_cast<uint32_t*>(to);
  for (int i = 0; i < Bytes / 4; ++i) words[i] = 0xffffffffu;
  start_copy(to, bytes, Bytes, where);
}
void cp_async_commit();

template <int Groups>
void cp_async_wait() {
  finish_copies(Groups);
}

/// Starts sum += a · b for the caller to compute: in the result, which holds the sums so far. Valid until the next one.
AsyncProduct& start_product(float* sum, unsigned count, const SharedOperand& a, const SharedOperand& b,
                            const Where& where);
void commit_products();
/// Shows the sums of all groups but the last `groups_left`.
void finish_products(unsigned groups_left);

}  // namespace systole::simt
