#include "kernels/conv1d/implementation.h"

#include <fmt/format.h>

#include "kernels/common/error.h"
#include "kernels/cuda/device.h"

namespace systole::kernels {
namespace {

#if defined(SYSTOLE_CUDNN)
constexpr bool kWithCudnn = true;
#else
constexpr bool kWithCudnn = false;
#endif

Convolution chosen_convolution = Convolution::systole;

bool has_wgmma(Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) return cuda::has_wgmma();
#endif
  return device == Device::simt;
}

}  // namespace

std::string_view name(Convolution convolution) {
  switch (convolution) {
    case Convolution::systole:
      return "systole";
    case Convolution::portable:
      return "portable";
    case Convolution::wgmma:
      return "wgmma";
    case Convolution::cudnn:
      return "cudnn";
  }
  return "?";
}

Convolution parse_convolution(std::string_view text, Device device) {
  if (text == name(Convolution::systole)) return Convolution::systole;
  if (text == name(Convolution::portable)) return Convolution::portable;
  if (text == name(Convolution::wgmma)) {
    if (has_wgmma(device)) return Convolution::wgmma;
    throw UsageError(
        fmt::format("the convolution wgmma needs simt, or cuda on a GPU of compute capability 9.0; the device is {}",
                    systole::name(device)));
  }
  if (text != name(Convolution::cudnn))
    throw UsageError(fmt::format("unknown convolution '{}'; expected systole, portable, wgmma or cudnn", text));
  if (device != Device::cuda)
    throw UsageError(
        fmt::format("the convolution cudnn needs the device cuda; {} computes with systole", systole::name(device)));
  if (!kWithCudnn)
    throw UsageError("the convolution cudnn is not part of this build: no cuDNN was found when it was configured");
  return Convolution::cudnn;
}

void set_convolution(Convolution convolution) {
  chosen_convolution = convolution;
}

Convolution convolution() {
  return chosen_convolution;
}

bool convolves_by_wgmma(Device device) {
  if (!has_wgmma(device)) return false;
  return chosen_convolution == Convolution::wgmma ||
         (device == Device::cuda && chosen_convolution == Convolution::systole);
}

bool wants_finished_gradient(const Queue& queue, Storage series) {
  return convolves_by_wgmma(queue.device()) && queue.precision() == Precision::bf16 && series == Storage::bf16;
}

}  // namespace systole::kernels
