// systole views: a picture of an ECG and two augmented views of it, or of what each augmentation does alone.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/ptbxl.h"
#include "engine/checkpoint/atomic_file.h"
#include "tools/command.h"
#include "tools/ecg_chart.h"
#include "tools/ecg_data.h"
#include "tools/recipe_options.h"

namespace systole::tools {
namespace {

struct ViewsOptions {
  CommonOptions common;
  DataOptions data;
  RecipeOptions augmentation;
  std::optional<int64_t> record;
  bool sheet = false;
  uint32_t step = 0;
  int dots_per_mm = 8;
  std::filesystem::path out;
};

/// The record and its neighbours: from them mixup and CutMix take a partner.
constexpr size_t kBatch = 16;

/// On the sheet, so that what an augmentation does to one beat can be seen.
constexpr double kSheetSeconds = 5;
constexpr int kSheetColumns = 4;

/// One record of a data set and what can be made of it. Views are made as for a run, normalised, and taken back to
/// millivolts: some strengths are counted in the standard deviation of a lead over the training records, and what is
/// masked is the lead's mean.
class Subject {
 public:
  Subject(const ViewsOptions& options)
      : options_(options),
        dataset_(load(options.data, folds(options))),
        normalization_(data::measure_normalization(dataset_, records_of_folds(dataset_, kTrainingFolds))) {
    size_t r = 0;
    if (options.record)
      r = static_cast<size_t>(std::find(dataset_.record_id.begin(), dataset_.record_id.end(), *options.record) -
                              dataset_.record_id.begin());
    if (r == dataset_.records()) refuse_record(options);
    for (size_t i = 0; i < std::min(kBatch, dataset_.records()); ++i) batch_.push_back((r + i) % dataset_.records());
  }

  const data::Dataset& dataset() const { return dataset_; }
  size_t record() const { return batch_.front(); }

  /// `count` views of the record, with the titles left empty.
  std::vector<Ecg> views(const augment::Recipe& recipe, int count, int length, augment::Segment segment) const {
    const Batches batches(dataset_, normalization_, length, Device::cpu);
    const std::vector<float> values = batches
                                          .views(batch_, {.count = count,
                                                          .recipe = recipe,
                                                          .segment = segment,
                                                          .seed = options_.common.seed,
                                                          .step = options_.step})
                                          .to_vector();
    const std::vector<float> unit_mv = millivolts_per_unit(dataset_);
    const size_t C = dataset_.lead_count(), view_size = static_cast<size_t>(length) * C;
    std::vector<Ecg> made;
    for (size_t v = 0; v < static_cast<size_t>(count); ++v) {
      const auto* view = values.data() + v * batch_.size() * view_size;  // the record is the first of the batch
      Ecg ecg{"", "", dataset_.leads, dataset_.sampling_rate_hz, std::vector<float>(view_size)};
      for (size_t i = 0; i < view_size; ++i)
        ecg.samples_mv[i] = unit_mv[i % C] * (view[i] * normalization_.std[i % C] + normalization_.mean[i % C]);
      made.push_back(std::move(ecg));
    }
    return made;
  }

  /// The record as it is.
  Ecg original(int length) const { return views({}, 1, length, augment::Segment::centre).front(); }

  std::string description() const {
    std::vector<std::string> classes;
    for (size_t c = 0; c < dataset_.classes.size(); ++c)
      if (dataset_.label(record(), c)) classes.push_back(dataset_.classes[c]);
    std::string text = fmt::format("Patient {}, fold {}, {} Hz", dataset_.patient_id[record()], dataset_.fold[record()],
                                   dataset_.sampling_rate_hz);
    if (!classes.empty()) text += fmt::format(", {}", fmt::join(classes, " "));
    if (dataset_.unit != "mV")
      text += fmt::format(", unit {}: drawn with a typical voltage for each lead", dataset_.unit);
    return text;
  }

 private:
  [[noreturn]] static void refuse_record(const ViewsOptions& o) {
    throw UsageError(
        fmt::format("--record must be the ecg_id of a record in {}, not {}", o.data.root.string(), *o.record));
  }

  /// Of a record, by its id.
  static std::optional<int> fold_of(const std::filesystem::path& root, int64_t record) {
    if (data::is_pack(root)) {
      const data::PackFile pack(root);
      const data::Dataset& packed = pack.contents().signals;
      const auto found = std::find(packed.record_id.begin(), packed.record_id.end(), record);
      if (found == packed.record_id.end()) return {};
      return packed.fold[static_cast<size_t>(found - packed.record_id.begin())];
    }
    const data::PtbxlMetadata metadata = data::read_ptbxl_metadata(root, data::LabelSet::none);
    for (const data::PtbxlRow& row : metadata.rows)
      if (row.record_id == record) return row.fold;
    return {};
  }

  /// Those of a pre-training run, whose views of the record are then the same, and the record's own.
  static std::vector<int> folds(const ViewsOptions& o) {
    std::vector<int> folds = kTrainingFolds;
    if (!o.record) return folds;
    const std::optional<int> fold = fold_of(o.data.root, *o.record);
    if (!fold) refuse_record(o);
    if (std::find(folds.begin(), folds.end(), *fold) == folds.end()) folds.push_back(*fold);
    return folds;
  }

