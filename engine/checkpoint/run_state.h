// The state of a run: everything from which it goes on with the same bits as if it had never stopped.
//
// Whoever has a part of the state shows it, by name, in a function that is called both ways: to save it, and to restore
// it. So nothing is saved that is not restored, and nothing is forgotten in one of the two.
//
// A state file is one line of text, then safetensors (github.com/huggingface/safetensors) with all parts as tensors and
// a description as the metadata "systole":
//
//   systole state 1, 1048576 bytes, crc32 89abcdef
//
// where bytes and checksum (that of zip and PNG) are of what follows the line. Of every state the one before it is kept
// too, beside it as NAME.previous.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint/tensor_file.h"
#include "engine/parameters.h"
#include "engine/tensor.h"

namespace systole {

class RunState {
 public:
  /// Copies what it is shown.
  RunState() = default;
  /// Sets what it is shown to what the parts hold. `source` names where they come from.
  RunState(NamedArrays parts, std::string source);

  // Each part has a name of its own. Restoring throws Error where a part is missing or has another type or size.
  void tensor(const std::string& name, const Tensor& tensor);  ///< of f32 or i32
  void numbers(const std::string& name, std::vector<float>& values);
  void number(const std::string& name, int64_t& value);
  void number(const std::string& name, double& value);
  /// Values, buffers and counters.
  void store(const std::string& name, ParameterStore& store);
  void snapshot(const std::string& name, ParameterStore::Snapshot& snapshot);

  bool is_restoring() const { return restoring_; }
  const NamedArrays& parts() const { return parts_; }

 private:
  void bytes(const std::string& name, FileType type, const std::vector<int64_t>& shape, void* data);
  template <class T>
  void elements(const std::string& name, FileType type, const Tensor& tensor);
  template <class T>
  void all(const std::string& name, FileType type, std::vector<T>& values);

  bool restoring_ = false;
  std::string source_;
  NamedArrays parts_;
};

/// Shows all parts of a run.
using StateParts = std::function<void(RunState&)>;

/// Sets the parts to what they were when `saved` was shown them.
void restore(const RunState& saved, const StateParts& parts);

/// Where the state before the one at `path` lies.
std::filesystem::path previous_state(const std::filesystem::path& path);

/// Writes a state with a description in JSON. Complete or not at all; the state that was there is kept as the previous
/// one. Throws Error with the reason of the system.
void write_state(const std::filesystem::path& path, const RunState& state, const std::string& description);

struct StateFile {
  NamedArrays parts;
  std::string description;
  std::filesystem::path path;  // of this state or of the previous one
  std::string damage;          // a sentence when that is the previous one, since the newest is damaged
};
/// The newest state that is whole, or nothing where there is none. Throws Error when there are only damaged ones.
std::optional<StateFile> read_state(const std::filesystem::path& path);

}  // namespace systole
