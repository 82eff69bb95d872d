#include "kernels/conv1d/ladder/ladder.h"

namespace systole::kernels::ladder {

#define SYSTOLE_STEPS_OF(target)                                                                               \
  {                                                                                                            \
    target::ladder::naive, target::ladder::window, target::ladder::shared_slab, target::ladder::register_tile, \
        target::ladder::async_copy, target::ladder::tensor_core_tf32, target::ladder::tensor_core_bf16,        \
        target::ladder::fused                                                                                  \
  }

const std::vector<Step>& steps(Device device) {
  static const std::vector<Step> none, on_simt = SYSTOLE_STEPS_OF(simt);
#if defined(SYSTOLE_CUDA)
  static const std::vector<Step> on_cuda = SYSTOLE_STEPS_OF(cuda);
  if (device == Device::cuda) return on_cuda;
#endif
  return device == Device::simt ? on_simt : none;
}

FusedForward fused_forward(Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) return cuda::ladder::fused_forward;
#endif
  return device == Device::simt ? simt::ladder::fused_forward : nullptr;
}

}  // namespace systole::kernels::ladder
