// What a training step needs to be told, and what it has to tell, as tables with a row for each step
// (kernels/step_data/step_data.h). The host fills in the rows of an epoch at once and reads results when it likes; the
// steps themselves, captured or not, touch nothing but the device's memory.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "engine/tensor.h"
#include "kernels/step_data/step_data.h"

namespace systole {

class StepData {
 public:
  /// `inputs` hold a step's row of the first table from fetch() on; `results` are what keep() takes for the second one.
  /// All have elements of four bytes; empty tensors are columns without a place. Memory for `steps` rows.
  StepData(std::vector<Tensor> inputs, std::vector<Tensor> results, int64_t steps, Device device);

  /// The input `column` of a step, from its first element on; the others are zero until they are set.
  template <class T>
  void set(int64_t step, size_t column, std::span<const T> values) {
    static_assert(sizeof(T) == sizeof(uint32_t));
    uint32_t* const to = input_at(step, column, values.size());
    if (!values.empty()) std::memcpy(to, values.data(), values.size_bytes());
  }
  /// The rows are complete: the next step is step 0.
  void start();

  /// At the beginning of a step and at its end.
  void fetch();
  void keep();

  /// Waits for the steps [first, first + count) and reads their results.
  void read(int64_t first, int64_t count);
  /// A result of a step that was read.
  template <class T>
  std::vector<T> result(int64_t step, size_t column) const {
    static_assert(sizeof(T) % sizeof(uint32_t) == 0);
    const std::span<const uint32_t> words = result_at(step, column);
    std::vector<T> values(words.size_bytes() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), words.data(), words.size_bytes());
    return values;
  }

 private:
  struct Table {
    std::vector<Tensor> column;
    kernels::StepColumns places;
    std::vector<size_t> first_word;  // of each column in a row
    Tensor rows;                     // i32 [steps, words], on the device
    std::vector<uint32_t> on_host;

    Table(std::vector<Tensor> columns, int64_t steps, Device device);
    size_t words() const { return static_cast<size_t>(places.words); }
  };
  uint32_t* input_at(int64_t step, size_t column, size_t count);
  std::span<const uint32_t> result_at(int64_t step, size_t column) const;

  int64_t steps_;
  Table inputs_, results_;
  Tensor row_;  // i32 [1]: of the step that comes next
};

}  // namespace systole
