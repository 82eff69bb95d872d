// The arena of a device: memory that a step's tensors come from and go back to, so that no step asks the operating
// system or the driver for memory once the first has run. A step that allocates and frees in the same order as the one
// before gets the same addresses, which a captured graph relies on.
#pragma once

#include <cstddef>
#include <memory>

#include "engine/tensor.h"

namespace systole {

class Arena {
 public:
  explicit Arena(Device device = Device::cpu);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// An arena without memory behind its addresses, without end: for a dry run (kernels/common/dry_run.h), whose
  /// extent() is what a real step will need.
  static Arena imaginary(Device device);

  /// `bytes` of the arena, 64-byte aligned, free again with the last copy of the storage: the first gap that is wide
  /// enough. Where there is none the arena grows by a block; nothing that was handed out moves.
  std::shared_ptr<Storage> allocate(size_t bytes);
  /// Makes room for steps of this extent in one block.
  void reserve(size_t bytes);
  /// Storage that is in use at the end of a step is a defect of the caller and ends the program.
  void check_unused() const;

  Device device() const;
  size_t peak() const;    ///< the most bytes that were in use at once
  size_t extent() const;  ///< bytes from the start of the first block to the highest that was ever in use

 private:
  struct Pool;  // what storages know of their arena; it lives as long as the last of them
  explicit Arena(std::shared_ptr<Pool> pool);

  std::shared_ptr<Pool> pool_;
};

/// While it lives, tensors of the arena's device are allocated from the arena. Tensors that are to outlive it are made
/// before it.
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
