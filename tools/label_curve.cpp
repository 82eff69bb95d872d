#include "tools/label_curve.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <set>

#include "engine/checkpoint/atomic_file.h"
#include "tools/label_curve_record.h"
#include "tools/label_curve_report.h"
#include "tools/label_curve_settings.h"
#include "tools/label_curve_summary.h"
#include "tools/label_curve_workers.h"
#include "tools/run_lock.h"

namespace systole::tools {
namespace {

template <class T>
void require_distinct(const std::vector<T>& values, const std::string& option) {
  require_option(!values.empty() && std::set(values.begin(), values.end()).size() == values.size(), option,
                 "a list without repeats", fmt::format("{}", fmt::join(values, ",")));
}

/// As published: 70 up to 1 % of the labels, 50 up to 5 %, 30 up to 10 %, 20 above.
std::vector<int> published_epochs(const std::vector<double>& fractions) {
  std::vector<int> epochs;
  for (double f : fractions) epochs.push_back(f <= 0.01 ? 70 : f <= 0.05 ? 50 : f <= 0.1 ? 30 : 20);
  return epochs;
}

/// One number of epochs stands for all fractions.
void check_epochs(std::vector<int>& epochs, size_t fractions, const std::string& option) {
  if (epochs.size() == 1) epochs.resize(fractions, epochs.front());
  require_option(
      epochs.size() == fractions && std::ranges::all_of(epochs, [](int n) { return n >= 1 && n <= 1'000'000; }), option,
      fmt::format("one number of epochs, or one for each of the {} fractions", fractions),
      fmt::format("{}", fmt::join(epochs, ",")));
}

void require_positive(double rate, const std::string& option) {
  require_option(rate > 0 && std::isfinite(rate), option, "positive", fmt::to_string(rate));
}

/// A folder that is there and can be written to, or that can be made.
void check_folder(std::filesystem::path& folder) {
  if (!folder.has_filename()) folder = folder.parent_path();  // written with a / at the end
  const bool is_there = std::filesystem::is_directory(folder);
  require_option(is_there || !std::filesystem::exists(folder), "--out", "a folder", folder.string());
  if (!is_there) return check_file_writable(folder);
  for (const char* file : {"settings.json", "label_curve.state", "label_curve.run.json"})
    check_file_writable(folder / file);
}

void check(LabelCurveOptions& o) {
  require_distinct(o.fractions, "--fractions");
  require_option(std::ranges::is_sorted(o.fractions) && o.fractions.front() > 0 && o.fractions.back() <= 1,
                 "--fractions", "ascending, above 0 and at most 1", fmt::format("{}", fmt::join(o.fractions, ",")));
  require_distinct(o.seeds, "--seeds");
  require_distinct(o.arms, "--arms");
  if (o.epochs.empty()) o.epochs = published_epochs(o.fractions);
  check_epochs(o.epochs, o.fractions.size(), "--epochs");
  if (o.frozen_epochs.empty()) o.frozen_epochs = o.epochs;
  check_epochs(o.frozen_epochs, o.fractions.size(), "--frozen-epochs");
  require_positive(o.lr_scratch, "--lr-scratch");
  require_positive(o.lr_frozen, "--lr-frozen");
  for (const double decay : o.frozen_weight_decay)
    require_option(decay >= 0 && std::isfinite(decay), "--frozen-weight-decay", "0 or more", fmt::to_string(decay));
  require_positive(o.lr_finetune, "--lr-finetune");
  require_positive(o.lr_head, "--lr-head");
  require_option(o.bootstrap >= 1 && o.bootstrap <= 1'000'000, "--bootstrap", "between 1 and 1000000",
                 std::to_string(o.bootstrap));
  require_option(o.jobs >= 0 && o.jobs <= 4096, "--jobs", "between 0 and 4096", std::to_string(o.jobs));
  TrainingOptions training = o.recipe.training;
  training.epochs = o.epochs.front();
  check(training);
  check(o.encoder);
  if (!o.checkpoints.empty() && o.encoder.is_given())
    throw UsageError("--encoder, --width and --lead-groups go without --ssl-checkpoint: its file says what it holds");
  check_folder(o.out);
}

void write_results(const LabelCurve& curve, LabelCurveRecord& record) {
  const std::vector<LabelCurveResult> results = read_results(curve);
  const nlohmann::ordered_json summary = summarize(curve, results);
  const std::filesystem::path& out = curve.options.out;
  write_file_atomically(out / "label_curve.csv", to_csv(curve, results));
  write_file_atomically(out / "label_curve.json",
                        summary.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  write_label_curve_report(out, summary);
  double seconds = 0;
  for (const LabelCurveResult& result : results) seconds += result.seconds;
  record.finish(seconds);
  fmt::print("{}\nreport: {}\n", to_table(summary), (out / "report.html").string());
}

void label_curve(const CLI::App& command, LabelCurveOptions o) {
  check(o);
  if (o.worker_threads > 0) {
    o.common.threads = o.worker_threads;
    return work_on_label_curve(o);
  }
  const LabelCurve curve = prepare_label_curve(std::move(o));
  std::filesystem::create_directories(curve.options.out / "runs");
  const RunLock lock(curve.options.out / "lock", curve.options.out.string());
  adopt_folder(curve);
  std::vector<LabelCurveRun> missing;
  const std::vector<LabelCurveRun> runs = curve.runs();
  for (const LabelCurveRun& run : runs) {
    if (!read_run(curve, run).is_null()) continue;
    missing.push_back(run);
    remove_temporaries(curve.file(run));
  }
  fmt::print(stderr, "{} of {} runs are to be made: {} arms, {} fractions, {} seeds\n", missing.size(), runs.size(),
             curve.arms.size(), curve.options.fractions.size(), curve.options.seeds.size());
  LabelCurveRecord record(command, curve);
  if (!missing.empty()) record.begin(missing.size());
  make_runs(curve, missing);
  write_results(curve, record);
}

void add_protocol_options(CLI::App& command, LabelCurveOptions& o) {
  command.add_option("--fractions", o.fractions, "Shares of the records of folds 1-8 whose labels are used, ascending")
      ->delimiter(',')
      ->capture_default_str();
  command
      .add_option("--epochs", o.epochs,
                  "Passes over them, one number for each fraction or one for all [default: 70 up to 1 %, 50 up to 5 %, "
                  "30 up to 10 %, 20 above]")
      ->delimiter(',');
  command.add_option("--frozen-epochs", o.frozen_epochs, "The same for frozen encoders [default: --epochs]")
      ->delimiter(',');
  command.add_option("--seeds", o.seeds, "Each draws the labelled records, initial weights and order of its own runs")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--arms", o.arms, "Which of scratch, frozen-random, frozen and finetuned")
      ->delimiter(',')
      ->check(CLI::IsMember({"scratch", "frozen-random", "frozen", "finetuned"}))
      ->capture_default_str();
  command.add_option("--lr-scratch", o.lr_scratch, "Learning rate from scratch")->capture_default_str();
  command
      .add_option("--frozen-weight-decay", o.frozen_weight_decay,
                  "Weight decays of the head on a frozen encoder: fold 9 chooses")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--lr-frozen", o.lr_frozen, "Learning rate of the head on a frozen encoder")
      ->capture_default_str();
  command.add_flag("--probe-first", o.probe_first,
                   "Fine-tuning starts with the head that was trained on the frozen encoder (Kumar et al. 2022)");
  command.add_option("--lr-finetune", o.lr_finetune, "Learning rate of the encoder in fine-tuning")
      ->capture_default_str();
  command.add_option("--lr-head", o.lr_head, "Learning rate of the head in fine-tuning")->capture_default_str();
  command.add_option("--batch-size", o.recipe.training.batch_size, "ECGs per step")->capture_default_str();
  command.add_option("--weight-decay", o.recipe.training.weight_decay, "Weight decay of Adam")->capture_default_str();
  command.add_option("--signal-length", o.recipe.training.signal_length, "Samples per view; 0 for whole records")
      ->capture_default_str();
  add_recipe_options(command, o.recipe);
  command.add_option("--bootstrap", o.bootstrap, "Replicates of the 95 % intervals over test patients")
      ->capture_default_str();
}

}  // namespace

void add_label_curve(CLI::App& app) {
  auto options = std::make_shared<LabelCurveOptions>();
  LabelCurveOptions& o = *options;
  CLI::App& command = *app.add_subcommand("label-curve",
                                          "What pre-trained encoders are worth at which number of labels: runs over "
                                          "fractions, seeds and arms, with report");
  add_data_options(command, o.data);
  command.add_option("--out", o.out, "Folder of the results; what is finished there is not made again")->required();
  command.add_option("--ssl-checkpoint", o.checkpoints,
                     "Encoder files of pretrain, as FILE or NAME=FILE [default: no pre-trained encoder]");
  add_encoder_options(command, o.encoder);
  add_protocol_options(command, o);
  command
      .add_option("--jobs", o.jobs, "Runs at a time, which share the threads; 0: one per thread, on cuda one in all")
      ->capture_default_str();
  command.add_flag_callback(
      "--resume", [] {}, "Go on where the curve was stopped, as it does without this option too");
  command.add_option("--worker-threads", o.worker_threads)->group("");  // a process that make_runs starts
  add_machine_options(command, o.common);
  command.callback([options, &command] { label_curve(command, *options); });
}

}  // namespace systole::tools
