// conv1d on the cuda and simt devices.

#include "kernels/conv1d/conv1d.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const Conv1dKernels conv1d{};

}  // namespace systole::kernels::SYSTOLE_TARGET
