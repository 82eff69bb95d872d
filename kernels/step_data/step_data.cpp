#include "kernels/step_data/step_data.h"

#include <fmt/format.h>

namespace systole::kernels {

std::string text(const StepColumns& columns) {
  return fmt::format("columns={} words={}", columns.count, columns.words);
}

}  // namespace systole::kernels
