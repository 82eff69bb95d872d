// contrastive on the cuda and simt devices.

#include "kernels/contrastive/contrastive.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const ContrastiveKernels contrastive{};

}  // namespace systole::kernels::SYSTOLE_TARGET
