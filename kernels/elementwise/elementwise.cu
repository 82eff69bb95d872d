// elementwise on the cuda and simt devices.

#include "kernels/elementwise/elementwise.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const ElementwiseKernels elementwise{};

}  // namespace systole::kernels::SYSTOLE_TARGET