  const ViewsOptions& options_;
  data::Dataset dataset_;
  data::Normalization normalization_;
  std::vector<size_t> batch_;
};

/// "ssrl: frequency_warp 0.5, mixup 0.4": which augmentations can happen, with their probabilities.
std::string summary(const augment::NamedRecipe& recipe) {
  std::vector<std::string> parts;
  const auto json = nlohmann::ordered_json::parse(augment::to_json(recipe));
  for (const auto& [name, parameters] : json["augmentations"].items())
    parts.push_back(name + " " +
                    (parameters.contains("p") ? parameters["p"].dump() : parameters["seconds"].dump() + " s"));
  return parts.empty() ? recipe.name : fmt::format("{}: {}", recipe.name, fmt::join(parts, ", "));
}

Page page_of_views(const ViewsOptions& o, const augment::NamedRecipe& recipe, const Subject& subject) {
  constexpr int kViews = 2;
  const ViewOptions how = view_options(recipe, subject.dataset(), 0, kViews);
  std::vector<Ecg> ecgs{subject.original(subject.dataset().length)};
  ecgs.front().title = fmt::format("Record {}", subject.dataset().record_id[subject.record()]);
  ecgs.front().subtitle = subject.description();
  for (Ecg& view : subject.views(recipe.recipe, kViews, how.length, how.segment)) {
    view.title = fmt::format("View {}", ecgs.size());
    view.subtitle = fmt::format("seed {}, step {}, {}", o.common.seed, o.step, summary(recipe));
    ecgs.push_back(std::move(view));
  }
  return page_of(std::move(ecgs));
}

/// The leads that the sheet shows: one of each plane's directions, or the first of a data set without them.
std::vector<size_t> sheet_leads(const std::vector<std::string>& leads) {
  std::vector<size_t> chosen;
  for (const char* name : {"II", "V1", "V5"})
    if (const auto at = std::find(leads.begin(), leads.end(), name); at != leads.end())
      chosen.push_back(static_cast<size_t>(at - leads.begin()));
  for (size_t lead = 0; chosen.empty() && lead < std::min<size_t>(3, leads.size()); ++lead) chosen.push_back(lead);
  return chosen;
}

Ecg only_leads(const Ecg& ecg, const std::vector<size_t>& leads) {
  Ecg few{ecg.title, ecg.subtitle, {}, ecg.sampling_rate_hz, {}};
  for (const size_t lead : leads) few.leads.push_back(ecg.leads[lead]);
  for (size_t i = 0; i < ecg.samples_mv.size(); i += ecg.leads.size())
    for (const size_t lead : leads) few.samples_mv.push_back(ecg.samples_mv[i + lead]);
  return few;
}

Page sheet_of_augmentations(const ViewsOptions& o, const Subject& subject) {
  const data::Dataset& dataset = subject.dataset();
  const int length = std::min(dataset.length, static_cast<int>(kSheetSeconds * dataset.sampling_rate_hz));
  const augment::ViewShape shape{1, 1, dataset.length, length, static_cast<int>(dataset.lead_count())};
  const std::vector<size_t> leads = sheet_leads(dataset.leads);
  const Ecg before = only_leads(subject.original(length), leads);
  std::vector<Comparison> panels;
  for (const augment::Augmentation& augmentation : augment::augmentations()) {
    if (std::string_view(augmentation.name) == "crop") continue;  // its default is the whole record
    const augment::NamedRecipe recipe{augmentation.name, augmentation.description, augment::only(augmentation)};
    try {
      augment::check_applicable(recipe, dataset.sampling_rate_hz, shape, dataset.leads);
    } catch (const UsageError& reason) {
      fmt::print(stderr, "left out: {}\n", reason.what());
      continue;
    }
    Ecg after = only_leads(subject.views(recipe.recipe, 1, length, shape.segment).front(), leads);
    after.title = augmentation.name;
    after.subtitle = augmentation.description;
    panels.push_back({before, std::move(after)});
  }
  return sheet_of(
      fmt::format("Record {}, each augmentation alone at its default strength", dataset.record_id[subject.record()]),
      fmt::format("{}, seed {}, step {}", subject.description(), o.common.seed, o.step), std::move(panels),
      kSheetColumns);
}

void views(const ViewsOptions& o) {
  const std::string extension = o.out.extension().string();
  require_option(extension == ".svg" || extension == ".png", "--out", "a file with the extension .svg or .png",
                 o.out.string());
  check_file_writable(o.out);
  const augment::NamedRecipe recipe = chosen_recipe(o.augmentation);
  prepare_host(o.common);
  const Subject subject(o);
  const Page page = o.sheet ? sheet_of_augmentations(o, subject) : page_of_views(o, recipe, subject);
  if (extension == ".svg")
    write_svg(o.out, page);
  else
    write_png(o.out, page, o.dots_per_mm);
  fmt::print("picture: {}\n", o.out.string());
}

}  // namespace

void add_views(CLI::App& app) {
  auto options = std::make_shared<ViewsOptions>();
  ViewsOptions& o = *options;
  CLI::App& command = *app.add_subcommand("views", "Draw an ECG and two augmented views of it");
  add_signal_options(command, o.data);
  o.data.labels.clear();  // those of the data set, for the caption
  command.add_option("--out", o.out, "Picture to write: .svg or .png")->required();
  command.add_option("--record", o.record, "Which record, by its ecg_id; the first one otherwise");
  add_recipe_options(command, o.augmentation);
  command.add_flag("--sheet", o.sheet, "Instead: each augmentation alone, at its default strength")
      ->excludes("--augment", "--recipe");
  command.add_option("--step", o.step, "The step of the training run whose views these are")->capture_default_str();
  command.add_option("--dots-per-mm", o.dots_per_mm, "Resolution of a .png")
      ->check(CLI::Range(1, 40))
      ->capture_default_str();
  add_host_options(command, o.common);
  command.callback([options] { views(*options); });
}

}  // namespace systole::tools
