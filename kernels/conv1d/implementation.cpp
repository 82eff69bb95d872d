#include "kernels/conv1d/implementation.h"

#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {
namespace {

#if defined(SYSTOLE_CUDNN)
constexpr bool kWithCudnn = true;
#else
constexpr bool kWithCudnn = false;
#endif

Convolution chosen_convolution = Convolution::systole;

}  // namespace

std::string_view name(Convolution convolution) {
  switch (convolution) {
    case Convolution::systole:
      return "systole";
    case Convolution::portable:
      return "portable";
    case Convolution::cudnn:
      return "cudnn";
  }
  return "?";
}

Convolution parse_convolution(std::string_view text, Device device) {
  if (text == name(Convolution::systole)) return Convolution::systole;
  if (text == name(Convolution::portable)) return Convolution::portable;
  if (text != name(Convolution::cudnn))
    throw UsageError(fmt::format("unknown convolution '{}'; expected systole, portable or cudnn", text));
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

}  // namespace systole::kernels
