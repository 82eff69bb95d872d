#include "engine/arena.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <iterator>
#include <map>
#include <vector>

#include "kernels/common/memory.h"
#include "kernels/simt/recording.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace systole {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSmallestBlock = size_t{16} << 20;

thread_local Arena* current_arena = nullptr;

size_t round_up(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

struct Arena::Pool {
  struct Block {
    std::shared_ptr<std::byte> memory;
    size_t bytes;
    std::map<size_t, size_t> gaps;  // offset → bytes; no two touch
  };

  /// Owns what was handed out.
  struct Piece {
    std::shared_ptr<Pool> pool;
    size_t block, offset, bytes;
    Piece(std::shared_ptr<Pool> p, size_t b, size_t o, size_t n) : pool(std::move(p)), block(b), offset(o), bytes(n) {}
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;
    ~Piece() { pool->give_back(*this); }
  };

  Device device;
  bool imaginary = false;
  std::vector<Block> blocks;
  size_t pieces = 0, in_use = 0, peak = 0, extent = 0;

  size_t capacity() const {
    size_t total = 0;
    for (const Block& block : blocks) total += block.bytes;
    return total;
  }

  void grow(size_t bytes) {
    std::shared_ptr<std::byte> memory = allocate_memory(device, bytes);
    mark_unused(memory.get(), bytes, true);
    blocks.push_back({std::move(memory), bytes, {{0, bytes}}});
  }

  /// AddressSanitizer then reports whoever still reads the memory of a tensor that is gone.
  void mark_unused([[maybe_unused]] std::byte* begin, [[maybe_unused]] size_t bytes,
                   [[maybe_unused]] bool unused) const {
#if defined(__SANITIZE_ADDRESS__)
    if (imaginary || device == Device::cuda) return;
    const auto set = [=] {
      if (unused)
        __asan_poison_memory_region(begin, bytes);
      else
        __asan_unpoison_memory_region(begin, bytes);
    };
    set();
    // The kernels of a recording run when all of its memory has been given back: it is lent to them again as it was.
    if (auto* recording = device == Device::simt ? simt::Recording::active() : nullptr) recording->add(set);
#endif
  }

  /// The first gap that is wide enough, or the end.
  std::pair<size_t, std::map<size_t, size_t>::iterator> find(size_t bytes) {
    for (size_t b = 0; b < blocks.size(); ++b) {
      auto& gaps = blocks[b].gaps;
      const auto gap = std::find_if(gaps.begin(), gaps.end(), [&](const auto& g) { return g.second >= bytes; });
      if (gap != gaps.end()) return {b, gap};
    }
    grow(std::max({bytes, kSmallestBlock, capacity() / 2}));
    return {blocks.size() - 1, blocks.back().gaps.begin()};
  }

  void give_back(const Piece& piece) {
    auto& gaps = blocks[piece.block].gaps;
    auto gap = gaps.emplace(piece.offset, piece.bytes).first;
    if (const auto next = std::next(gap); next != gaps.end() && gap->first + gap->second == next->first) {
      gap->second += next->second;
      gaps.erase(next);
    }
    if (gap != gaps.begin())
      if (const auto before = std::prev(gap); before->first + before->second == gap->first) {
        before->second += gap->second;
        gaps.erase(gap);
      }
    mark_unused(blocks[piece.block].memory.get() + piece.offset, piece.bytes, true);
    in_use -= piece.bytes;
    --pieces;
  }

  ~Pool() {
    for (const Block& block : blocks) mark_unused(block.memory.get(), block.bytes, false);  // it goes back to malloc
  }
};

Arena::Arena(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {}
Arena::Arena(Device device) : pool_(std::make_shared<Pool>()) {
  pool_->device = device;
}
Arena::~Arena() = default;

Arena Arena::imaginary(Device device) {
  constexpr size_t kEndless = size_t{1} << 46;
  auto pool = std::make_shared<Pool>();
  pool->device = device;
  pool->imaginary = true;
  auto* const never_read = reinterpret_cast<std::byte*>(uintptr_t{kAlignment});  // NOLINT(performance-no-int-to-ptr)
  std::shared_ptr<std::byte> nowhere(never_read, [](std::byte*) {});
  pool->blocks.push_back({std::move(nowhere), kEndless, {{0, kEndless}}});
  return Arena(std::move(pool));
}

std::shared_ptr<Storage> Arena::allocate(size_t bytes) {
  bytes = round_up(std::max(bytes, size_t{1}));
  Pool& pool = *pool_;
  const auto [b, gap] = pool.find(bytes);
  Pool::Block& block = pool.blocks[b];
  const auto [offset, width] = *gap;
  block.gaps.erase(gap);
  if (width > bytes) block.gaps.emplace(offset + bytes, width - bytes);

  std::byte* const begin = block.memory.get() + offset;
  pool.mark_unused(begin, bytes, false);
  ++pool.pieces;
  pool.in_use += bytes;
  pool.peak = std::max(pool.peak, pool.in_use);
  size_t before = 0;
  for (size_t i = 0; i < b; ++i) before += pool.blocks[i].bytes;
  pool.extent = std::max(pool.extent, before + offset + bytes);
  return std::make_shared<Storage>(begin, bytes, pool.device, std::make_shared<Pool::Piece>(pool_, b, offset, bytes));
}

void Arena::reserve(size_t bytes) {
  if (pool_->capacity() < bytes) pool_->grow(round_up(bytes));
}

void Arena::check_unused() const {
  if (pool_->pieces == 0) return;
  fmt::print(stderr, "systole: {} tensors outlive the arena's step; they must be made before it or copied\n",
             pool_->pieces);
  std::abort();
}

Device Arena::device() const {
  return pool_->device;
}
size_t Arena::peak() const {
  return pool_->peak;
}
size_t Arena::extent() const {
  return pool_->extent;
}

ArenaScope::ArenaScope(Arena& arena) : arena_(arena), outer_(current_arena) {
  current_arena = &arena;
}

ArenaScope::~ArenaScope() {
  current_arena = outer_;
  arena_.check_unused();
}

Arena* ArenaScope::current() {
  return current_arena;
}

}  // namespace systole
