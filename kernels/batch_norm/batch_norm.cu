// batch_norm on the cuda and simt devices.

#include "kernels/batch_norm/batch_norm.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const BatchNormKernels batch_norm{};

}  // namespace systole::kernels::SYSTOLE_TARGET
