// What changes from step to step of a training run (the records of a batch, the step's number, its learning rate) and
// what is wanted back from each (its loss), as tables in the device's memory with one row a step. The steps themselves
// read and write the same places every time. So a step can be captured once and replayed, and the host need not be
// asked in between.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::kernels {

/// The columns of a row, one after the other: where each stands during a step, and how many words of 4 bytes it has.
struct StepColumns {
  static constexpr int kMax = 8;
  struct Column {
    uint32_t* at;
    int words;
  };
  int count = 0, words = 0;  // columns, and words of a row
  Column column[kMax] = {};

  void add(uint32_t* at, int column_words) {
    column[count++] = {at, column_words};
    words += column_words;
  }
};
std::string text(const StepColumns& columns);

struct StepDataKernels {
  /// Copies row *row of the table [rows, columns.words] to the places of its columns.
  Entry<"step_data.fetch", void(const StepColumns& columns, const uint32_t* table, const uint32_t* row)> fetch;
  /// Copies the columns from their places to row *row of the table, and then adds one to *row.
  Entry<"step_data.keep", void(const StepColumns& columns, uint32_t* table, uint32_t* row)> keep;
};

const StepDataKernels& step_data_kernels(Device device);

SYSTOLE_KERNEL_TABLES(StepDataKernels, step_data)

}  // namespace systole::kernels
