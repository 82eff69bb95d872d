#include "benchmarks/device_memory.h"

#include <algorithm>

#include "kernels/common/memory.h"

namespace systole::benchmarks {
namespace {

constexpr size_t kMoreThanACache = size_t{256} << 20;  // bytes; the largest L2 and L3 caches have about 100 MB
constexpr size_t kMostCopies = 64;
constexpr size_t kAlignment = 256;  // bytes: what cudaMalloc gives

}  // namespace

DeviceMemory::DeviceMemory(Queue& queue, const Problem& problem, bool rotating, kernels::Storage series)
    : series_(series) {
  std::vector<size_t> sizes;
  size_t bytes = 0;
  for (size_t b = 0; b < problem.buffers.size(); ++b) {
    const size_t element = is_bf16(problem, static_cast<int>(b)) ? sizeof(bf16) : sizeof(float);
    sizes.push_back(problem.buffers[b].size() * element);
    bytes += sizes.back();
  }
  const size_t wanted = std::clamp((kMoreThanACache + bytes) / std::max(bytes, size_t{1}), size_t{1}, kMostCopies);
  copies_.resize(rotating ? wanted : 1);
  bytes_ = static_cast<double>(bytes * copies_.size());
  for (size_t b = 0; b < problem.buffers.size(); ++b) {
    const size_t size = sizes[b], stride = (size + kAlignment - 1) / kAlignment * kAlignment;
    memory_.push_back(allocate_memory(queue.device(), (copies_.size() - 1) * stride + size));
    std::byte* const first = memory_.back().get();
    if (is_bf16(problem, static_cast<int>(b))) {
      std::vector<bf16> stored(problem.buffers[b].size());
      std::transform(problem.buffers[b].begin(), problem.buffers[b].end(), stored.begin(), to_bf16);
      copy_to_device(queue, first, stored.data(), size);
    } else {
      copy_to_device(queue, first, problem.buffers[b].data(), size);
    }
    for (size_t i = 0; i < copies_.size(); ++i) {
      if (i > 0) copy_on_device(queue, first + i * stride, first, size);
      copies_[i].push_back(reinterpret_cast<float*>(first + i * stride));
    }
  }
}

bool DeviceMemory::is_bf16(const Problem& problem, int buffer) const {
  return series_ == kernels::Storage::bf16 && std::ranges::count(problem.stored, buffer) > 0;
}

std::vector<std::vector<float>> DeviceMemory::results(Queue& queue, const Problem& problem) const {
  std::vector<std::vector<float>> found;
  for (int b : problem.results) {
    const float* const memory = copies_[0][static_cast<size_t>(b)];
    const size_t count = problem.buffers[static_cast<size_t>(b)].size();
    found.emplace_back(count);
    if (is_bf16(problem, b)) {
      std::vector<bf16> stored(count);
      copy_to_host(queue, stored.data(), memory, count * sizeof(bf16));
      std::transform(stored.begin(), stored.end(), found.back().begin(), to_float);
    } else {
      copy_to_host(queue, found.back().data(), memory, count * sizeof(float));
    }
  }
  return found;
}

}  // namespace systole::benchmarks
