#include "benchmarks/origin.h"

#include <ctime>
#include <fmt/format.h>
#include <fstream>

#include "kernels/common/parallel.h"

namespace systole::benchmarks {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

std::string machine(Device device) {
  if (device == Device::cuda) return describe(device);
  return fmt::format("{}, {}, {}", name(device), processor(),
                     threads() == 1 ? "one thread" : fmt::format("{} threads", threads()));
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&time));
  return text;
}

std::string commit() {
  return SYSTOLE_COMMIT;
}

}  // namespace systole::benchmarks
