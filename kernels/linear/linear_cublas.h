// Linear on the cuda device by cuBLAS: what linear_kernels(Device::cuda) gives. The plain kernels, cuda::linear, are
// what the benchmark measures it against.
#pragma once

#include "kernels/linear/linear.h"

namespace systole::kernels::cuda {

extern const LinearKernels linear_cublas;

}  // namespace systole::kernels::cuda
