// What kernels may rely on: indices, barriers, shuffles, poisoned shared memory, limits; in every order of threads and
// for any number of workers.

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/common/collectives.h"
#include "kernels/common/error.h"
#include "kernels/common/warpgroup.h"
#include "kernels/simt/options.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::kernels::simt;

namespace {

using ::systole::simt::Order;

/// Runs `check` in the three orders of threads and with 1, 2 and 3 workers.
void in_every_order(const std::function<void()>& check) {
  const ::systole::simt::Options before = ::systole::simt::options();
  for (Order order : {Order::forward, Order::reverse, Order::shuffled})
    for (int workers : {1, 2, 3}) {
      ::systole::simt::options() = {order, 7, workers};
      INFO("order " << static_cast<int>(order) << ", " << workers << " workers");
      check();
    }
  ::systole::simt::options() = before;
}

__global__ void name_yourself(unsigned* seen) {  // [blocks, threads]
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  seen[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1 + thread;
}

struct Sums {
  BlockSumScratch<float> scratch;
  float value[256];
};

__global__ void sum_twice(const float* x, float* y) {  // x [blocks, 256]; y [blocks, 2]
  auto& shared = *dynamic_shared<Sums>();
  const float mine = x[blockIdx.x * 256 + threadIdx.x];
  const float sum = block_sum(mine, shared.scratch);
  const float squares = block_sum(mine * mine, shared.scratch);
  if (threadIdx.x == 0) {
    y[2 * blockIdx.x] = sum;
    y[2 * blockIdx.x + 1] = squares;
  }
}

struct Ones {
  uint4 octets[2][64];  // of 64 rows
};

__global__ void multiply_ones(float* y) {  // [128, 4]
  auto& shared = *dynamic_shared<Ones>();
  const unsigned thread = threadIdx.x;
  const uint32_t two = pack_bf16(1, 1);
  shared.octets[thread / 64][thread % 64] = make_uint4(two, two, two, two);
  fence_for_wgmma();
  __syncthreads();
  const auto ones = WarpgroupOperand::of(shared.octets, sizeof(shared.octets[0]), 128);
  float first[32] = {1}, second[32] = {1};
  wgmma_fence();
  wgmma<Major::depth, Major::depth>(first, ones, ones, true);
  wgmma<Major::depth, Major::depth>(first, ones, ones, true);
  wgmma_commit();
  y[4 * thread] = first[0];
  wgmma<Major::depth, Major::depth>(second, ones, ones, false);
  wgmma_commit();
  wgmma_wait<1>();
  y[4 * thread + 1] = first[0];
  y[4 * thread + 2] = second[0];
  wgmma_wait<0>();
  y[4 * thread + 3] = second[0];
}

/// Rotates the block's values 300 times, a barrier before and after each step.
__global__ void rotate(float* x) {  // [256]
  auto& shared = *dynamic_shared<Sums>();
  float value = x[threadIdx.x];
  for (int step = 0; step < 300; ++step) {
    shared.value[threadIdx.x] = value;
    __syncthreads();
    value = shared.value[(threadIdx.x + 1) % 256];
    __syncthreads();
  }
  x[threadIdx.x] = value;
}

__global__ void shuffles(int* y) {  // [6, 32]
  const int lane = static_cast<int>(threadIdx.x);
  y[lane] = __shfl_sync(kWholeWarp, lane, 5);
  y[32 + lane] = __shfl_xor_sync(kWholeWarp, lane, 3);
  y[64 + lane] = __shfl_down_sync(kWholeWarp, lane, 4, 16);
  y[96 + lane] = __shfl_up_sync(kWholeWarp, lane, 2);
  y[128 + lane] = static_cast<int>(__ballot_sync(kWholeWarp, lane % 3 == 0));
  y[160 + lane] = lane % 2 ? static_cast<int>(__ballot_sync(0xaaaaaaaau, lane > 7)) : -1;  // half of the lanes
}

__global__ void read_uninitialised(float* y) {
  y[threadIdx.x] = dynamic_shared<Sums>()->value[threadIdx.x];
}

__global__ void do_nothing() {}

}  // namespace

TEST_CASE("simt: every thread of every block runs once and knows its indices") {
  in_every_order([] {
    std::vector<unsigned> seen(3 * 2 * 2 * 4 * 3 * 5);
    Queue queue(Device::simt);
    launch(queue, {.grid = {3, 2, 2}, .block = {4, 3, 5}}, name_yourself, seen.data());
    for (size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == 1 + i % 60);
  });
}

TEST_CASE("simt: block sums and barriers in a loop") {
  const std::vector<float> x = test::random_normal(256 * 5, 1);
  std::vector<float> first;
  in_every_order([&] {
    std::vector<float> y(10);
    Queue queue(Device::simt);
    launch(queue, {.grid = {5}, .block = {256}, .shared_bytes = sizeof(Sums)}, sum_twice, x.data(), y.data());
    for (size_t b = 0; b < 5; ++b)
      CHECK(y[2 * b] == doctest::Approx(std::accumulate(x.begin() + static_cast<std::ptrdiff_t>(256 * b),
                                                        x.begin() + static_cast<std::ptrdiff_t>(256 * (b + 1)), 0.0))
                            .epsilon(1e-4));
    if (first.empty()) first = y;
    CHECK(y == first);

    std::vector<float> values(256);
    std::iota(values.begin(), values.end(), 0.0f);
    launch(queue, {.grid = {1}, .block = {256}, .shared_bytes = sizeof(Sums)}, rotate, values.data());
    for (size_t i = 0; i < 256; ++i) CHECK(values[i] == static_cast<float>((i + 300) % 256));
  });
}

TEST_CASE("simt: shuffles and ballots, of the whole warp and of half of it") {
  in_every_order([] {
    std::vector<int> y(192);
    Queue queue(Device::simt);
    launch(queue, {.grid = {1}, .block = {32}}, shuffles, y.data());
    unsigned thirds = 0, odd_above_7 = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (lane % 3 == 0) thirds |= 1u << lane;
      if (lane % 2 && lane > 7) odd_above_7 |= 1u << lane;
    }
    for (size_t lane = 0; lane < 32; ++lane) {
      const int l = static_cast<int>(lane);
      CHECK(y[lane] == 5);
      CHECK(y[32 + lane] == (l ^ 3));
      CHECK(y[64 + lane] == (l % 16 + 4 < 16 ? l + 4 : l));
      CHECK(y[96 + lane] == (l >= 2 ? l - 2 : l));
      CHECK(y[128 + lane] == static_cast<int>(thirds));
      CHECK(y[160 + lane] == (l % 2 ? static_cast<int>(odd_above_7) : -1));
    }
  });
}

