// systole bench --compare: what moved between two result files of systole bench.
#pragma once

#include <filesystem>

namespace systole::tools {

/// Prints what moved beyond the noise, and what only one file has. Both are of kernels, step, loss, augment or data.
/// Throws Error that names the file and what is wrong in it, UsageError for files of two benchmarks.
void compare_results(const std::filesystem::path& before, const std::filesystem::path& after);

}  // namespace systole::tools
