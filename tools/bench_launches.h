// Every launch of a training step with the work it must do at least, and the floors that follow for a GPU.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "benchmarks/call_work.h"
#include "kernels/common/device.h"

namespace systole::tools {

/// Calls of one entry with one shape and one work.
struct LaunchLine {
  std::string kernel, shape;
  int calls = 0, launches = 0;
  benchmarks::CallWork work;  // of all calls
};

struct StepLaunches {
  std::vector<LaunchLine> lines;  // in the order of their first calls
  size_t memory_operations;       // copies and fills beside the kernels
};

/// Records what `step` puts on the queue of the simt device, where nothing of it is executed, and counts. The step has
/// run once before, so that what is made once is there.
StepLaunches launches_of(const std::function<void()>& step);

/// A Markdown table of them with the floors of one H200: bytes at its memory's rate or arithmetic at the rate of the
/// unit that does it, whichever takes longer.
std::string launches_table(const StepLaunches& launches, Precision precision);

}  // namespace systole::tools
