// classification on the cuda and simt devices.

#include "kernels/classification/classification.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const ClassificationKernels classification{};

}  // namespace systole::kernels::SYSTOLE_TARGET
