// Linear on the cuda and simt devices: three matrix products by one kernel.
//
//   forward          y  [M, D_out]    = bias + x · w       depth D_in
//   input gradient   dx [M, D_in]     = dy · wᵀ            depth D_out
//   weight gradient  dw [D_in, D_out] = xᵀ · dy            depth M
//
// A block makes a tile of 64 × 64 elements (product_tile.h). It loads both factors 32 deep, rounds them to the queue's
// precision on the way and lays them into shared memory with the depth contiguous; what differs between the passes is
// which index of a factor is contiguous in global memory, and neighbouring threads always read along that one. While a
// step is multiplied, the next one is on its way to registers. Two buffers, so one barrier a step.
//
// A small result with a long sum (dw of a small layer, y of a small batch) has too few tiles to fill a GPU. Its depth
// is cut into parts of whole steps; each part writes a product of its own to working memory, and a second kernel adds
// them in order. Where the cuts are depends on the shape alone.

#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/linear/bias.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/product_tile.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kTile = 64;           // rows and columns of a block's tile
constexpr int kBlocksWanted = 264;  // two for each of the 132 multiprocessors of an H100 or H200
constexpr int kLeastSteps = 4;      // of 32: a part of the depth that is worth its second stage

constexpr int kLoads = kTile * kProductDepth / kProductThreads;  // elements of a factor that a thread loads per step

enum class Contiguous { depth, rows };

/// A factor in global memory: element (row, k) is data[row · stride + k], or data[k · stride + row] where rows are
/// contiguous.
struct FactorMatrix {
  const float* data;
  int rows;
  int64_t stride;
};

/// Where a product goes: c[row, column] = add[row · add_row + column] + sum; a null `add` adds nothing.
struct ProductOutput {
  float* c;  // [rows, columns]
  const float* add;
  int64_t add_row;
};

/// The elements (row, k), relative to tile and step, that load j of this thread brings.
template <Contiguous kAlong>
__device__ __forceinline__ int load_row(int j) {
  const int thread = static_cast<int>(threadIdx.x);
  return kAlong == Contiguous::depth ? thread / kProductDepth + j * (kProductThreads / kProductDepth) : thread % kTile;
}
template <Contiguous kAlong>
__device__ __forceinline__ int load_depth(int j) {
  const int thread = static_cast<int>(threadIdx.x);
  return kAlong == Contiguous::depth ? thread % kProductDepth : thread / kTile + j * (kProductThreads / kTile);
}

/// Zeros outside of the matrix and from depth `end` on.
template <Contiguous kAlong>
__device__ __forceinline__ void load_factor(const FactorMatrix& m, int first_row, int first_k, int end,
                                            float (&value)[kLoads]) {
#pragma unroll
  for (int j = 0; j < kLoads; ++j) {
    const int64_t row = first_row + load_row<kAlong>(j), k = first_k + load_depth<kAlong>(j);
    const bool inside = row < m.rows && k < end;
    value[j] = inside ? m.data[kAlong == Contiguous::depth ? row * m.stride + k : k * m.stride + row] : 0.0f;
  }
}

template <Precision P, Contiguous kAlong>
__device__ __forceinline__ void store_factor(const float (&value)[kLoads], FactorTile<P, kTile>& tile) {
#pragma unroll
  for (int j = 0; j < kLoads; ++j) tile.value[load_row<kAlong>(j)][load_depth<kAlong>(j)] = to_factor<P>(value[j]);
}

template <Precision P>
struct Buffers {
  FactorTile<P, kTile> a[2], b[2];
};

