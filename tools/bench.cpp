// systole bench: how fast parts of the engine are on a device.

#include "tools/bench.h"

#include <CLI/CLI.hpp>

#include "tools/command.h"

namespace systole::tools {

void add_bench(CLI::App& app) {
  CLI::App& bench = *app.add_subcommand("bench", "How fast parts of the engine are on a device");
  bench.require_subcommand(1);
  add_bench_augment(bench);
  add_bench_data(bench);
  add_bench_loss(bench);
  add_bench_loss_worker(bench);
}

}  // namespace systole::tools
