// What a result file says about where its numbers come from.
#pragma once

#include <string>

#include "kernels/common/device.h"

namespace systole::benchmarks {

/// "AMD EPYC".
std::string processor();
/// What computes: "cpu, AMD EPYC, 2 threads", or the GPU's name.
std::string machine(Device device);
/// The time in UTC, "2026-11-25T16:15:00Z".
std::string now();
/// Of the sources that were configured.
std::string commit();

}  // namespace systole::benchmarks
