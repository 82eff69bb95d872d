#include "kernels/common/device.h"

#include "kernels/common/error.h"

namespace systole {

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

bool is_available(Device device) {
  return device == Device::cpu;
}

Device parse_device(std::string_view text) {
  if (text == "auto") return Device::cpu;
  for (Device device : kAllDevices) {
    if (text != name(device)) continue;
    if (!is_available(device))
      throw UsageError("the device " + std::string(text) + " is not part of this build; cpu is");
    return device;
  }
  throw UsageError("unknown device '" + std::string(text) + "'; expected auto, cpu, simt or cuda");
}

}  // namespace systole
