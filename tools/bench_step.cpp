// systole bench step: the SimCLR training step, with PyTorch's beside it. benchmarks/README.md says how to read the
// numbers.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "augment/views.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/origin.h"
#include "benchmarks/timing.h"
#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"
#include "models/contrastive_objective.h"
#include "models/training_step.h"
#include "tools/bench.h"
#include "tools/bench_launches.h"
#include "tools/bench_peer.h"
#include "tools/bench_profile.h"
#include "tools/bench_records.h"
#include "tools/bench_scaling.h"
#include "tools/command.h"
#include "tools/encoder_options.h"
#include "tools/recipe_options.h"
#include "tools/worker_process.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;

struct StepBenchOptions {
  CommonOptions common;  // but for its threads
  RecipeOptions recipe{.augment = {"none"}, .file = {}};
  EncoderChoice encoder;
  std::vector<int> batch_sizes{128}, lengths{1000}, threads{0};
  int leads = 12, samples = 5;
  double sampling_rate_hz = 100;
  bool profile = false, launches = false;
  std::vector<std::string> peer_modes{"eager"};
  std::string peer = "auto", commit = benchmarks::commit();
  std::filesystem::path json;
};

constexpr int kWarmUp = 2;  // steps before those that are timed, as of the peer
constexpr int kViews = 2;

/// What one measurement is of.
struct StepSize {
  int batch_size, length, threads;
};

struct StepResult {
  StepSize size;
  std::string by;     // "systole", "pytorch" for the eager one, "pytorch compiled", "pytorch graphs"
  double flop;        // of one step
  double of_ceiling;  // 0: there is none
  std::vector<double> seconds;
  double times_ours = 1;  // the median over the rounds
  std::vector<ProfileLine> profile{};

  double median() const { return benchmarks::median(seconds); }
  double fastest() const { return *std::min_element(seconds.begin(), seconds.end()); }
  double slowest() const { return *std::max_element(seconds.begin(), seconds.end()); }
};

void check(const StepBenchOptions& o) {
  const auto between = [](const char* option, const std::vector<int>& values, int low, int high) {
    for (const int value : values)
      require_option(value >= low && value <= high, option, fmt::format("between {} and {}", low, high),
                     std::to_string(value));
  };
  between("--batch-size", o.batch_sizes, 2, 65536);
  between("--length", o.lengths, 1, augment::kMaxLength);
  between("--threads", o.threads, 0, 4096);
  between("--leads", {o.leads}, 1, 1024);
  between("--samples", {o.samples}, 1, 1000);
  require_option(o.sampling_rate_hz >= 1 && o.sampling_rate_hz <= 1e5, "--sampling-rate", "between 1 and 100000",
                 fmt::to_string(o.sampling_rate_hz));
  check(o.encoder);
  if (!o.json.empty()) check_file_writable(o.json);
}

// ---- our step

/// Steps as pretrain makes them. They train on views in memory, or on records that views are made of in every step.
class Step {
 public:
  /// captured: where the device has graphs, a step is one.
  Step(const StepBenchOptions& o, const models::SimclrOptions& options, const augment::NamedRecipe& recipe,
       const StepSize& size, Device device, bool captured)
      : queue_(device),
        recipe_(recipe),
        seed_(o.common.seed),
        shape_{size.batch_size, kViews, size.length, size.length, o.leads, augment::Segment::random},
        model_(store_, {.network = options}) {
    store_.allocate(device, seed_);
    model_.start();
    optimizer_ = std::make_unique<Optimizer>(store_, OptimizerOptions{});
    step_ = std::make_unique<models::TrainingStep>(
        store_, model_, *optimizer_,
        [this](const Tensor&, StepNumber number) { return views_ ? views_ : augmented_views(number); },
        models::TrainingStep::Options{
            .batch_size = size.batch_size, .steps_per_epoch = 1, .seed = seed_, .captured = captured});
    for (int n = 0; n < size.batch_size; ++n) input_.ids.push_back(n);
    input_.records = input_.ids;
    if (recipe.name == "none") {
      views_ = random_views(device);
      return;
    }
    const std::vector<std::string> leads = lead_names(o.leads);
    augment::check_applicable(recipe, o.sampling_rate_hz, shape_, leads);
    records_ =
        std::make_unique<RandomRecords>(size.batch_size, size.length, o.leads, o.sampling_rate_hz, seed_, device);
    source_ = records_->source();
    if (recipe.recipe.vcg.p > 0) source_.vcg = augment::vcg_transform(recipe.recipe, leads);
  }

