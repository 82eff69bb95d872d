// What a result file says about where its numbers come from.
#pragma once

#include <string>

namespace systole::benchmarks {

/// "AMD EPYC".
std::string processor();
/// The time in UTC, "2026-11-25T16:15:00Z".
std::string now();
/// Of the sources that were configured.
std::string commit();

}  // namespace systole::benchmarks
