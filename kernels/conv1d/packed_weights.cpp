#include "kernels/conv1d/packed_weights.h"

#include <algorithm>

#include "kernels/common/memory.h"

namespace systole::kernels {
namespace {

thread_local PackedWeights* current = nullptr;

}  // namespace

PackedWeights::Scope::Scope(PackedWeights& weights) : outer_(current) {
  Queue queue(weights.device_);
  if (!weights.orders_.empty()) weight_packing_of(queue.device()).pack(queue, weights.orders_);
  current = &weights;
}

PackedWeights::Scope::~Scope() {
  current = outer_;
}

const std::byte* PackedWeights::find(Queue& queue, const PackedLayout& layout, const float* w) {
  if (!current || current->device_ != queue.device() || w < current->begin_ || w >= current->begin_ + current->count_)
    return nullptr;
  const auto known =
      std::ranges::find_if(current->orders_, [&](const PackOrder& o) { return o.w == w && o.layout == layout; });
  if (known != current->orders_.end()) return known->packed;
  current->memory_.push_back(allocate_memory(queue.device(), layout.bytes()));
  current->orders_.push_back({layout, w, current->memory_.back().get()});
  weight_packing_of(queue.device()).pack(queue, {&current->orders_.back(), 1});
  return current->orders_.back().packed;
}

}  // namespace systole::kernels
