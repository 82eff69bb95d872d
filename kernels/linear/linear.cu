// linear on the cuda and simt devices.

#include "kernels/linear/linear.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const LinearKernels linear{};

}  // namespace systole::kernels::SYSTOLE_TARGET
