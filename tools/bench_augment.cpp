// systole bench augment: how many views of records a device makes in a second.

#include <CLI/CLI.hpp>
#include <cstring>
#include <fmt/format.h>
#include <memory>

#include "augment/views.h"
#include "benchmarks/timing.h"
#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/memory.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"
#include "tools/bench.h"
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

/// Bytes read and written in a second by a copy within the device's memory, larger than any cache.
double copy_rate(Queue& queue) {
  constexpr size_t kBytes = size_t{256} << 20, kPieces = 64;
  const auto from = allocate_memory(queue.device(), kBytes), to = allocate_memory(queue.device(), kBytes);
  fill_zero(queue, from.get(), kBytes);
  const auto copy = [&](int64_t) {
    if (queue.device() == Device::cuda) return copy_on_device(queue, to.get(), from.get(), kBytes);
    parallel_for(kPieces, [&](int64_t piece) {
      const size_t size = kBytes / kPieces, begin = static_cast<size_t>(piece) * size;
      std::memcpy(to.get() + begin, from.get() + begin, size);
    });
  };
  return 2.0 * kBytes / benchmarks::measure(queue, copy, 7, kSampleSeconds).fastest;
}

/// A data set of random samples in the device's memory.
class RandomRecords {
 public:
  RandomRecords(const AugmentBenchOptions& o, Device device) : queue_(device) {
    const auto N = static_cast<size_t>(o.batch_size), C = static_cast<size_t>(o.leads);
    const RandomStream stream(o.common.seed, Purpose::test);
    std::vector<int16_t> samples(N * static_cast<size_t>(o.length) * C);
    for (size_t i = 0; i < samples.size(); ++i)
      samples[i] = static_cast<int16_t>(stream.below(static_cast<uint32_t>(i), 400)) - 200;
    std::vector<uint32_t> records(N);
    for (size_t n = 0; n < N; ++n) records[n] = static_cast<uint32_t>(n);
    source = {upload(samples),
              upload(std::vector<float>(N * C, 0.005f)),
              upload(std::vector<float>(N * C, 0.0f)),
              upload(std::vector<float>(C, 0.0f)),
              upload(std::vector<float>(C, 0.2f)),
              upload(records),
              o.sampling_rate_hz};
  }
  augment::ViewSource source;

 private:
  template <class T>
  const T* upload(const std::vector<T>& values) {
    memory_.push_back(allocate_memory(queue_.device(), values.size() * sizeof(T)));
    copy_to_device(queue_, memory_.back().get(), values.data(), values.size() * sizeof(T));
    return reinterpret_cast<const T*>(memory_.back().get());
  }
  Queue queue_;
  std::vector<std::shared_ptr<std::byte>> memory_;
};

std::vector<std::string> lead_names(int count) {
  if (count == 8) return {"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"};
  if (count == 12) return {"I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"};
  std::vector<std::string> names;
  for (int c = 0; c < count; ++c) names.push_back(fmt::format("lead {}", c + 1));
  return names;
}

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

  RandomRecords records(o, device);
  const double views = static_cast<double>(o.batch_size) * o.views, values = 1.0 * o.length * o.leads;
  const double bytes =
      views * values * (sizeof(int16_t) + sizeof(float));  // each sample read once, each value written once
  const auto output = allocate_memory(device, static_cast<size_t>(views * values) * sizeof(float));
  Queue queue(device);
  const double ceiling = copy_rate(queue);
  fmt::print("{} views of {} x {} at {} Hz on {}, {}; copy {:.1f} GB/s\n", views, o.leads, o.length, o.sampling_rate_hz,
             name(device), device == Device::cuda ? "one kernel" : fmt::format("{} threads", threads()), ceiling / 1e9);
  fmt::print("{:<18} {:>12} {:>12} {:>8} {:>9} {:>8}\n", "augmentation", "us a call", "views/s", "GB/s", "% of copy",
             "spread");
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const augment::NamedRecipe& recipe : recipes) {
    augment::ViewSource source = records.source;
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
