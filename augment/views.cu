// Views on the cuda and simt devices.

#include "augment/views.h"

#include "kernels/common/launch.h"

namespace systole::augment::SYSTOLE_TARGET {

extern const AugmentKernels augment{};

}  // namespace systole::augment::SYSTOLE_TARGET
