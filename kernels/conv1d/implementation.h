// Which convolution the cuda device uses: our kernels, those of them that every GPU can run, or cuDNN's, with which
// they are compared.
#pragma once

#include <string_view>

#include "kernels/common/device.h"
#include "kernels/conv1d/conv1d.h"

namespace systole::kernels {

/// systole: by wgmma where the GPU has it (compute capability 9.0); portable: as on every other GPU; wgmma: such a
/// GPU's also on simt, which otherwise computes as every other GPU.
enum class Convolution { systole, portable, wgmma, cudnn };

std::string_view name(Convolution convolution);

/// Throws UsageError for an unknown name, for wgmma where the device has none, and for cudnn unless the device is cuda
/// and this build has cuDNN.
Convolution parse_convolution(std::string_view text, Device device);

/// The convolution of every call that follows; systole until it is set.
void set_convolution(Convolution convolution);
Convolution convolution();

/// Whether convolutions of the device are by wgmma now, where they can be.
bool convolves_by_wgmma(Device device);

/// Whether the convolution's two gradients take dy better than dz with a PendingGradient, of series stored so. Kernels
/// by wgmma read a gradient once for each panel of channels, and would undo the normalisation each time.
bool wants_finished_gradient(const Queue& queue, Storage series);

SYSTOLE_KERNEL_TABLES(Conv1dKernels, conv1d_wgmma)  // of cuda and simt

#if defined(SYSTOLE_CUDNN)
namespace cuda {
extern const Conv1dKernels conv1d_cudnn;
}
#endif

}  // namespace systole::kernels
