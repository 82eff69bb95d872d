// systole check-data: what is wrong with a data set, before a run finds out or, worse, does not.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "data/pack.h"
#include "data/record_check.h"
#include "data/resample.h"
#include "engine/checkpoint/atomic_file.h"
#include "tools/command.h"
#include "tools/ecg_data.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;

constexpr size_t kExamples = 2;
constexpr double kSmallestRangeMv = 0.05, kLargestRangeMv = 50;  // ten times what hearts do

struct CheckOptions {
  CommonOptions common;
  DataOptions data;
  std::filesystem::path json;
};

enum class Severity { bad, leak, note };

/// One kind of finding, and the records that it concerns.
struct Finding {
  const char* name;
  Severity severity;
  const char* meaning;
  struct Item {
    std::string record, detail;
  };
  std::vector<Item> items{};
};

class Findings {
 public:
  void add(std::string_view name, const std::string& record, const std::string& detail) {
    const auto found = std::find_if(all_.begin(), all_.end(), [&](const Finding& f) { return name == f.name; });
    found->items.push_back({record, detail});
  }
  const std::vector<Finding>& all() const { return all_; }
  size_t count(Severity severity) const {
    size_t count = 0;
    for (const Finding& f : all_) count += f.severity == severity ? f.items.size() : 0;
    return count;
  }

 private:
  std::vector<Finding> all_{
      {"unreadable", Severity::bad, "damaged, or refused for what it asks for"},
      {"leads", Severity::bad, "other leads than the 12 standard ones"},
      {"no-values", Severity::bad, "a lead has values in less than half of its samples"},
      {"flat", Severity::bad, "every lead is constant"},
      {"unit", Severity::bad, "another unit than the other records"},
      {"rate", Severity::bad, "another sampling rate than asked for"},
      {"length", Severity::bad, "another length than the other records, or too short"},
      {"same-signal-in-two-folds", Severity::leak, "the samples of a record of another fold"},
      {"patient-in-two-folds", Severity::leak, "another fold than other records of the patient"},
      {"missing", Severity::note, "no header or no sample file: not downloaded"},
      {"same-signal", Severity::note, "the samples of another record of its fold"},
      {"constant-lead", Severity::note, "a lead has one value throughout"},
      {"saturated-lead", Severity::note, "a lead is held at its largest or smallest value"},
      {"gaps", Severity::note, "samples without value, which are interpolated"},
      {"amplitude", Severity::note, "a range that no heart has: a wrong gain or unit"},
      {"resampled", Severity::note, "recorded at another sampling rate"},
      {"cut", Severity::note, "longer than the others: the middle is taken"},
  };
};

constexpr std::string_view kProblemNames[] = {"missing", "unreadable", "leads", "no-values",
                                              "flat",    "unit",       "rate",  "length"};

/// What was found in one signal; records are in the order of their names.
using SignalsByName = std::map<std::string, data::SignalFindings>;

void add_left_out(const data::LoadReport& report, Findings& findings) {
  for (const data::LeftOut& record : report.left_out)
    findings.add(kProblemNames[static_cast<size_t>(record.problem)], record.name, record.sentence);
}

void add_oddities(const std::string& name, const data::SignalFindings& signal, const data::Dataset& dataset,
                  bool is_window, Findings& findings) {
  if (!signal.constant_leads.empty())
    findings.add("constant-lead", name, fmt::format("{}", fmt::join(signal.constant_leads, ", ")));
  if (!signal.saturated_leads.empty())
    findings.add("saturated-lead", name, fmt::format("{}", fmt::join(signal.saturated_leads, ", ")));
  if (signal.invalid_samples) findings.add("gaps", name, fmt::format("{} samples", signal.invalid_samples));
  if (signal.range_mv != 0 && (signal.range_mv < kSmallestRangeMv || signal.range_mv > kLargestRangeMv))
    findings.add("amplitude", name,
                 fmt::format("{:.3g} mV from the smallest to the largest value of a lead", signal.range_mv));
  if (signal.sampling_rate_hz != dataset.sampling_rate_hz)
    findings.add("resampled", name, fmt::format("{} Hz", signal.sampling_rate_hz));
  const int64_t length = data::resampled_length(signal.length, signal.sampling_rate_hz, dataset.sampling_rate_hz);
  if (!is_window && length > dataset.length)
    findings.add("cut", name, fmt::format("{} samples at {} Hz", length, dataset.sampling_rate_hz));
}

