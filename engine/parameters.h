// The parameters and buffers of a model. All values stand in one flat tensor, all gradients in another, all buffers
// (running statistics) in a third; a parameter is a named view of them. So an optimiser step, a norm or an all-reduce
// is one call. Names and saved shapes are PyTorch's; the layout in memory is the kernels' (channels last).
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "engine/autograd.h"
#include "engine/checkpoint/tensor_file.h"
#include "engine/tensor.h"

namespace systole {

/// How a parameter stands in memory, against PyTorch's files.
enum class Layout {
  plain,   ///< the same
  linear,  ///< [in, out] here, [out, in] there
  conv1d,  ///< [K, in, out] here, [out, in, K] there
};

/// Initial values; the uniform ones are PyTorch's defaults for Conv1d and Linear: kaiming_uniform with a = √5 is
/// U(−1/√fan_in, 1/√fan_in), and biases have the same bound.
struct Initializer {
  enum class Kind { constant, uniform } kind = Kind::constant;
  float value = 0;  // the constant, or the bound
  static Initializer constant(float value) { return {Kind::constant, value}; }
  static Initializer fan_in(int64_t fan_in);
};

struct Parameter {
  std::string name;
  Shape shape;  // in memory
  Layout layout = Layout::plain;
  Initializer initializer;
  int64_t offset = 0;  // in the flat tensors
  Tensor value;        // a leaf
};

/// State that no gradient reaches.
struct Buffer {
  std::string name;
  Shape shape;
  float initial = 0;
  int64_t offset = 0;
  Tensor value;
};

/// A whole number that is saved with the model (BatchNorm's num_batches_tracked).
struct Counter {
  std::string name;
  int64_t value = 0;
};

class ParameterStore {
 public:
  ParameterStore() = default;
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  /// Declares a part of the model, before allocate(). References stay valid. Names must be unique.
  Parameter& add(const std::string& name, const Shape& shape, Layout layout, Initializer initializer);
  Buffer& add_buffer(const std::string& name, const Shape& shape, float initial);
  Counter& add_counter(const std::string& name);

  /// Makes the flat tensors and sets every initial value. The values of a parameter depend on the seed and on the
  /// parameter's position in the store.
  void allocate(Device device, uint64_t seed);

  const Tensor& values() const { return values_; }
  const Tensor& gradients() const { return gradients_; }
  const Tensor& buffers() const { return buffers_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  int64_t parameter_count() const { return parameter_count_; }
  void zero_gradients() { gradients_.fill_zero(); }

  /// Everything whose name starts with `prefix`, under the rest of its name, in PyTorch's shapes and order of
  /// declaration.
  NamedArrays state(const std::string& prefix = "") const;
  /// Sets everything whose name starts with `prefix`. Throws Error, before anything is changed, when an array is
  /// missing, unknown or has another shape; `source` names the file in the sentence.
  void load_state(const NamedArrays& arrays, const std::string& prefix, const std::string& source);

  /// Values, buffers and counters as one copy, to go back to later.
  struct Snapshot {
    std::vector<float> values, buffers;
    std::vector<int64_t> counters;
  };
  Snapshot snapshot() const;
  void restore(const Snapshot& snapshot);

 private:
  enum class Kind { parameter, buffer, counter };
  struct Entry {
    Kind kind;
    size_t index;
  };
  const std::string& name_of(const Entry& entry) const;
  std::vector<int64_t> saved_shape(const Entry& entry) const;
  void add_entry(Kind kind, size_t index, const std::string& name);

  std::deque<Parameter> parameters_;
  std::deque<Buffer> buffer_list_;
  std::deque<Counter> counters_;
  std::vector<Entry> entries_;  // in the order of declaration
  int64_t parameter_count_ = 0, buffer_count_ = 0;
  Tensor values_, gradients_, buffers_;
};

}  // namespace systole
