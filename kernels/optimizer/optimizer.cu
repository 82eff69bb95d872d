// optimizer on the cuda and simt devices.

#include "kernels/optimizer/optimizer.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const OptimizerKernels optimizer{};

}  // namespace systole::kernels::SYSTOLE_TARGET
