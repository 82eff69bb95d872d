#include "engine/parameters.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unordered_map>

#include "kernels/common/philox.h"

namespace systole {
namespace {

std::vector<int64_t> dimensions(const Shape& shape) {
  std::vector<int64_t> result;
  for (int i = 0; i < shape.rank(); ++i) result.push_back(shape[i]);
  return result;
}

/// The shape of a parameter in PyTorch's files: the dimensions in reverse order, unless it is plain.
std::vector<int64_t> file_shape(const Parameter& p) {
  std::vector<int64_t> result = dimensions(p.shape);
  if (p.layout != Layout::plain) std::reverse(result.begin(), result.end());
  return result;
}

/// Calls visit(index in memory, index in the file) for every element. The file's order of dimensions is the reverse of
/// memory's.
template <class Visit>
void for_each_element(const Parameter& p, const Visit& visit) {
  if (p.layout == Layout::plain) {
    for (size_t i = 0; i < static_cast<size_t>(p.shape.count()); ++i) visit(i, i);
    return;
  }
  const bool conv = p.layout == Layout::conv1d;
  const int64_t K = conv ? p.shape[0] : 1, in = p.shape[conv ? 1 : 0], out = p.shape[conv ? 2 : 1];
  for (int64_t k = 0; k < K; ++k)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t o = 0; o < out; ++o)
        visit(static_cast<size_t>((k * in + i) * out + o), static_cast<size_t>((o * in + i) * K + k));
}

std::vector<float> to_file_order(const Parameter& p) {
  const std::vector<float> values = p.value.to_vector();
  std::vector<float> result(values.size());
  for_each_element(p, [&](size_t memory, size_t file) { result[file] = values[memory]; });
  return result;
}

void from_file_order(const Parameter& p, const std::vector<float>& source) {
  std::vector<float> values(source.size());
  for_each_element(p, [&](size_t memory, size_t file) { values[memory] = source[file]; });
  p.value.copy_from(values.data(), p.value.bytes());
}

/// Element i of the file's order is draw i, so the values do not depend on the layout in memory.
std::vector<float> initial_values(const Parameter& p, uint64_t seed, uint32_t position) {
  std::vector<float> values(static_cast<size_t>(p.shape.count()), p.initializer.value);
  if (p.initializer.kind == Initializer::Kind::constant) return values;
  const RandomStream stream(seed, Purpose::initial_weights, 0, position);
  const float bound = p.initializer.value;
  for (size_t i = 0; i < values.size(); ++i) values[i] = stream.uniform(static_cast<uint32_t>(i), -bound, bound);
  return values;
}

}  // namespace

Initializer Initializer::fan_in(int64_t fan_in) {
  return {Kind::uniform, static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in)))};
}

const std::string& ParameterStore::name_of(const Entry& entry) const {
  switch (entry.kind) {
    case Kind::parameter:
      return parameters_[entry.index].name;
    case Kind::buffer:
      return buffer_list_[entry.index].name;
    case Kind::counter:
      break;
  }
  return counters_[entry.index].name;
}

std::vector<int64_t> ParameterStore::saved_shape(const Entry& entry) const {
  switch (entry.kind) {
    case Kind::parameter:
      return file_shape(parameters_[entry.index]);
    case Kind::buffer:
      return dimensions(buffer_list_[entry.index].shape);
    case Kind::counter:
      break;
  }
  return {};
}

void ParameterStore::add_entry(Kind kind, size_t index, const std::string& name) {
  if (values_) throw Error(fmt::format("'{}' is declared after the parameters were allocated", name));
  for (const Entry& entry : entries_)
    if (name_of(entry) == name) throw Error(fmt::format("the model declares '{}' twice", name));
  entries_.push_back({kind, index});
}

Parameter& ParameterStore::add(const std::string& name, const Shape& shape, Layout layout, Initializer initializer) {
  add_entry(Kind::parameter, parameters_.size(), name);
  parameters_.push_back({name, shape, layout, initializer, parameter_count_, {}});
  parameter_count_ += shape.count();
  return parameters_.back();
}

Buffer& ParameterStore::add_buffer(const std::string& name, const Shape& shape, float initial) {
  add_entry(Kind::buffer, buffer_list_.size(), name);
  buffer_list_.push_back({name, shape, initial, buffer_count_, {}});
  buffer_count_ += shape.count();
  return buffer_list_.back();
}

