#include "kernels/common/device.h"

#include <fmt/format.h>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/device.h"
#endif

namespace systole {
namespace {

Precision chosen_precision = Precision::f32;

}  // namespace

std::string_view name(Device device) {
  switch (device) {
    case Device::cpu:
      return "cpu";
    case Device::simt:
      return "simt";
    case Device::cuda:
      return "cuda";
  }
  return "?";
}

std::string_view name(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return "f32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      return "bf16";
  }
  return "?";
}

bool is_available(Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) return kernels::cuda::device_status().usable;
#endif
  return device != Device::cuda;
}

std::string describe(Device device) {
  switch (device) {
    case Device::cpu:
      return fmt::format("{} threads", threads());
    case Device::simt:
      return "the CUDA kernels, executed on the CPU thread by thread";
    case Device::cuda:
      break;
  }
#if defined(SYSTOLE_CUDA)
  return kernels::cuda::device_status().text;
#else
  return "not part of this build: no CUDA toolkit was found when it was configured";
#endif
}

Device parse_device(std::string_view text) {
  if (text == "auto") return is_available(Device::cuda) ? Device::cuda : Device::cpu;
  for (Device device : kAllDevices) {
    if (text != name(device)) continue;
    if (!is_available(device))
      throw UsageError(fmt::format("the device {} cannot be used: {}", text, describe(device)));
    return device;
  }
  throw UsageError(fmt::format("unknown device '{}'; expected auto, cpu, simt or cuda", text));
}

Precision parse_precision(std::string_view text) {
  for (Precision precision : kAllPrecisions) {
    if (text != name(precision)) continue;
    return precision;
  }
  throw UsageError(fmt::format("unknown precision '{}'; expected f32, tf32 or bf16", text));
}

void set_precision(Precision precision) {
  chosen_precision = precision;
}

Queue::Queue(Device device) : device_(device), precision_(chosen_precision) {}

void Queue::synchronize() {
#if defined(SYSTOLE_CUDA)
  if (device_ == Device::cuda) kernels::cuda::synchronize(*this);
#endif
}

}  // namespace systole
