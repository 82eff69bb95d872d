// systole bench: how fast parts of the engine are on a device.

#include "tools/bench.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <vector>

#include "kernels/common/error.h"
#include "tools/bench_compare.h"
#include "tools/command.h"

namespace systole::tools {

void add_bench(CLI::App& app) {
  CLI::App& bench = *app.add_subcommand("bench", "How fast parts of the engine are on a device");
  bench.require_subcommand(0, 1);
  auto files = std::make_shared<std::vector<std::filesystem::path>>();
  bench.add_option("--compare", *files, "Instead of measuring: two results (--json) of one benchmark; says what moved")
      ->expected(2);
  add_bench_augment(bench);
  add_bench_data(bench);
  add_bench_kernels(bench);
  add_bench_loss(bench);
  add_bench_loss_worker(bench);
  add_bench_step(bench);
  bench.callback([files, &bench] {
    const bool measures = !bench.get_subcommands().empty();
    if (measures == !files->empty())
      throw UsageError(
          "systole bench takes one of augment, data, kernels, loss and step, or --compare BEFORE.json AFTER.json");
    if (!measures) compare_results((*files)[0], (*files)[1]);
  });
}

}  // namespace systole::tools
