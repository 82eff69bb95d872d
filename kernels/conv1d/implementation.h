// Which convolution the cuda device uses: our kernels, or cuDNN's, with which they are compared.
#pragma once

#include <string_view>

#include "kernels/common/device.h"
#include "kernels/conv1d/conv1d.h"

namespace systole::kernels {

enum class Convolution { systole, cudnn };

std::string_view name(Convolution convolution);

/// Throws UsageError for an unknown name, and for cudnn unless the device is cuda and this build has cuDNN.
Convolution parse_convolution(std::string_view text, Device device);

/// The convolution of every call that follows; systole until it is set.
void set_convolution(Convolution convolution);
Convolution convolution();

#if defined(SYSTOLE_CUDNN)
namespace cuda {
extern const Conv1dKernels conv1d_cudnn;
}
#endif

}  // namespace systole::kernels
