// Where the time of a training step goes, kernel by kernel.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/common/device.h"

namespace systole::tools {

struct ProfileLine {
  std::string what;  // a kernel's name, or "between kernels"
  double seconds;    // in one step
  double share;      // of the step
  int calls;         // in one step; 0: no kernel
};

/// Runs `step` `steps` times and takes the time of every call of a kernel table's entry; that of one within another
/// counts for the outer one. The longest first, what lies between kernels last. The device is waited for around every
/// call, so that on a GPU the sum is more than a step takes that is not watched. Each call is an NVTX range there,
/// which Nsight Systems and Nsight Compute show and select by.
std::vector<ProfileLine> profile_of(Device device, int steps, const std::function<void()>& step);

}  // namespace systole::tools
