#include "engine/checkpoint/run_state.h"

#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <zlib.h>

#include "engine/checkpoint/atomic_file.h"
#include "engine/checkpoint/formats.h"
#include "kernels/common/error.h"

namespace systole {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSection = "state";
constexpr size_t kLongestLine = 100;

uint32_t checksum(std::string_view bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string first_line(std::string_view content) {
  return fmt::format("systole state 1, {} bytes, crc32 {:08x}\n", content.size(), checksum(content));
}

/// Throws Error that says in what the file is not as it was written.
StateFile read_one(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream whole;
  whole << stream.rdbuf();
  const std::string file = std::move(whole).str();
  if (!stream) throw Error("it cannot be read");
  const size_t end = std::string_view(file).substr(0, kLongestLine).find('\n');
  if (end == std::string::npos || !file.starts_with("systole state 1, ")) throw Error("it does not begin as a state");
  const std::string_view content = std::string_view(file).substr(end + 1);
  if (std::string_view(file).substr(0, end + 1) != first_line(content))
    throw Error("its size and checksum are not those of its first line");
  TensorFile tensors = formats::read_safetensors(content, path.string());
  if (tensors.sections.empty()) throw Error("it holds nothing");
  return {std::move(tensors.sections.front().second), std::move(tensors.metadata), path, ""};
}

}  // namespace

RunState::RunState(NamedArrays parts, std::string source)
    : restoring_(true), source_(std::move(source)), parts_(std::move(parts)) {}

void RunState::bytes(const std::string& name, FileType type, const std::vector<int64_t>& shape, void* data) {
  if (!restoring_) {
    FileArray array{type, shape, {}};
    array.bytes.resize(static_cast<size_t>(array.count()) * byte_size(type));
    if (!array.bytes.empty()) std::memcpy(array.bytes.data(), data, array.bytes.size());
    parts_.emplace_back(name, std::move(array));
    return;
  }
  for (const auto& [part, array] : parts_) {
    if (part != name) continue;
    if (array.type != type || array.shape != shape)
      throw Error(fmt::format("{}: '{}' is of another type or size than in this run", source_, name));
    if (!array.bytes.empty()) std::memcpy(data, array.bytes.data(), array.bytes.size());
    return;
  }
  throw Error(fmt::format("{}: '{}' is missing", source_, name));
}

void RunState::tensor(const std::string& name, const Tensor& tensor) {
  if (tensor.dtype() == DType::i32)
    elements<int32_t>(name, FileType::i32, tensor);
  else
    elements<float>(name, FileType::f32, tensor);
}

template <class T>
void RunState::elements(const std::string& name, FileType type, const Tensor& tensor) {
  std::vector<T> values = tensor.to_vector<T>();
  std::vector<int64_t> shape;
  for (int i = 0; i < tensor.shape().rank(); ++i) shape.push_back(tensor.dim(i));
  bytes(name, type, shape, values.data());
  if (restoring_) tensor.copy_from(values.data(), tensor.bytes());
}

template <class T>
void RunState::all(const std::string& name, FileType type, std::vector<T>& values) {
  bytes(name, type, {static_cast<int64_t>(values.size())}, values.data());
}

void RunState::numbers(const std::string& name, std::vector<float>& values) {
  all(name, FileType::f32, values);
}

void RunState::number(const std::string& name, int64_t& value) {
  bytes(name, FileType::i64, {}, &value);
}

void RunState::number(const std::string& name, double& value) {
  bytes(name, FileType::f64, {}, &value);
}

void RunState::store(const std::string& name, ParameterStore& store) {
  ParameterStore::Snapshot copy = store.snapshot();
  snapshot(name, copy);
  if (restoring_) store.restore(copy);
}

void RunState::snapshot(const std::string& name, ParameterStore::Snapshot& snapshot) {
  all(name + ".values", FileType::f32, snapshot.values);
  all(name + ".buffers", FileType::f32, snapshot.buffers);
  all(name + ".counters", FileType::i64, snapshot.counters);
}

void restore(const RunState& saved, const StateParts& parts) {
  RunState state(saved.parts(), "the copy of the state");
  parts(state);
}

fs::path previous_state(const fs::path& path) {
  return path.string() + ".previous";
}

void write_state(const fs::path& path, const RunState& state, const std::string& description) {
  std::ostringstream stream;
  formats::write_safetensors(stream, {{{kSection, state.parts()}}, description});
  const std::string content = std::move(stream).str();
  replace_file_atomically(path, previous_state(path), [&](std::ostream& file) {
    file << first_line(content);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
  });
}

std::optional<StateFile> read_state(const fs::path& path) {
  std::string damage;
  for (const fs::path& file : {path, previous_state(path)}) {
    if (!fs::exists(file)) continue;
    try {
      StateFile found = read_one(file);
      found.damage = damage;
      return found;
    } catch (const Error& error) {
      damage += fmt::format("{}{} is damaged: {}", damage.empty() ? "" : "; ", file.string(), error.what());
    }
  }
  if (damage.empty()) return {};
  throw Error(damage + "; the run cannot go on: delete what is damaged to start it anew");
}

}  // namespace systole
