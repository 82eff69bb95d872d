// Kernels with one mistake each, for the reports of the simt device.
#pragma once

#include <string>
#include <vector>

namespace systole::test {

/// Who must notice the mistake.
enum class Checker { always, race_detector, address_checker };

struct BrokenKernel {
  std::string name;  // marks the line in broken_kernels.cpp that the report must name: "// HERE: name"
  Checker checker;
  std::string sentence;  // that the report holds
  void (*run)();
};

const std::vector<BrokenKernel>& broken_kernels();

}  // namespace systole::test
