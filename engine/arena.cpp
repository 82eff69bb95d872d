#include "engine/arena.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>

#include "kernels/common/memory.h"

namespace systole {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSmallestBlock = size_t{16} << 20;

thread_local Arena* current_arena = nullptr;

size_t round_up(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

std::shared_ptr<Storage> Arena::allocate(size_t bytes) {
  bytes = round_up(std::max(bytes, size_t{1}));
  while (current_ < blocks_.size() && blocks_[current_].used + bytes > blocks_[current_].bytes) ++current_;
  if (current_ == blocks_.size()) {
    const size_t block_bytes = std::max({bytes, kSmallestBlock, capacity() / 2});
    blocks_.push_back({allocate_memory(device_, block_bytes), block_bytes, 0});
  }
  Block& block = blocks_[current_];
  std::byte* const begin = block.memory.get() + block.used;
  block.used += bytes;
  in_use_ += bytes;
  peak_ = std::max(peak_, in_use_);
  return std::make_shared<Storage>(begin, bytes, device_, live_);
}

void Arena::rewind() {
  if (live_.use_count() > 1) {
    fmt::print(stderr, "systole: {} tensors outlive the arena's step; they must be made before it or copied\n",
               live_.use_count() - 1);
    std::abort();
  }
  for (Block& block : blocks_) block.used = 0;
  current_ = 0;
  in_use_ = 0;
}

size_t Arena::capacity() const {
  size_t total = 0;
  for (const Block& block : blocks_) total += block.bytes;
  return total;
}

ArenaScope::ArenaScope(Arena& arena) : arena_(arena), outer_(current_arena) {
  current_arena = &arena;
}

ArenaScope::~ArenaScope() {
  current_arena = outer_;
  arena_.rewind();
}

Arena* ArenaScope::current() {
  return current_arena;
}

}  // namespace systole
