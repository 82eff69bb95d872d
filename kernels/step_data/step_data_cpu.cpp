#include <algorithm>

#include "kernels/step_data/step_data.h"

namespace systole::kernels::cpu {
namespace {

void fetch(Queue&, const StepColumns& columns, const uint32_t* table, const uint32_t* row) {
  const uint32_t* from = table + int64_t{*row} * columns.words;
  for (int c = 0; c < columns.count; from += columns.column[c++].words)
    std::copy_n(from, columns.column[c].words, columns.column[c].at);
}

void keep(Queue&, const StepColumns& columns, uint32_t* table, uint32_t* row) {
  uint32_t* to = table + int64_t{*row} * columns.words;
  for (int c = 0; c < columns.count; to += columns.column[c++].words)
    std::copy_n(columns.column[c].at, columns.column[c].words, to);
  ++*row;
}

}  // namespace

const StepDataKernels step_data{.fetch = fetch, .keep = keep};

}  // namespace systole::kernels::cpu
