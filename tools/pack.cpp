// systole pack: a data set in one file, which loads faster than its many.

#include "data/pack.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>

#include "engine/checkpoint/atomic_file.h"
#include "tools/command.h"
#include "tools/ecg_data.h"
#include "tools/progress.h"

namespace systole::tools {
namespace {

struct PackOptions {
  CommonOptions common;
  DataOptions data;
  std::filesystem::path out;
};

std::string label_sets_text(const data::PackContents& contents) {
  std::vector<std::string> names;
  for (const data::PackedLabels& set : contents.label_sets) names.push_back(set.name);
  return names.empty() ? "no labels" : fmt::format("labels {}", fmt::join(names, ", "));
}

void pack(const PackOptions& o) {
  check_file_writable(o.out);
  prepare_host(o.common);
  const data::PackContents contents = load_for_pack(o.data);
  const data::Dataset& signals = contents.signals;
  Progress progress("write", static_cast<int64_t>(signals.records()), "records");
  data::write_pack(o.out, contents, [&](size_t done, size_t) { progress.update(static_cast<int64_t>(done)); });
  progress.finish();
  fmt::print("{} records of {} leads x {} samples at {} Hz, {}, {:.1f} MB: {}\n", signals.records(),
             signals.lead_count(), signals.length, signals.sampling_rate_hz, label_sets_text(contents),
             static_cast<double>(std::filesystem::file_size(o.out)) / 1e6, o.out.string());
}

}  // namespace

void add_pack(CLI::App& app) {
  auto options = std::make_shared<PackOptions>();
  PackOptions& o = *options;
  CLI::App& command =
      *app.add_subcommand("pack", "Write a data set into one file, which the other commands take as --data-root");
  add_signal_options(command, o.data);
  command.get_option("--data-root")->description("Folder of a data set: in PTB-XL's layout, MIT-BIH, or WFDB records");
  command.add_option("--out", o.out, "File to write, for example ptb-xl.ecgs")->required();
  add_threads_option(command, o.common);
  command.callback([options] { pack(*options); });
}

}  // namespace systole::tools