/// c [a.rows, b.rows] = a · bᵀ over the depths of part blockIdx.y, each part_depth long. A part writes its own c.
template <Precision P, Contiguous kAlongA, Contiguous kAlongB>
__global__ __launch_bounds__(kProductThreads, 2) void product(FactorMatrix a,  // [rows, depth]
                                                              FactorMatrix b,  // [columns, depth]
                                                              int depth, int part_depth, ProductOutput out) {
  using Tile = ProductTile<kTile, kTile>;
  auto& buffer = *dynamic_shared<Buffers<P>>();
  const unsigned tiles_across = (static_cast<unsigned>(b.rows) + kTile - 1) / kTile;
  const int row = static_cast<int>(blockIdx.x / tiles_across) * kTile;
  const int column = static_cast<int>(blockIdx.x % tiles_across) * kTile;
  const int begin = static_cast<int>(blockIdx.y) * part_depth;
  const int end = part_depth < depth - begin ? begin + part_depth : depth;

  Tile tile;
  float a_next[kLoads], b_next[kLoads];
  load_factor<kAlongA>(a, row, begin, end, a_next);
  load_factor<kAlongB>(b, column, begin, end, b_next);
  for (int k = begin, step = 0; k < end; k += kProductDepth, ++step) {
    auto &a_now = buffer.a[step % 2], &b_now = buffer.b[step % 2];
    store_factor<P, kAlongA>(a_next, a_now);
    store_factor<P, kAlongB>(b_next, b_now);
    __syncthreads();  // this step is there, and nobody reads the buffers of the next one any more
    load_factor<kAlongA>(a, row, k + kProductDepth, end, a_next);
    load_factor<kAlongB>(b, column, k + kProductDepth, end, b_next);
    tile.template add<P>(a_now.value[0], a_now.kPitch, b_now.value[0], b_now.kPitch);
  }

  float* c = out.c + static_cast<int64_t>(blockIdx.y) * a.rows * b.rows;
#pragma unroll
  for (int r = 0; r < Tile::kR; ++r)
#pragma unroll
    for (int j = 0; j < Tile::kC; ++j) {
      const int64_t m = row + Tile::row(r), n = column + Tile::column(j);
      if (m >= a.rows || n >= b.rows) continue;
      c[m * b.rows + n] = tile.at(r, j) + (out.add ? out.add[m * out.add_row + n] : 0.0f);
    }
}

/// The second stage of a cut sum, one thread per element: parts in order.
__global__ __launch_bounds__(256, 4) void add_parts(const float* __restrict__ part,  // [parts, rows, columns]
                                                    int parts, int64_t count, int columns, ProductOutput out) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (int p = 0; p < parts; ++p) sum += part[p * count + i];
  out.c[i] = sum + (out.add ? out.add[i / columns * out.add_row + i % columns] : 0.0f);
}

template <Contiguous kAlongA, Contiguous kAlongB>
void multiply(Queue& queue, const FactorMatrix& a, const FactorMatrix& b, int depth, const ProductOutput& out) {
  const int64_t tiles = int64_t{ceil_div(a.rows, kTile)} * ceil_div(b.rows, kTile);
  const int64_t count = int64_t{a.rows} * b.rows;
  const int steps = ceil_div(depth, kProductDepth);
  const int most_parts = steps / kLeastSteps > 1 ? steps / kLeastSteps : 1;
  const int wanted = tiles >= kBlocksWanted ? 1 : static_cast<int>(kBlocksWanted / tiles);
  const int part_steps = ceil_div(steps, wanted < most_parts ? wanted : most_parts);
  const int parts = ceil_div(steps, part_steps);

  float* part = parts > 1 ? scratch<float>(queue, static_cast<size_t>(parts * count)) : nullptr;
  const ProductOutput first = parts > 1 ? ProductOutput{part, nullptr, 0} : out;
  with_precision(queue.precision(), [&]<Precision P>() {
    launch(queue, {.grid = {tiles, parts}, .block = {kProductThreads}, .shared_bytes = sizeof(Buffers<P>)},
           product<P, kAlongA, kAlongB>, a, b, depth, part_steps * kProductDepth, first);
  });
  if (parts > 1)
    launch(queue, {.grid = {ceil_div(count, int64_t{256})}, .block = {256}}, add_parts, part, parts, count, b.rows,
           out);
}

void forward(Queue& queue, const LinearShape& s, const float* x, const float* w, const float* bias, float* y) {
  multiply<Contiguous::depth, Contiguous::rows>(queue, {x, s.M, s.D_in}, {w, s.D_out, s.D_out}, s.D_in, {y, bias, 0});
}

void input_gradient(Queue& queue, const LinearShape& s, const float* dy, const float* w, float* dx, GradientMode mode) {
  const float* add = mode == GradientMode::accumulate ? dx : nullptr;
  multiply<Contiguous::depth, Contiguous::depth>(queue, {dy, s.M, s.D_out}, {w, s.D_in, s.D_out}, s.D_out,
                                                 {dx, add, s.D_in});
}

void weight_gradient(Queue& queue, const LinearShape& s, const float* x, const float* dy, float* dw, float* dbias,
                     GradientMode mode) {
  const float* add = mode == GradientMode::accumulate ? dw : nullptr;
  multiply<Contiguous::rows, Contiguous::rows>(queue, {x, s.D_in, s.D_in}, {dy, s.D_out, s.D_out}, s.M,
                                               {dw, add, s.D_out});
  if (dbias) {  // the parts of dw are used up by then: the queue runs its kernels in order
    float* partial = scratch<float>(queue, column_sums_scratch(s.M, s.D_out));
    bias.column_sums(queue, s.M, s.D_out, dy, partial, dbias, mode);
  }
}

}  // namespace

extern const LinearKernels linear{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET
