// The stream of a queue, for host code that hands it to NVIDIA's libraries; launch.h is for nvcc alone.
#pragma once

#include <driver_types.h>

#include "kernels/common/device.h"

namespace systole::kernels::cuda {

cudaStream_t stream_of(const Queue& queue);

}  // namespace systole::kernels::cuda
