#include "benchmarks/device_memory.h"

#include <algorithm>

#include "kernels/common/memory.h"

namespace systole::benchmarks {
namespace {

constexpr size_t kMoreThanACache = size_t{256} << 20;  // bytes; the largest L2 and L3 caches have about 100 MB
constexpr size_t kMostCopies = 64;
constexpr size_t kAlignment = 256;  // bytes: what cudaMalloc gives

}  // namespace

DeviceMemory::DeviceMemory(Queue& queue, const Problem& problem, bool rotating) {
  size_t bytes = 0;
  for (const auto& buffer : problem.buffers) bytes += buffer.size() * sizeof(float);
  const size_t wanted = std::clamp((kMoreThanACache + bytes) / std::max(bytes, size_t{1}), size_t{1}, kMostCopies);
  copies_.resize(rotating ? wanted : 1);
  bytes_ = static_cast<double>(bytes * copies_.size());
  for (const auto& buffer : problem.buffers) {
    const size_t size = buffer.size() * sizeof(float), stride = (size + kAlignment - 1) / kAlignment * kAlignment;
    memory_.push_back(allocate_memory(queue.device(), (copies_.size() - 1) * stride + size));
    std::byte* const first = memory_.back().get();
    copy_to_device(queue, first, buffer.data(), size);
    for (size_t i = 0; i < copies_.size(); ++i) {
      if (i > 0) copy_on_device(queue, first + i * stride, first, size);
      copies_[i].push_back(reinterpret_cast<float*>(first + i * stride));
    }
  }
}

std::vector<std::vector<float>> DeviceMemory::results(Queue& queue, const Problem& problem) const {
  std::vector<std::vector<float>> found;
  for (int b : problem.results) {
    found.emplace_back(problem.buffers[static_cast<size_t>(b)].size());
    copy_to_host(queue, found.back().data(), copies_[0][static_cast<size_t>(b)], found.back().size() * sizeof(float));
  }
  return found;
}

}  // namespace systole::benchmarks