TEST_CASE("simt: shared memory is NaN when a block starts") {
  std::vector<float> y(256, 0.0f);
  Queue queue(Device::simt);
  for (int launches = 0; launches < 2; ++launches) {
    launch(queue, {.grid = {1}, .block = {256}, .shared_bytes = sizeof(Sums)}, rotate, y.data());
    launch(queue, {.grid = {1}, .block = {256}, .shared_bytes = sizeof(Sums)}, read_uninitialised, y.data());
    CHECK(std::all_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }));
  }
}

TEST_CASE("simt: the sums of wgmma are NaN until they are waited for") {
  in_every_order([] {
    std::vector<float> y(4 * 128);
    Queue queue(Device::simt);
    launch(queue, {.grid = {1}, .block = {128}, .shared_bytes = sizeof(Ones)}, multiply_ones, y.data());
    for (size_t i = 0; i < 128; ++i) {
      CHECK(std::isnan(y[4 * i]));        // of two products, before the wait
      CHECK(y[4 * i + 1] == 1 + 2 * 16);  // behind the wait for their group
      CHECK(std::isnan(y[4 * i + 2]));    // another sum, of a later group, behind the same wait
      CHECK(y[4 * i + 3] == 16);          // behind its own; that one overwrites
    }
  });
}

TEST_CASE("simt: what a GPU could not launch is refused, with place and sizes") {
  Queue queue(Device::simt);
  const auto refused = [&](const Launch& shape) {
    const std::string sentence = test::sentence_of<LaunchError>([&] { launch(queue, shape, do_nothing); });
    CHECK_MESSAGE(sentence.find("runtime_test.cpp") != std::string::npos, sentence);
    return sentence;
  };
  CHECK(refused({.grid = {0}, .block = {32}}).find("0 x 1 x 1 blocks") != std::string::npos);
  CHECK(refused({.grid = {1, 65536}, .block = {32}}).find("65535") != std::string::npos);
  CHECK(refused({.grid = {1}, .block = {1025}}).find("1024 threads") != std::string::npos);
  CHECK(refused({.grid = {1}, .block = {32, 64}}).find("32 x 64") != std::string::npos);
  CHECK(refused({.grid = {1}, .block = {1, 1, 65}}).find("64 along z") != std::string::npos);
  CHECK(refused({.grid = {1}, .block = {32}, .shared_bytes = 240 << 10}).find("shared memory") != std::string::npos);
  CHECK_NOTHROW(launch(queue, {.grid = {1}, .block = {32}}, do_nothing));
}
