#include "engine/step_data.h"

#include <fmt/format.h>

#include "kernels/common/memory.h"

namespace systole {
namespace {

uint32_t* words_of(const Tensor& tensor) {
  return reinterpret_cast<uint32_t*>(tensor.bytes_begin());
}

}  // namespace

StepData::Table::Table(std::vector<Tensor> columns, int64_t steps, Device device) : column(std::move(columns)) {
  if (column.size() > static_cast<size_t>(kernels::StepColumns::kMax))
    throw Error(fmt::format("step data: {} columns, expected at most {}", column.size(), kernels::StepColumns::kMax));
  for (const Tensor& tensor : column) {
    if (tensor && tensor.bytes() != static_cast<size_t>(tensor.count()) * sizeof(uint32_t))
      throw Error("step data: expected columns with elements of four bytes");
    first_word.push_back(words());
    if (tensor) places.add(words_of(tensor), static_cast<int>(tensor.count()));
  }
  first_word.push_back(words());
  rows = Tensor::empty({steps, places.words}, device, DType::i32);
  on_host.resize(static_cast<size_t>(steps) * words());
}

StepData::StepData(std::vector<Tensor> inputs, std::vector<Tensor> results, int64_t steps, Device device)
    : steps_(steps),
      inputs_(std::move(inputs), steps, device),
      results_(std::move(results), steps, device),
      row_(Tensor::zeros({1}, device, DType::i32)) {}

uint32_t* StepData::input_at(int64_t step, size_t column, size_t count) {
  const size_t first = inputs_.first_word.at(column), room = inputs_.first_word.at(column + 1) - first;
  if (step < 0 || step >= steps_ || count > room)
    throw Error(fmt::format("step data: {} numbers for step {} of {}, whose column has {}", count, step, steps_, room));
  return inputs_.on_host.data() + static_cast<size_t>(step) * inputs_.words() + first;
}

std::span<const uint32_t> StepData::result_at(int64_t step, size_t column) const {
  const size_t first = results_.first_word.at(column), count = results_.first_word.at(column + 1) - first;
  return std::span(results_.on_host).subspan(static_cast<size_t>(step) * results_.words() + first, count);
}

void StepData::start() {
  inputs_.rows.copy_from(inputs_.on_host.data(), inputs_.rows.bytes());
  row_.fill_zero();
}

void StepData::fetch() {
  Queue queue(row_.device());
  kernels::step_data_kernels(row_.device()).fetch(queue, inputs_.places, words_of(inputs_.rows), words_of(row_));
}

void StepData::keep() {
  Queue queue(row_.device());
  kernels::step_data_kernels(row_.device()).keep(queue, results_.places, words_of(results_.rows), words_of(row_));
}

void StepData::read(int64_t first, int64_t count) {
  Queue queue(row_.device());
  const size_t begin = static_cast<size_t>(first) * results_.words(),
               words = static_cast<size_t>(count) * results_.words();
  copy_to_host(queue, results_.on_host.data() + begin, words_of(results_.rows) + begin, words * sizeof(uint32_t));
}

}  // namespace systole