/// Records with the samples of an earlier one.
void add_same_signals(const SignalsByName& signals, const std::map<std::string, int>& fold_of, Findings& findings) {
  std::map<uint64_t, std::string> first;
  for (const auto& [name, signal] : signals) {
    const std::string& earlier = first.emplace(signal.fingerprint, name).first->second;
    if (earlier == name) continue;
    const int fold = fold_of.at(name), earlier_fold = fold_of.at(earlier);
    if (fold == earlier_fold)
      findings.add("same-signal", name, fmt::format("as {}, in fold {} too", earlier, fold));
    else
      findings.add("same-signal-in-two-folds", name,
                   fmt::format("in fold {}, as {} in fold {}", fold, earlier, earlier_fold));
  }
}

void add_divided_patients(const data::Dataset& dataset, Findings& findings) {
  std::map<int64_t, size_t> first;
  for (size_t r = 0; r < dataset.records(); ++r) {
    const size_t earlier = first.emplace(dataset.patient_id[r], r).first->second;
    if (dataset.fold[earlier] != dataset.fold[r])
      findings.add("patient-in-two-folds", dataset.record_name[r],
                   fmt::format("patient {}: in fold {}, with {} in fold {}", dataset.patient_id[r], dataset.fold[r],
                               dataset.record_name[earlier], dataset.fold[earlier]));
  }
}

Findings findings_of(const data::Dataset& dataset, const data::LoadReport& report, const SignalsByName& inspected) {
  Findings findings;
  add_left_out(report, findings);
  const bool are_windows = report.what != data::LoadReport().what;  // whose recording is what was inspected
  std::map<std::string, int> fold_of;
  for (size_t r = 0; r < dataset.records(); ++r)
    fold_of[are_windows ? std::to_string(dataset.patient_id[r]) : dataset.record_name[r]] = dataset.fold[r];
  SignalsByName used;  // without those of the records that are left out
  for (const auto& [name, signal] : inspected)
    if (fold_of.count(name)) used.emplace(name, signal);
  for (const auto& [name, signal] : used) add_oddities(name, signal, dataset, are_windows, findings);
  add_same_signals(used, fold_of, findings);
  add_divided_patients(dataset, findings);
  return findings;
}

// --- The report -----------------------------------------------------------------------------------------------------

const char* heading(Severity severity) {
  switch (severity) {
    case Severity::bad:
      return "bad: a run stops at such a record, or leaves it out with --skip-bad-records";
    case Severity::leak:
      return "spoils an evaluation: what is tested was trained on";
    case Severity::note:
      return "worth knowing: used as it is";
  }
  return "";
}

void print_findings(const Findings& findings) {
  for (const Severity severity : {Severity::bad, Severity::leak, Severity::note}) {
    fmt::print("\n{}\n", heading(severity));
    for (const Finding& f : findings.all()) {
      if (f.severity != severity) continue;
      fmt::print("  {:>7}  {:<25} {}\n", f.items.size(), f.name, f.meaning);
      for (size_t i = 0; i < std::min(f.items.size(), kExamples); ++i)
        fmt::print("{:11}{}\n", "", printable(f.items[i].record + ": " + f.items[i].detail));
    }
  }
}

const char* name(Severity severity) {
  return severity == Severity::bad ? "bad" : severity == Severity::leak ? "leak" : "note";
}

