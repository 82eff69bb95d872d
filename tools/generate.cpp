// systole generate: a synthetic data set in PTB-XL's layout.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>

#include "data/generator.h"
#include "tools/command.h"
#include "tools/progress.h"

namespace systole::tools {
namespace {

struct GenerateOptions {
  CommonOptions common;
  data::GeneratorOptions generator;
};

void generate(GenerateOptions& o) {
  require_option(o.generator.patients >= 1, "--patients", "at least 1", std::to_string(o.generator.patients));
  prepare_host(o.common);
  o.generator.seed = o.common.seed;
  std::unique_ptr<Progress> progress;  // its total is known with the first call
  int64_t total = 0;
  o.generator.progress = [&](int64_t done, int64_t records) {
    if (!progress) progress = std::make_unique<Progress>("generate", records, "records");
    progress->update(done);
    total = records;
  };
  data::generate_dataset(o.generator);
  if (progress) progress->finish();
  fmt::print("{} records of {} patients: {}\n", total, o.generator.patients, o.generator.out.string());
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<GenerateOptions>();
  GenerateOptions& o = *options;
  CLI::App& command = *app.add_subcommand("generate", "Write a synthetic data set in PTB-XL's layout");
  command.add_option("--out", o.generator.out, "Folder to create")->required();
  command.add_option("--patients", o.generator.patients, "Number of patients; each has 1 to 4 records")
      ->capture_default_str();
  command.add_flag("--with-500-hz", o.generator.with_500_hz, "Also write the recordings at 500 Hz");
  add_host_options(command, o.common);
  command.callback([options] { generate(*options); });
}

}  // namespace systole::tools
