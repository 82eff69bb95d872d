// The subcommands of systole bench, each declared and run as those of systole are (tools/command.h).
#pragma once

namespace CLI {
class App;
}

namespace systole::tools {

void add_bench_augment(CLI::App& bench);
void add_bench_data(CLI::App& bench);
void add_bench_kernels(CLI::App& bench);
void add_bench_loss(CLI::App& bench);
void add_bench_step(CLI::App& bench);
/// Not for users: systole bench loss starts it, once for each implementation and batch.
void add_bench_loss_worker(CLI::App& bench);

}  // namespace systole::tools
