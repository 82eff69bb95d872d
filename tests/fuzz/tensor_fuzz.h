// For the formats of checkpoints.
#pragma once

#include "engine/checkpoint/formats.h"
#include "tests/fuzz/fuzz.h"

namespace systole::fuzz {

/// Every array has the bytes that its shape says, and becomes floats.
inline void require_whole(const TensorFile& file) {
  for (const auto& [section, arrays] : file.sections)
    for (const auto& [name, array] : arrays) {
      require(formats::byte_count(array.type, array.shape) == static_cast<int64_t>(array.bytes.size()));
      require(array.to_float().size() == static_cast<size_t>(array.count()));
    }
}

}  // namespace systole::fuzz
