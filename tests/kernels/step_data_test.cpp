#include "kernels/step_data/step_data.h"

#include <numeric>

#include "kernels/step_data/cases.h"
#include "tests/device.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

TEST_CASE("step data: a row goes to the places of its columns and back, and the number of the row moves on") {
  std::vector<std::vector<int>> rows_of_columns{{1}, {3, 1, 257}, {600, 2}, {1, 1, 1, 1, 1, 1, 1, 1}};
  for (const StepDataCase& c : step_data_cases()) rows_of_columns.push_back({c.words - c.words / 2, c.words / 2});
  for (const std::vector<int>& widths : rows_of_columns) {
    const int words = std::accumulate(widths.begin(), widths.end(), 0), rows = 3;
    std::vector<uint32_t> table(static_cast<size_t>(rows * words)), kept(table.size(), 7), row{1};
    std::iota(table.begin(), table.end(), 100);
    std::vector<std::vector<uint32_t>> places;
    for (int width : widths) places.emplace_back(width, 0);
    {
      OnDevice d;
      StepColumns columns;
      for (std::vector<uint32_t>& place : places) columns.add(d.out(place), static_cast<int>(place.size()));
      const StepDataKernels& kernel = step_data_kernels(device());
      uint32_t* const number = d.out(row);
      kernel.fetch(d.queue(), columns, d.in(table), number);
      kernel.keep(d.queue(), columns, d.out(kept), number);
    }
    CHECK(row[0] == 2);
    size_t at = static_cast<size_t>(words);
    for (const std::vector<uint32_t>& place : places)
      for (uint32_t word : place) CHECK(word == table[at++]);
    for (size_t i = 0; i < kept.size(); ++i)
      CHECK(kept[i] == (i >= static_cast<size_t>(words) && i < static_cast<size_t>(2 * words) ? table[i] : 7));
  }
}