ordered_json to_json(const CheckOptions& o, const data::Dataset& dataset, const data::LoadReport& report,
                     const Findings& findings, bool passed) {
  ordered_json json{{"data_root", o.data.root.string()},
                    {"name", dataset.name},
                    {"counted", report.what},
                    {"rows", report.rows},
                    {"usable", dataset.records()},
                    {"length", dataset.length},
                    {"sampling_rate_hz", dataset.sampling_rate_hz},
                    {"unit", dataset.unit},
                    {"leads", dataset.leads},
                    {"passed", passed},
                    {"findings", ordered_json::array()}};
  for (const Finding& f : findings.all()) {
    ordered_json records = ordered_json::array();
    for (const Finding::Item& item : f.items) records.push_back({{"record", item.record}, {"detail", item.detail}});
    json["findings"].push_back({{"name", f.name},
                                {"severity", name(f.severity)},
                                {"meaning", f.meaning},
                                {"count", f.items.size()},
                                {"records", records}});
  }
  return json;
}

void print_summary(const data::Dataset& dataset, const data::LoadReport& report) {
  if (dataset.records() == 0) {
    fmt::print("{} of {} {} can be used\n", 0, report.rows, report.what);
    return;
  }
  const std::set<int64_t> patients(dataset.patient_id.begin(), dataset.patient_id.end());
  const std::set<int> folds(dataset.fold.begin(), dataset.fold.end());
  fmt::print("{}: {} of {} {} can be used, of {} patients in the folds {}; {} leads x {} samples at {} Hz, in {}\n",
             dataset.name, dataset.records(), report.rows, report.what, patients.size(), fmt::join(folds, ", "),
             dataset.lead_count(), dataset.length, dataset.sampling_rate_hz, dataset.unit);
}

void check_data(CheckOptions& o) {
  if (!o.json.empty()) check_file_writable(o.json);
  prepare_host(o.common);
  o.data.skip_bad_records = true;
  std::mutex mutex;
  SignalsByName signals;
  const auto inspect = [&](const std::string& record, const data::WfdbRecord& wfdb) {
    const data::SignalFindings found = data::find_oddities(wfdb);
    const std::lock_guard lock(mutex);
    signals.emplace(record, found);
  };
  data::LoadReport report;
  data::Dataset dataset;
  std::string verdict;
  try {
    dataset = load_reported(o.data, {}, inspect, report);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {  // nothing can be used, and the report says why
    if (report.left_out.empty()) throw;
    verdict = error.what();
  }
  if (data::is_pack(o.data.root))
    for (size_t r = 0; r < dataset.records(); ++r)
      signals.emplace(dataset.record_name[r], data::find_oddities(dataset, r));

  const Findings findings = findings_of(dataset, report, signals);
  print_summary(dataset, report);
  print_findings(findings);
  const size_t bad = findings.count(Severity::bad), leaks = findings.count(Severity::leak);
  if (bad + leaks > 0 && verdict.empty())
    verdict = fmt::format("{}: {} of {} {} are bad, and {} would spoil an evaluation", o.data.root.string(), bad,
                          report.rows, report.what, leaks);
  if (!o.json.empty())
    write_file_atomically(o.json, to_json(o, dataset, report, findings, verdict.empty())
                                          .dump(1, ' ', false, ordered_json::error_handler_t::replace) +
                                      "\n");
  if (!verdict.empty()) throw Error(verdict);
}

}  // namespace

void add_check_data(CLI::App& app) {
  auto options = std::make_shared<CheckOptions>();
  CheckOptions& o = *options;
  CLI::App& command = *app.add_subcommand(
      "check-data",
      "What is wrong with a data set: bad records, signals and patients in two folds, odd leads. Changes nothing; the "
      "exit code is 1 when there are bad records, or records that would spoil an evaluation");
  add_signal_options(command, o.data);
  CLI::Option* root = command.get_option("--data-root");
  command.remove_option(root);
  command.remove_option(command.get_option("--skip-bad-records"));
  command.add_option("DIR", o.data.root, "Folder of a data set, or a file that systole pack wrote")->required();
  command.add_option("--json", o.json, "Also write everything, with the name of every record, into this file");
  add_threads_option(command, o.common);
  command.callback([options] { check_data(*options); });
}

}  // namespace systole::tools