Counter& ParameterStore::add_counter(const std::string& name) {
  add_entry(Kind::counter, counters_.size(), name);
  counters_.push_back({name, 0});
  return counters_.back();
}

void ParameterStore::allocate(Device device, uint64_t seed) {
  values_ = Tensor::empty({parameter_count_}, device);
  gradients_ = Tensor::zeros({parameter_count_}, device);
  buffers_ = Tensor::empty({buffer_count_}, device);
  uint32_t position = 0;
  for (Parameter& p : parameters_) {
    p.value = values_.slice(p.offset, p.shape);
    make_leaf(p.value, gradients_.slice(p.offset, p.shape));
    from_file_order(p, initial_values(p, seed, position++));
  }
  for (Buffer& b : buffer_list_) {
    b.value = buffers_.slice(b.offset, b.shape);
    const std::vector<float> values(static_cast<size_t>(b.shape.count()), b.initial);
    b.value.copy_from(values.data(), b.value.bytes());
  }
}

NamedArrays ParameterStore::state(const std::string& prefix) const {
  NamedArrays arrays;
  for (const Entry& entry : entries_) {
    const std::string& name = name_of(entry);
    if (name.rfind(prefix, 0) != 0) continue;
    FileArray array;
    switch (entry.kind) {
      case Kind::parameter:
        array = FileArray::from_float(to_file_order(parameters_[entry.index]), saved_shape(entry));
        break;
      case Kind::buffer:
        array = FileArray::from_float(buffer_list_[entry.index].value.to_vector(), saved_shape(entry));
        break;
      case Kind::counter:
        array = FileArray::from_int64({counters_[entry.index].value}, {});
        break;
    }
    arrays.emplace_back(name.substr(prefix.size()), std::move(array));
  }
  return arrays;
}

void ParameterStore::load_state(const NamedArrays& arrays, const std::string& prefix, const std::string& source) {
  std::unordered_map<std::string, const FileArray*> by_name;
  for (const auto& [name, array] : arrays) by_name[prefix + name] = &array;
  size_t found = 0;
  for (const Entry& entry : entries_) {
    const std::string& name = name_of(entry);
    if (name.rfind(prefix, 0) != 0) continue;
    const auto it = by_name.find(name);
    if (it == by_name.end()) throw Error(fmt::format("{}: '{}' is missing", source, name));
    if (it->second->shape != saved_shape(entry))
      throw Error(fmt::format("{}: '{}' has the shape [{}]; this model expects [{}]", source, name,
                              fmt::join(it->second->shape, ", "), fmt::join(saved_shape(entry), ", ")));
    ++found;
  }
  if (found != by_name.size())
    for (const auto& saved : arrays) {
      const std::string name = prefix + saved.first;
      if (std::none_of(entries_.begin(), entries_.end(), [&](const Entry& entry) { return name_of(entry) == name; }))
        throw Error(fmt::format("{}: '{}' is not part of this model", source, name));
    }
  for (const Entry& entry : entries_) {
    const auto it = by_name.find(name_of(entry));
    if (it == by_name.end()) continue;
    switch (entry.kind) {
      case Kind::parameter:
        from_file_order(parameters_[entry.index], it->second->to_float());
        break;
      case Kind::buffer: {
        const std::vector<float> values = it->second->to_float();
        buffer_list_[entry.index].value.copy_from(values.data(), values.size() * sizeof(float));
        break;
      }
      case Kind::counter:
        counters_[entry.index].value = static_cast<int64_t>(it->second->to_float().at(0));
        break;
    }
  }
}

ParameterStore::Snapshot ParameterStore::snapshot() const {
  Snapshot copy{values_.to_vector(), buffers_.to_vector(), {}};
  for (const Counter& counter : counters_) copy.counters.push_back(counter.value);
  return copy;
}

void ParameterStore::restore(const Snapshot& copy) {
  values_.copy_from(copy.values.data(), copy.values.size() * sizeof(float));
  buffers_.copy_from(copy.buffers.data(), copy.buffers.size() * sizeof(float));
  for (size_t i = 0; i < counters_.size(); ++i) counters_[i].value = copy.counters[i];
}

}  // namespace systole
