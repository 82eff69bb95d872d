// pool on the cuda and simt devices.

#include "kernels/pool/pool.h"

#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

extern const PoolKernels pool{};

}  // namespace systole::kernels::SYSTOLE_TARGET