  void prepare() {
    input_.number = optimizer_->steps();
    step_->prepare({&input_, 1});
  }
  void run() { step_->run(); }

  /// One step; returns its seconds.
  double operator()() {
    const auto start = std::chrono::steady_clock::now();
    prepare();
    run();
    const double value = step_->results(0, 1).front().loss;
    if (!std::isfinite(value))
      throw Error(fmt::format("the loss after {} steps of the benchmark is {}", optimizer_->steps(), value));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  Tensor random_views(Device device) const {
    const RandomStream stream(1, Purpose::test);
    std::vector<float> values(static_cast<size_t>(kViews) * static_cast<size_t>(shape_.N) *
                              static_cast<size_t>(shape_.L) * static_cast<size_t>(shape_.C));
    for (size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(static_cast<uint32_t>(i));
    const Shape shape{kViews * shape_.N, shape_.L, shape_.C};
    if (series_type() == DType::f32) return Tensor::from(values, shape, device);
    std::vector<bf16> stored(values.size());
    std::transform(values.begin(), values.end(), stored.begin(), to_bf16);
    return Tensor::from(stored, shape, device);
  }

  Tensor augmented_views(StepNumber number) {
    const Tensor views = Tensor::empty({kViews * shape_.N, shape_.L, shape_.C}, queue_.device(), series_type());
    augment::augment_kernels(queue_.device())
        .views(queue_, shape_, source_, recipe_.recipe, seed_, number, views.series());
    return views;
  }

  Queue queue_;
  const augment::NamedRecipe& recipe_;
  uint64_t seed_;
  augment::ViewShape shape_;
  ParameterStore store_;
  models::ContrastiveObjective model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<models::TrainingStep> step_;
  models::TrainingStep::Input input_{.number = 0, .learning_rate = 1e-3, .progress = 0};
  Tensor views_;  // empty: made of the records
  std::unique_ptr<RandomRecords> records_;
  augment::ViewSource source_{};
};

// ---- measuring

/// What a peer answers.
double seconds_in(const std::string& line) {
  const auto answer = ordered_json::parse(line, nullptr, false);
  if (!answer.is_number()) throw Error(fmt::format("pytorch answered '{}' instead of seconds", line));
  return answer;
}

class StepBench {
 public:
  explicit StepBench(const StepBenchOptions& o)
      : o_(o),
        recipe_(chosen_recipe(o.recipe)),
        simclr_{.encoder = encoder_options(o.encoder, lead_names(o.leads))},
        common_(o.common),
        device_(prepare_to_measure(with_threads(o.threads.front()))),
        precision_(parse_precision(o.common.precision)) {
    prepare_environment_of_workers();
    raise_ceiling();
    require_option(device_ == Device::cuda || std::ranges::count(o.peer_modes, "graphs") == 0, "--peer-modes",
                   "eager or compiled but on cuda", "graphs");
    if (peer_fits() || o.peer == "none")
      peer_ = find_peer(o.peer, common_, why_no_peer_);
    else
      why_no_peer_ = "it has the encoder ECGEncoder1DCNN with 12 leads and width 64 alone";
  }

  void run() {
    print_head();
    for (const int thread_count : o_.threads)
      for (const int length : o_.lengths)
        for (const int batch_size : o_.batch_sizes) {
          set_threads(thread_count);
          prepare_environment_of_workers();
          raise_ceiling();
          for (StepResult& result : measure({batch_size, length, threads()})) {
            print(result);
            results_.push_back(std::move(result));
          }
        }
    print_scaling();
  }

  ordered_json report() const;

 private:
  CommonOptions& with_threads(int count) {
    common_.threads = count;
    return common_;
  }

  /// The peer is written for one encoder; it has no augmentation, which only ours then does.
  bool peer_fits() const {
    return simclr_.encoder.name == models::EncoderOptions{}.name && simclr_.encoder.width == 64 && o_.leads == 12;
  }

  /// Other load on the machine lowers a CPU's ceiling too: the highest of the run counts, for each number of threads.
  void raise_ceiling() {
    double& ceiling = ceilings_[threads()];
    if (device_ == Device::cpu || ceiling == 0)
      ceiling = std::max(ceiling, benchmarks::measure_arithmetic(device_).flop_per_second(precision_));
  }

  /// Multiply-adds of encoder and projector for all views, forward and both gradients, times two.
  double flop_of(const StepSize& size) const {
    const double projector =
        4.0 * simclr_.encoder.width * simclr_.hidden_size + 1.0 * simclr_.hidden_size * simclr_.projection_size;
    const int passes = models::encoder_definition(simclr_.encoder.name).single_leads ? o_.leads : 1;
    return 2.0 * 3 * kViews * size.batch_size *
           (passes * models::multiply_adds(simclr_.encoder, size.length) + projector);
  }

  std::vector<StepResult> measure(const StepSize& size) {
    Step step(o_, simclr_, recipe_, size, device_, device_ == Device::cuda);
    for (int i = 0; i < kWarmUp && device_ != Device::simt; ++i) step();
    std::vector<StepResult> results{{size, "systole", flop_of(size), 0, {}}};
    std::map<std::string, std::unique_ptr<WorkerProcess>> peers;
    for (const std::string& mode : o_.peer_modes) {
      if (!peer_) break;
      const std::string by = mode == "eager" ? "pytorch" : "pytorch " + mode;
      peers[by] = start_peer(size, mode);
      results.push_back({size, by, flop_of(size), 0, {}});
    }
    const auto take_turn = [&](StepResult& result) {
      std::this_thread::sleep_for(kPauseOfTurn);
      if (result.by == "systole") {
        result.seconds.push_back(step());
      } else {
        peers.at(result.by)->send("step");
        result.seconds.push_back(seconds_in(peers.at(result.by)->line()));
      }
    };
    for (int round = 0; round < o_.samples; ++round) {
      if (round % 2 == 0)
        std::for_each(results.begin(), results.end(), take_turn);
      else
        std::for_each(results.rbegin(), results.rend(), take_turn);
    }
    for (StepResult& result : results) evaluate(result, results.front());
    if (o_.profile) {  // of kernels that are launched one by one
      Step watched(o_, simclr_, recipe_, size, device_, false);
      watched();
      results.front().profile = profile_of(device_, o_.samples, [&] { watched(); });
    }
    return results;
  }

  std::unique_ptr<WorkerProcess> start_peer(const StepSize& size, const std::string& mode) const {
    auto process = std::make_unique<WorkerProcess>(
        "pytorch", joined({peer_->python, peer_script("simclr_step.py").string(), "--answer", "--mode", mode,
                           "--warmup", std::to_string(kWarmUp), "--batch-size", std::to_string(size.batch_size),
                           "--length", std::to_string(size.length)},
                          peer_device_arguments(common_)));
    process->line();  // it is ready
    return process;
  }

  void evaluate(StepResult& result, const StepResult& ours) const {
    const double ceiling = ceilings_.at(result.size.threads);
    if (ceiling > 0) result.of_ceiling = result.flop / result.median() / ceiling;
    std::vector<double> ratios;
    for (size_t i = 0; i < result.seconds.size(); ++i) ratios.push_back(result.seconds[i] / ours.seconds[i]);
    result.times_ours = benchmarks::median(ratios);
  }

  // ---- what is said of it

  void print_head() const {
    fmt::print("{}, {}, commit {}\n", benchmarks::machine(device_), name(precision_), o_.commit);
    fmt::print("{} of width {}, views of {} leads, {}\n", simclr_.encoder.name, simclr_.encoder.width, o_.leads,
               recipe_.name == "none" ? "no augmentation"
                                      : fmt::format("made in every step with {}; PyTorch's are ready", recipe_.name));
    const double ceiling = ceilings_.at(threads());
    if (ceiling > 0) fmt::print("ceiling: {:.1f} GFLOP/s by {} threads\n", ceiling / 1e9, threads());
    print_peer(peer_, why_no_peer_, device_, ceiling);
    fmt::print("{:>6} {:>7} {:>8} {:<16} {:>10} {:>7} {:>9} {:>9} {:>8} {:>7}\n", "batch", "length", "threads", "by",
               "ms a step", "spread", "ECG/s", "GFLOP/s", "ceiling", "x ours");
  }

  static void print(const StepResult& r) {
    fmt::print("{:>6} {:>7} {:>8} {:<16} {:>10.2f} {:>6.0f}% {:>9.1f} {:>9.1f} {:>8} {:>7}\n", r.size.batch_size,
               r.size.length, r.size.threads, r.by, 1e3 * r.median(), 100 * (r.slowest() - r.fastest()) / r.median(),
               r.size.batch_size / r.median(), r.flop / r.median() / 1e9,
               r.of_ceiling > 0 ? fmt::format("{:.0f}%", 100 * r.of_ceiling) : "",
               r.by == "systole" ? "" : fmt::format("{:.2f}", r.times_ours));
    for (const ProfileLine& line : r.profile)
      fmt::print("  {:<36} {:>10.2f} ms {:>6.1f} %{:>6} calls\n", line.what, 1e3 * line.seconds, 100 * line.share,
                 line.calls);
    std::fflush(stdout);
  }

  /// Lists of sizes, each against time, the others held.
  void print_scaling() const {
    std::vector<ScalingPoint> points;
    for (const StepResult& r : results_)
      points.push_back({r.by,
                        {{"batch size", r.size.batch_size}, {"length", r.size.length}, {"threads", r.size.threads}},
                        r.median()});
    for (const std::string& line : scaling_lines(points)) fmt::print("{}\n", line);
  }

  const StepBenchOptions& o_;
  augment::NamedRecipe recipe_;
  models::SimclrOptions simclr_;
  CommonOptions common_;
  Device device_;
  Precision precision_;
  std::optional<Peer> peer_;
  std::string why_no_peer_;
  std::map<int, double> ceilings_;  // FLOP/s by number of threads; 0: none
  std::vector<StepResult> results_;
};

ordered_json to_json(const StepResult& r) {
  ordered_json row{{"batch_size", r.size.batch_size},
                   {"length", r.size.length},
                   {"threads", r.size.threads},
                   {"by", r.by},
                   {"seconds", r.median()},
                   {"fastest", r.fastest()},
                   {"slowest", r.slowest()},
                   {"samples", r.seconds.size()},
                   {"times_ours", r.times_ours},
                   {"ecg_per_second", r.size.batch_size / r.median()},
                   {"flop", r.flop}};
  if (r.of_ceiling > 0) row["of_ceiling"] = r.of_ceiling;
  for (const ProfileLine& line : r.profile)
    row["profile"].push_back(
        {{"what", line.what}, {"seconds", line.seconds}, {"share", line.share}, {"calls", line.calls}});
  return row;
}

ordered_json StepBench::report() const {
  ordered_json rows = ordered_json::array(), ceilings = ordered_json::array(), peer{{"missing", why_no_peer_}};
  for (const StepResult& r : results_) rows.push_back(to_json(r));
  for (const auto& [count, rate] : ceilings_) ceilings.push_back({{"threads", count}, {"flop_per_second", rate}});
  if (peer_) peer = {{"name", peer_->name}, {"product_flop_per_second", peer_->product_flop_per_second}};
  return {{"benchmark", "step"},
          {"date", benchmarks::now()},
          {"commit", o_.commit},
          {"run", tools::to_json(o_.common)},
          {"device_text", device_ == Device::cuda ? describe(device_) : benchmarks::processor()},
          {"encoder", tools::to_json(simclr_.encoder)},
          {"augment", recipe_.name},
          {"ceilings", ceilings},
          {"peer", peer},
          {"rows", rows}};
}

/// The table of the launches of one step, as a page.
void print_launches(const StepBenchOptions& o) {
  require_option(!o.profile && o.json.empty() && o.batch_sizes.size() == 1 && o.lengths.size() == 1, "--launches",
                 "one batch size and length, without --profile and --json", "more");
  CommonOptions common = o.common;
  common.device = name(Device::simt);
  const Device device = prepare(common);
  const Precision precision = parse_precision(common.precision);
  const augment::NamedRecipe recipe = chosen_recipe(o.recipe);
  const models::SimclrOptions options{.encoder = encoder_options(o.encoder, lead_names(o.leads))};
  const StepSize size{o.batch_sizes.front(), o.lengths.front(), 1};
  const augment::NamedRecipe none;  // a step keeps a reference
  Step first(o, {.encoder = {o.leads, 1}, .hidden_size = 1, .projection_size = 1}, none, {2, 64, 1}, device, false);
  first();  // what is made once is there from here on
  Step step(o, options, recipe, size, device, false);
  const auto record = [&] {
    step.prepare();
    return launches_of([&] { step.run(); });
  };
  record();  // a first step learns which weights the steps after it pack together
  const StepLaunches launches = record();
  fmt::print(
      "One step of SimCLR on a GPU: {}, width {}, {} records of {} leads and {} samples, two views each, recipe {}, "
      "{}.\n\n{}",
      options.encoder.name, options.encoder.width, size.batch_size, o.leads, size.length, recipe.name, name(precision),
      launches_table(launches, precision));
}

void bench_step(const StepBenchOptions& o) {
  check(o);
  if (o.launches) return print_launches(o);
  StepBench bench(o);
  bench.run();
  if (!o.json.empty()) write_file_atomically(o.json, bench.report().dump(1) + "\n");
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  auto options = std::make_shared<StepBenchOptions>();
  StepBenchOptions& o = *options;
  CLI::App& command = *bench.add_subcommand(
      "step", "The SimCLR training step: views, forward, backward, Adam; with PyTorch's beside it");
  command.add_option("--batch-size", o.batch_sizes, "Records of a step, each with two views")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--length", o.lengths, "Samples of a record and of a view")->delimiter(',')->capture_default_str();
  command.add_option("--threads", o.threads, "CPU threads of the devices cpu and simt, and of the peer; 0 for all")
      ->delimiter(',')
      ->capture_default_str();
  add_recipe_options(command, o.recipe);
  add_encoder_options(command, o.encoder);
  command.add_option("--leads", o.leads, "Leads; with 8 or 12 they have names")->capture_default_str();
  command.add_option("--sampling-rate", o.sampling_rate_hz, "In Hz, for the augmentation")->capture_default_str();
  command.add_option("--samples", o.samples, "Steps that are timed; their median counts")->capture_default_str();
  command.add_flag("--profile", o.profile, "Also where the time of our step goes, kernel by kernel");
  command.add_flag("--launches", o.launches,
                   "Instead of measuring: what a GPU is given in a step, launch by launch, with bytes, FLOP and the "
                   "floors of one H200; nothing is run, no GPU needed");
  command.add_option("--peer", o.peer, "A Python with PyTorch; auto: python3 if it has it; none")
      ->capture_default_str();
  command
      .add_option("--peer-modes", o.peer_modes,
                  "How PyTorch runs: eager, compiled (torch.compile), graphs (cuda: one CUDA graph)")
      ->delimiter(',')
      ->check(CLI::IsMember({"eager", "compiled", "graphs"}))
      ->capture_default_str();
  command.add_option("--json", o.json, "Also write the results to this file");
  command.add_option("--commit", o.commit, "What to name as the measured version")->capture_default_str();
  add_device_options(command, o.common);
  add_convolution_option(command, o.common);
  add_seed_option(command, o.common);
  command.callback([options] { bench_step(*options); });
}

}  // namespace systole::tools
