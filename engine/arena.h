// The arena of a device: memory whose addresses stay the same from step to step. A step allocates by moving a mark
// forward and its end moves the mark back, so that no step asks the operating system or the driver for memory once the
// first has run.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engine/tensor.h"

namespace systole {

class Arena {
 public:
  explicit Arena(Device device = Device::cpu) : device_(device) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// The next `bytes` of the arena, 64-byte aligned. Growing adds a block; nothing that was handed out moves.
  std::shared_ptr<Storage> allocate(size_t bytes);
  /// Hands everything out anew from the start. Storage that is still in use is a defect of the caller and ends the
  /// program.
  void rewind();

  Device device() const { return device_; }
  size_t capacity() const;
  size_t peak() const { return peak_; }  ///< the most bytes that were in use at once

 private:
  struct Block {
    std::shared_ptr<std::byte> memory;
    size_t bytes, used;
  };
  Device device_;
  std::vector<Block> blocks_;
  size_t current_ = 0;
  size_t in_use_ = 0, peak_ = 0;
  std::shared_ptr<int> live_ = std::make_shared<int>(0);  // its use count tells how many storages are alive
};

/// While it lives, tensors of the arena's device are allocated from the arena; at its end the arena is rewound. Tensors
/// that are to outlive it are made before it.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena);
  ~ArenaScope();
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

  static Arena* current();

 private:
  Arena& arena_;
  Arena* outer_;
};

}  // namespace systole
