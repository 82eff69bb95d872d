// systole bench augment: how many views of records a device makes in a second.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>

#include "augment/views.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/origin.h"
#include "benchmarks/timing.h"
#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/memory.h"
#include "kernels/common/parallel.h"
#include "tools/bench.h"
#include "tools/bench_records.h"
#include "tools/command.h"
#include "tools/recipe_options.h"

namespace systole::tools {
namespace {

struct AugmentBenchOptions {
  CommonOptions common;
  RecipeOptions recipe;
  int batch_size = 128, views = 2, length = 1000, leads = 12, samples = 15;
  double sampling_rate_hz = 100;
  std::filesystem::path json;
};

constexpr double kSampleSeconds = 0.02;  // so that neither the clock nor a launch counts

void check(const AugmentBenchOptions& o) {
  const auto between = [](const char* option, int value, int low, int high) {
    require_option(value >= low && value <= high, option, fmt::format("between {} and {}", low, high),
                   std::to_string(value));
  };
  between("--batch-size", o.batch_size, 1, 65536);
  between("--views", o.views, 1, 255);
  between("--length", o.length, 1, augment::kMaxLength);
  between("--leads", o.leads, 1, 1024);
  between("--samples", o.samples, 1, 1000);
  require_option(o.sampling_rate_hz >= 1 && o.sampling_rate_hz <= 1e5, "--sampling-rate", "between 1 and 100000",
                 fmt::to_string(o.sampling_rate_hz));
}

void bench_augment(const AugmentBenchOptions& o) {
  check(o);
  const augment::NamedRecipe chosen = chosen_recipe(o.recipe);
  const Device device = prepare(o.common);
  const std::vector<std::string> leads = lead_names(o.leads);
  const augment::ViewShape shape{o.batch_size, o.views, o.length, o.length, o.leads, augment::Segment::random};
  std::vector<augment::NamedRecipe> recipes{chosen};
  for (const augment::Augmentation& a : augment::augmentations())
    if (std::string(a.name) != "crop") recipes.push_back({a.name, a.description, augment::only(a)});

  const RandomRecords records(o.batch_size, o.length, o.leads, o.sampling_rate_hz, o.common.seed, device);
  const double views = static_cast<double>(o.batch_size) * o.views, values = 1.0 * o.length * o.leads;
  const double bytes =
      views * values * (sizeof(int16_t) + sizeof(float));  // each sample read once, each value written once
  const auto output = allocate_memory(device, static_cast<size_t>(views * values) * sizeof(float));
  Queue queue(device);
  const double ceiling = benchmarks::copy_rate(queue);
  fmt::print("{} views of {} x {} at {} Hz on {}, {}; copy {:.1f} GB/s\n", views, o.leads, o.length, o.sampling_rate_hz,
             name(device), device == Device::cuda ? "one kernel" : fmt::format("{} threads", threads()), ceiling / 1e9);
  fmt::print("{:<18} {:>12} {:>12} {:>8} {:>9} {:>8}\n", "augmentation", "us a call", "views/s", "GB/s", "% of copy",
             "spread");
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const augment::NamedRecipe& recipe : recipes) {
    augment::ViewSource source = records.source();
    try {
      augment::check_applicable(recipe, o.sampling_rate_hz, shape, leads);
      if (recipe.recipe.vcg.p > 0) source.vcg = augment::vcg_transform(recipe.recipe, leads);
    } catch (const UsageError&) {  // mains at 100 Hz, vcg without its leads
      if (&recipe == &recipes.front()) throw;
      continue;
    }
    const auto make_views = [&](int64_t step) {
      augment::augment_kernels(device).views(queue, shape, source, recipe.recipe, o.common.seed,
                                             static_cast<uint32_t>(step), reinterpret_cast<float*>(output.get()));
    };
    const benchmarks::Timing timing = benchmarks::measure(queue, make_views, o.samples, kSampleSeconds);
    fmt::print("{:<18} {:>12.1f} {:>12.0f} {:>8.2f} {:>9.1f} {:>7.0f}%\n", recipe.name, 1e6 * timing.median,
               views / timing.median, bytes / timing.median / 1e9, 100 * bytes / timing.median / ceiling,
               100 * (timing.slowest - timing.fastest) / timing.median);
    rows.push_back({{"augmentation", recipe.name},
                    {"seconds", timing.median},
                    {"fastest", timing.fastest},
                    {"slowest", timing.slowest},
                    {"views_per_second", views / timing.median},
                    {"bytes", bytes}});
  }
  nlohmann::ordered_json result{{"benchmark", "augment"},
                                {"date", benchmarks::now()},
                                {"commit", benchmarks::commit()},
                                {"device_text", benchmarks::machine(device)},
                                {"run", to_json(o.common)},
                                {"threads", threads()},
                                {"batch_size", o.batch_size},
                                {"views", o.views},
                                {"length", o.length},
                                {"leads", o.leads},
                                {"sampling_rate_hz", o.sampling_rate_hz},
                                {"copy_bytes_per_second", ceiling},
                                {"seconds_per_step", rows[0]["seconds"]},  // of the recipe: what compare_step.py reads
                                {"rows", rows}};
  if (!o.json.empty()) write_file_atomically(o.json, result.dump(2) + "\n");
  result.erase("rows");
  fmt::print("{}\n", result.dump());
}

}  // namespace

void add_bench_augment(CLI::App& bench) {
  auto options = std::make_shared<AugmentBenchOptions>();
  AugmentBenchOptions& o = *options;
  CLI::App& command =
      *bench.add_subcommand("augment", "Views of random records: the recipe, and each augmentation alone");
  add_recipe_options(command, o.recipe);
  command.add_option("--batch-size", o.batch_size, "Records")->capture_default_str();
  command.add_option("--views", o.views, "Views of each record")->capture_default_str();
  command.add_option("--length", o.length, "Samples of a record and of a view")->capture_default_str();
  command.add_option("--leads", o.leads, "Leads; with 8 or 12 they have names, and vcg is measured too")
      ->capture_default_str();
  command.add_option("--sampling-rate", o.sampling_rate_hz, "In Hz")->capture_default_str();
  command.add_option("--samples", o.samples, "Samples of the time; their median counts")->capture_default_str();
  command.add_option("--json", o.json, "Also write the result to this file");
  add_common_options(command, o.common);
  command.callback([options] { bench_augment(*options); });
}

}  // namespace systole::tools
