#include "tests/simt/broken_kernels.h"

#include <numeric>

#include "kernels/common/collectives.h"
#include "kernels/common/warpgroup.h"

namespace systole::test {
namespace {

using namespace kernels;
using namespace kernels::simt;

struct Row {
  float value[64];
};
struct Tile {
  alignas(16) float value[32][4];
};
struct Operands {
  uint4 a[2][64], b[2][64];  // octets of 64 rows
};
WarpgroupOperand operand(const uint4 (&octets)[2][64]) {
  return WarpgroupOperand::of(octets, sizeof(octets[0]), 128);
}

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

/// Launches kernel(y, x) on vectors of 64 floats.
void launch_on_vectors(void (*kernel)(float*, const float*), const Extent& grid, const Extent& block,
                       size_t shared_bytes) {
  Queue queue(Device::simt);
  const std::vector<float> x = numbers(64);
  std::vector<float> y(64);
  launch(queue, {.grid = grid, .block = block, .shared_bytes = shared_bytes}, kernel, y.data(), x.data());
}

// ---- what the runtime itself reports

__global__ void divergent_barrier(float* y, const float* x) {
  if (threadIdx.x < 32) {
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
  } else {
    __syncthreads();  // HERE: divergent barrier
    y[threadIdx.x] = -x[threadIdx.x];
  }
}

__global__ void return_before_barrier(float* y, const float* x) {
  if (threadIdx.x >= 50) return;
  __syncthreads();  // HERE: return before a barrier
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void mask_without_caller(float* y, const float* x) {
  __syncwarp(0x7fffffffu);  // HERE: mask without the caller
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void mask_of_missing_lanes(float* y, const float* x) {  // the block has 48 threads
  y[threadIdx.x] = warp_sum(x[threadIdx.x]);
}

__global__ void mask_of_exited_lane(float* y, const float* x) {
  if (threadIdx.x == 31) return;
  y[threadIdx.x] = __shfl_down_sync(kWholeWarp, x[threadIdx.x], 1);  // HERE: lane that exited
}

__global__ void shuffle_from_outside(float* y, const float* x) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0x0000ffffu, x[threadIdx.x], 20);  // HERE: shuffle from outside
}

__global__ void two_places_in_one_warp(float* y, const float* x) {
  if (threadIdx.x < 16)
    y[threadIdx.x] = __shfl_xor_sync(kWholeWarp, x[threadIdx.x], 1);
  else
    y[threadIdx.x] = __shfl_xor_sync(kWholeWarp, x[threadIdx.x], 2);  // HERE: two places in one warp
}

__global__ void warp_against_barrier(float* y, const float* x) {
  if (threadIdx.x < 16) __syncwarp();  // HERE: deadlock
  __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void copy_without_wait(float* y, const float* x) {
  auto& row = *dynamic_shared<Row>();
  cp_async<4>(&row.value[threadIdx.x], &x[threadIdx.x], true);  // HERE: copy that nobody waits for
  cp_async_commit();
  __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void misaligned_copy(float*, const float* x) {
  auto& row = *dynamic_shared<Row>();
  cp_async<16>(&row.value[0], x + 1, true);  // HERE: misaligned asynchronous copy
  cp_async_commit();
  cp_async_wait<0>();
}

__global__ void wgmma_without_wait(float* y, const float* x) {
  auto& shared = *dynamic_shared<Operands>();
  float sum[32] = {};
  wgmma<Major::depth, Major::depth>(sum, operand(shared.a), operand(shared.b), true);  // HERE: wgmma without a wait
  wgmma_commit();
  y[threadIdx.x % 64] = x[threadIdx.x % 64];
}

__global__ void overwritten_operand(float*, const float*) {
  auto& shared = *dynamic_shared<Operands>();
  float sum[32] = {};
  wgmma<Major::depth, Major::depth>(sum, operand(shared.a), operand(shared.b), true);  // HERE: overwritten operand
  wgmma_commit();
  __syncthreads();
  if (threadIdx.x < 64) shared.b[1][threadIdx.x] = make_uint4(0, 0, 0, 0);
  wgmma_wait<0>();
}

// ---- what the race detector reports

__global__ void missing_barrier(float* y, const float* x) {
  auto& row = *dynamic_shared<Row>();
  row.value[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = row.value[(threadIdx.x + 1) % 64];  // HERE: missing barrier
}

__global__ void write_after_read(float* y, const float* x) {
  auto& row = *dynamic_shared<Row>();
  for (int i = 0; i < 3; ++i) {
    if (threadIdx.x == 0) row.value[0] = x[i];  // HERE: write after read
    __syncthreads();
    y[threadIdx.x] += row.value[0];
  }
}

__global__ void shuffle_as_fence(float* y, const float* x) {
  auto& row = *dynamic_shared<Row>();
  row.value[threadIdx.x] = x[threadIdx.x];
  const float other = __shfl_xor_sync(kWholeWarp, x[threadIdx.x], 1);
  y[threadIdx.x] = other - row.value[threadIdx.x ^ 1];  // HERE: shuffle as a fence
}

__global__ void sum_of_blocks(float* y, const float* x) {
  if (threadIdx.x == 0) y[0] += x[blockIdx.x];  // HERE: sum over blocks
}

__global__ void copy_before_barrier(float* y, const float* x) {
  auto& row = *dynamic_shared<Row>();
  cp_async<4>(&row.value[threadIdx.x], &x[threadIdx.x], true);
  cp_async_commit();
  cp_async_wait<0>();                            // the own copies only: others need a barrier too
  y[threadIdx.x] = row.value[63 - threadIdx.x];  // HERE: copy of another thread
}

// ---- what the address checker reports

__global__ void global_overrun(float* y, const float* x) {
  y[threadIdx.x] = x[threadIdx.x + 1];  // HERE: overrun of global memory
}

__global__ void shared_overrun(float* y, const float* x) {
  auto& row = *dynamic_shared<Row>();
  row.value[0] = x[threadIdx.x];
  float* end = row.value + 64;
  end[threadIdx.x / 63] = 1;  // HERE: overrun of shared memory
  y[threadIdx.x] = 0;
}

__global__ void misaligned_vector(float* y, const float* x) {
  const float4 four = *reinterpret_cast<const float4*>(x + 1);  // HERE: misaligned vector
  y[threadIdx.x] = four.x;
}

__global__ void read_before_wait(float* y, const float* x) {
  auto& tile = *dynamic_shared<Tile>();
  cp_async<16>(tile.value[threadIdx.x % 32], x + threadIdx.x % 16 * 4, true);
  cp_async_commit();
  y[threadIdx.x] = tile.value[threadIdx.x % 32][0];  // HERE: read before the wait
  cp_async_wait<0>();
}

}  // namespace

const std::vector<BrokenKernel>& broken_kernels() {
  static const std::vector<BrokenKernel> kernels = {
      {"divergent barrier", Checker::always, "a divergent barrier",
       [] { launch_on_vectors(divergent_barrier, {1}, {64}, 0); }},
      {"return before a barrier", Checker::always, "thread (50, 0, 0)",
       [] { launch_on_vectors(return_before_barrier, {1}, {64}, 0); }},
      {"mask without the caller", Checker::always, "lacks the calling lane 31",
       [] { launch_on_vectors(mask_without_caller, {1}, {32}, 0); }},
      {"", Checker::always, "names lane 16, which the block does not have",
       [] { launch_on_vectors(mask_of_missing_lanes, {1}, {48}, 0); }},
      {"lane that exited", Checker::always, "other lanes wait for it",
       [] { launch_on_vectors(mask_of_exited_lane, {1}, {32}, 0); }},
      {"shuffle from outside", Checker::always, "reads lane 20, which is not in the mask",
       [] { launch_on_vectors(shuffle_from_outside, {1}, {32}, 0); }},
      {"two places in one warp", Checker::always, "other lanes of the warp wait at",
       [] { launch_on_vectors(two_places_in_one_warp, {1}, {32}, 0); }},
      {"deadlock", Checker::always, "deadlock", [] { launch_on_vectors(warp_against_barrier, {1}, {32}, 0); }},
      {"copy that nobody waits for", Checker::always, "without waiting for its asynchronous copy",
       [] { launch_on_vectors(copy_without_wait, {1}, {64}, sizeof(Row)); }},
      {"misaligned asynchronous copy", Checker::always, "not aligned to its size",
       [] { launch_on_vectors(misaligned_copy, {1}, {1}, sizeof(Row)); }},
      {"wgmma without a wait", Checker::always, "without waiting for its wgmma",
       [] { launch_on_vectors(wgmma_without_wait, {1}, {128}, sizeof(Operands)); }},
      {"overwritten operand", Checker::always, "changed before the wait for the wgmma",
       [] { launch_on_vectors(overwritten_operand, {1}, {128}, sizeof(Operands)); }},
      {"missing barrier", Checker::race_detector, "data race",
       [] { launch_on_vectors(missing_barrier, {1}, {64}, sizeof(Row)); }},
      {"write after read", Checker::race_detector, "data race",
       [] { launch_on_vectors(write_after_read, {1}, {64}, sizeof(Row)); }},
      {"shuffle as a fence", Checker::race_detector, "data race",
       [] { launch_on_vectors(shuffle_as_fence, {1}, {32}, sizeof(Row)); }},
      {"sum over blocks", Checker::race_detector, "data race", [] { launch_on_vectors(sum_of_blocks, {8}, {32}, 0); }},
      {"copy of another thread", Checker::race_detector, "data race",
       [] { launch_on_vectors(copy_before_barrier, {1}, {64}, sizeof(Row)); }},
      {"overrun of global memory", Checker::address_checker, "heap-buffer-overflow",
       [] { launch_on_vectors(global_overrun, {1}, {64}, 0); }},
      {"overrun of shared memory", Checker::address_checker, "heap-buffer-overflow",
       [] { launch_on_vectors(shared_overrun, {1}, {64}, sizeof(Row)); }},
      {"misaligned vector", Checker::address_checker, "misaligned address",
       [] { launch_on_vectors(misaligned_vector, {1}, {32}, 0); }},
      {"read before the wait", Checker::address_checker, "use-after-poison",
       [] { launch_on_vectors(read_before_wait, {1}, {64}, sizeof(Tile)); }},
  };
  return kernels;
}

}  // namespace systole::test
