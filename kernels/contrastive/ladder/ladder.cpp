#include "kernels/contrastive/ladder/ladder.h"

#include <fmt/format.h>

#include "kernels/common/error.h"
#include "kernels/contrastive/exponent.h"

namespace systole::kernels::nt_xent_ladder {

#define SYSTOLE_STEPS_OF(target)                                                          \
  {                                                                                       \
    target::nt_xent_ladder::materialised, target::nt_xent_ladder::running_max,            \
        target::nt_xent_ladder::constant_offset, target::nt_xent_ladder::symmetric_tiles, \
        target::nt_xent_ladder::tensor_cores                                              \
  }

const std::vector<Step>& steps(Device device) {
  static const std::vector<Step> none, on_simt = SYSTOLE_STEPS_OF(simt);
#if defined(SYSTOLE_CUDA)
  static const std::vector<Step> on_cuda = SYSTOLE_STEPS_OF(cuda);
  if (device == Device::cuda) return on_cuda;
#endif
  return device == Device::simt ? on_simt : none;
}

void check_for_constant_offset(const NtXentShape& shape) {
  check(shape);
  if (shape.temperature < kPlainTemperature)
    throw Error(fmt::format("the temperature {} is too low for a constant softmax offset; expected at least {}",
                            shape.temperature, kPlainTemperature));
}

}  // namespace systole::kernels::nt_xent_ladder
