#include "kernels/common/intrinsics.h"
#include "kernels/common/warpgroup.h"
#include "tests/kernels/intrinsics.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

struct Operands {
  alignas(16) uint16_t a[16][24];  // 24: rows 48 bytes apart, 16-byte aligned
  alignas(16) uint16_t b[16][8];
};

__global__ void __launch_bounds__(32) multiply_bf16(const float* a, const float* b, float* c) {
  auto& shared = *dynamic_shared<Operands>();
  const unsigned lane = threadIdx.x, g = lane / 4, t = lane % 4;
  for (unsigned i = lane; i < 256; i += 32) shared.a[i / 16][i % 16] = to_bf16(a[i]).bits;
  for (unsigned i = lane; i < 128; i += 32) shared.b[i / 8][i % 8] = to_bf16(b[i]).bits;
  __syncthreads();
  uint32_t a_fragment[4], b_rows[4];
  ldmatrix_x4(a_fragment, &shared.a[lane % 16][lane / 16 * 8]);
  ldmatrix_x4_transposed(b_rows, &shared.b[lane % 16][0]);  // matrices 2 and 3 repeat 0 and 1
  const uint32_t b_fragment[2] = {b_rows[0], b_rows[1]};
  float sum[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t], c[(g + 8) * 8 + 2 * t + 1]};
  mma_m16n8k16_bf16(sum, a_fragment, b_fragment);
  for (unsigned i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

__global__ void __launch_bounds__(32) multiply_tf32(const float* a, const float* b, float* c) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
  const uint32_t a_fragment[4] = {tf32_bits(a[g * 8 + t]), tf32_bits(a[(g + 8) * 8 + t]), tf32_bits(a[g * 8 + t + 4]),
                                  tf32_bits(a[(g + 8) * 8 + t + 4])};
  const uint32_t b_fragment[2] = {tf32_bits(b[t * 8 + g]), tf32_bits(b[(t + 4) * 8 + g])};
  float sum[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t], c[(g + 8) * 8 + 2 * t + 1]};
  mma_m16n8k8_tf32(sum, a_fragment, b_fragment);
  for (unsigned i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

struct Rows {
  alignas(16) uint16_t value[32][8];
};

__global__ void __launch_bounds__(32) load_matrices(bool transposed, uint32_t* registers) {
  auto& shared = *dynamic_shared<Rows>();
  for (unsigned i = 0; i < 8; ++i) shared.value[threadIdx.x][i] = static_cast<uint16_t>(threadIdx.x * 8 + i);
  __syncthreads();
  uint32_t r[4];
  if (transposed)
    ldmatrix_x4_transposed(r, shared.value[threadIdx.x]);
  else
    ldmatrix_x4(r, shared.value[threadIdx.x]);
  for (unsigned j = 0; j < 4; ++j) registers[threadIdx.x * 4 + j] = r[j];
}

struct Copies {
  alignas(16) float value[64];
};

__global__ void __launch_bounds__(4) copy_in_groups(int valid, const float* x, float* y) {
  auto& shared = *dynamic_shared<Copies>();
  for (unsigned group = 0; group < 4; ++group) {
    const unsigned i = group * 16 + threadIdx.x * 4;
    cp_async<16>(&shared.value[i], x + i, static_cast<int>(i) < valid);
    cp_async_commit();
  }
  cp_async_wait<2>();
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 32; i += 4) y[i] = shared.value[i];
  cp_async_wait<0>();
  __syncthreads();
  for (unsigned i = 32 + threadIdx.x; i < 64; i += 4) y[i] = shared.value[i];
}

/// A matrix [64, 16] in lines from a first one on: each has a row, of which the last 16 depths are the matrix's, or a
/// depth, with the other rows in further groups of lines.
template <int kLineBytes, Major kMajor>
struct Lines {
  static constexpr int kValues = kLineBytes / 2;  // of a line
  static constexpr int kGroupLines = kMajor == Major::depth ? 96 : 32;
  alignas(1024) uint16_t value[kMajor == Major::depth ? 1 : 64 / kValues][kGroupLines][kValues];

  __device__ void store(const float* matrix, int first_line) {
    for (int i = static_cast<int>(threadIdx.x); i < 64 * 16; i += 128) {
      const int row = i / 16, depth = i % 16;
      const int line = first_line + (kMajor == Major::depth ? row : depth);
      const int at = kMajor == Major::depth ? kValues - 16 + depth : row % kValues;
      const int group = kMajor == Major::depth ? 0 : row / kValues;
      value[group][line][swizzled<kLineBytes>(line, at / 8) * 8 + at % 8] = to_bf16(matrix[i]).bits;
    }
  }
  __device__ WarpgroupOperand operand(int first_line) const {
    const auto whole = WarpgroupOperand::of_lines<kLineBytes>(value[0][first_line], sizeof(value[0]));
    return whole + (kMajor == Major::depth ? kLineBytes - 32 : 0);
  }
};

/// sum, as wgmma leaves it, in c [64, 64].
__device__ void store_sums(const float (&sum)[32], float* c) {
  const int row = static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
  for (int i = 0; i < 32; ++i)
    c[(row + i / 2 % 2 * 8) * 64 + i / 4 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2] = sum[i];
}

