// The gradient of NT-Xent by wgmma: the kernel that stands for mix_rows (nt_xent_backward.cu). A thread's tile of S
// becomes weights where it is, in registers, and these are, as they lie, the left factor that the second wgmma takes
// from there (Shah et al., "FlashAttention-3", 2024, do the same with attention).
#pragma once

#include "kernels/contrastive/nt_xent_wgmma.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

// Of a block: one warpgroup. Two blocks on a multiprocessor, each at its own pace, let one multiply while the other
// exponentiates.
constexpr int kMixRows = 64, kMixThreads = 128;

struct WgmmaMixShared {
  WgmmaStage own, other[2];
};

/// Block (stripe, part): out[part, i, d] = Σ_j w_ij z_j[d] over the tiles of columns of the part, for 64 rows i.
__global__ void __launch_bounds__(kMixThreads, 2) mix_rows_wgmma(WgmmaRows z, Exponent exponent,
                                                                 const float* __restrict__ normalizer,  // [rows]
                                                                 float* __restrict__ out) {  // [parts, rows, 128]
  auto& shared = *dynamic_shared<WgmmaMixShared>();
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int row = static_cast<int>(blockIdx.x) * kMixRows;
  const int begin = static_cast<int>(z.tiles * part / parts), end = static_cast<int>(z.tiles * (part + 1) / parts);
  start_tile<kMixThreads>(z, row / kWgmmaTile, shared.own);
  start_tile<kMixThreads>(z, begin, shared.other[0]);
  cp_async_commit();
  const float own[2] = {normalizer[row + row_of_sum(0)], normalizer[row + row_of_sum(2)]};

  float gradient[kWgmmaSums];
  uint32_t weight[kWgmmaSums / 8][4];  // the left factors of the steps of depth, which are 16 columns of S
#pragma unroll 1
  for (int J = begin; J < end; ++J) {
    WgmmaStage& other = shared.other[(J - begin) % 2];
    cp_async_wait<0>();
    fence_for_wgmma();
    wgmma_wait<0>();  // behind the barrier, the other buffer is no longer read
    __syncthreads();
    float s[kWgmmaSums];
    start_multiplying(shared.own, row % kWgmmaTile, other, s);
    if (J + 1 < end) {
      start_tile<kMixThreads>(z, J + 1, shared.other[(J + 1 - begin) % 2]);
      cp_async_commit();
    }
    wgmma_wait<0>();
    sums_are_there(s);

    const int column = J * kWgmmaTile, N = z.M / 2;
    const auto make_weights = [&]<bool kPlain>() {
      const auto weight_of = [&](int i, const float2& others) {
        const int at = row + row_of_sum(i), j = column + column_of_sum(i);
        float w =
            exp2_approx(s[i] * exponent.scale + exponent.offset) * (own[i / 2 % 2] + (i % 2 ? others.y : others.x));
        if (kPlain) return w;
        if (at == (j < N ? j + N : j - N)) w -= 2;  // here, where what remains is small and exact
        return at == j || at >= z.M || j >= z.M ? 0.0f : w;
      };
      const auto* const of_columns = reinterpret_cast<const float2*>(normalizer + column + column_of_sum(0));
#pragma unroll
      for (int i = 0; i < kWgmmaSums; i += 4) {
        const float2 others = of_columns[i];  // eight columns further with every four sums
        weight[i / 8][i / 4 % 2 * 2] = pack_bf16(weight_of(i, others), weight_of(i + 1, others));
        weight[i / 8][i / 4 % 2 * 2 + 1] = pack_bf16(weight_of(i + 2, others), weight_of(i + 3, others));
      }
    };
    // Neither pairs of a row with itself or its partner, nor rows beyond M: nearly all tiles, and without comparisons.
    const auto meets = [&](int diagonal) {
      return column + kWgmmaTile > row + diagonal && column < row + kMixRows + diagonal;
    };
    if (!meets(0) && !meets(N) && !meets(-N) && row + kMixRows <= z.M && column + kWgmmaTile <= z.M)
      make_weights.template operator()<true>();
    else
      make_weights.template operator()<false>();
    const auto b = WarpgroupOperand::of(&other[0][0], kCoreBytes, kOctetBytes);  // columns d; depth j
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kWgmmaSums / 8; ++k)
      wgmma<Major::row>(gradient, weight[k], b + 2 * k * kCoreBytes, J > begin || k > 0);
    wgmma_commit();
  }
  wgmma_wait<0>();
  sums_are_there(gradient);

  float* to = out + (part * z.tiles * kWgmmaTile + row) * kWgmmaTile;
#pragma unroll
  for (int i = 0; i < kWgmmaSums; i += 2)
    *reinterpret_cast<float2*>(to + row_of_sum(i) * kWgmmaTile + column_of_sum(i)) =
        make_float2(gradient[i], gradient[i + 1]);
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