template <int kLineBytes>
struct Windows {
  static constexpr int kValues = kLineBytes / 2, kLines = 64;
  alignas(1024) uint16_t x[kLines][kValues];
  alignas(1024) uint16_t b[16][64];
};

template <int kLineBytes>
__global__ void __launch_bounds__(128)
    multiply_windows(int group_lines, int first_line, const float* x, const float* b, float* c) {
  using W = Windows<kLineBytes>;
  auto& shared = *dynamic_shared<W>();
  for (int i = static_cast<int>(threadIdx.x); i < W::kLines * W::kValues; i += 128) {
    const int line = i / W::kValues, at = i % W::kValues;
    shared.x[line][swizzled<kLineBytes>(line, at / 8) * 8 + at % 8] = to_bf16(x[i]).bits;
  }
  for (int i = static_cast<int>(threadIdx.x); i < 16 * 64; i += 128)
    shared.b[i / 64][swizzled<128>(i / 64, i % 64 / 8) * 8 + i % 8] = to_bf16(b[i]).bits;
  fence_for_wgmma();
  __syncthreads();
  float sum[32];
  wgmma_fence();
  wgmma<Major::row, Major::row>(sum,
                                WarpgroupOperand::of_lines<kLineBytes>(shared.x[first_line], group_lines * kLineBytes),
                                WarpgroupOperand::of_lines<128>(shared.b), false);
  wgmma_commit();
  wgmma_wait<0>();
  sums_are_there(sum);
  store_sums(sum, c);
}

template <int kLineBytes, Major kMajor>
__global__ void __launch_bounds__(128) multiply_lines(int first_line, const float* a, const float* b, float* c) {
  auto& lines = *dynamic_shared<Lines<kLineBytes, kMajor>[2]>();
  lines[0].store(a, first_line);
  lines[1].store(b, first_line);
  fence_for_wgmma();
  __syncthreads();
  float sum[32];
  wgmma_fence();
  wgmma<kMajor, kMajor>(sum, lines[0].operand(first_line), lines[1].operand(first_line), false);
  wgmma_commit();
  wgmma_wait<0>();
  sums_are_there(sum);
  store_sums(sum, c);
}

__global__ void __launch_bounds__(64)
    round_values(int count, const float* x, float* y, uint32_t* packed, uint32_t least, uint32_t* larger) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  y[i] = exp2_approx(x[i]);
  packed[i] = pack_bf16(x[i], -x[i]);
  larger[i] = max_or_nan_bf16x2(packed[i], least);
}

void mma_bf16(Queue& queue, const float* a, const float* b, float* c) {
  launch(queue, {.grid = {1}, .block = {32}, .shared_bytes = sizeof(Operands)}, multiply_bf16, a, b, c);
}
void mma_tf32(Queue& queue, const float* a, const float* b, float* c) {
  launch(queue, {.grid = {1}, .block = {32}}, multiply_tf32, a, b, c);
}
void ldmatrix(Queue& queue, bool transposed, uint32_t* registers) {
  launch(queue, {.grid = {1}, .block = {32}, .shared_bytes = sizeof(Rows)}, load_matrices, transposed, registers);
}
void cp_async_groups(Queue& queue, int valid, const float* x, float* y) {
  launch(queue, {.grid = {1}, .block = {4}, .shared_bytes = sizeof(Copies)}, copy_in_groups, valid, x, y);
}
void wgmma_of_lines(Queue& queue, int line_bytes, bool row_major, int first_line, const float* a, const float* b,
                    float* c) {
  const auto start = [&]<int kLineBytes, Major kMajor>() {
    launch(queue, {.grid = {1}, .block = {128}, .shared_bytes = 2 * sizeof(Lines<kLineBytes, kMajor>)},
           multiply_lines<kLineBytes, kMajor>, first_line, a, b, c);
  };
  const auto of_major = [&]<int kLineBytes>() {
    row_major ? start.template operator()<kLineBytes, Major::row>()
              : start.template operator()<kLineBytes, Major::depth>();
  };
  if (line_bytes == 32) return of_major.template operator()<32>();
  line_bytes == 64 ? of_major.template operator()<64>() : of_major.template operator()<128>();
}
void wgmma_of_windows(Queue& queue, int line_bytes, int group_lines, int first_line, const float* x, const float* b,
                      float* c) {
  const auto start = [&]<int kLineBytes>() {
    launch(queue, {.grid = {1}, .block = {128}, .shared_bytes = sizeof(Windows<kLineBytes>)},
           multiply_windows<kLineBytes>, group_lines, first_line, x, b, c);
  };
  line_bytes == 32 ? start.template operator()<32>() : start.template operator()<64>();
}
void round(Queue& queue, int count, const float* x, float* y, uint32_t* packed, uint32_t least, uint32_t* larger) {
  launch(queue, {.grid = {ceil_div(count, 64)}, .block = {64}}, round_values, count, x, y, packed, least, larger);
}

}  // namespace

extern const IntrinsicKernels intrinsics{.mma_bf16 = mma_bf16,
                                         .mma_tf32 = mma_tf32,
                                         .ldmatrix = ldmatrix,
                                         .cp_async = cp_async_groups,
                                         .wgmma = wgmma_of_lines,
                                         .wgmma_windows = wgmma_of_windows,
                                         .round = round};

}  // namespace systole::kernels::SYSTOLE_TARGET
