#include "tools/label_curve_settings.h"

#include <fmt/format.h>
#include <fstream>

#include "engine/checkpoint/atomic_file.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;

/// The settings that a fraction or an encoder brings along.
constexpr const char* kGrowing[] = {"--epochs", "--frozen-epochs", "--ssl-checkpoint"};

std::string dump(const ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace);  // a path need not be UTF-8
}

ordered_json read_json(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  try {
    return ordered_json::parse(file);
  } catch (const nlohmann::json::exception&) {
    throw Error(
        fmt::format("{}: is no file of systole label-curve; move it away, or choose another --out", path.string()));
  }
}

[[noreturn]] void refuse(const LabelCurve& curve, const std::string& key, const ordered_json& there,
                         const ordered_json& here) {
  throw UsageError(fmt::format("--out {}: its runs were made with {} {}, not {}; choose another folder",
                               curve.options.out.string(), key, dump(there), dump(here)));
}

/// Throws where both have a setting and it differs; adds what is new here to `there`.
void merge(const LabelCurve& curve, ordered_json& there, const ordered_json& here) {
  for (const auto& [key, value] : here.items()) {
    const bool grows = std::ranges::find(kGrowing, key) != std::end(kGrowing);
    if (!grows && there.value(key, ordered_json()) != value)
      refuse(curve, key, there.value(key, ordered_json()), value);
    if (!grows) continue;
    for (const auto& [part, part_value] : value.items()) {
      ordered_json& known = there[key][part];
      if (!known.is_null() && known != part_value)
        refuse(curve, fmt::format("{} (for {})", key, part), known, part_value);
      known = part_value;
    }
  }
}

}  // namespace

ordered_json settings_of(const LabelCurve& curve) {
  const LabelCurveOptions& o = curve.options;
  ordered_json settings{{"--data-root", std::filesystem::canonical(o.data.root).string()},
                        {"--labels", curve.dataset.label_set},
                        {"--label-table", o.data.label_table.string()},
                        {"--sampling-rate", o.data.sampling_rate_hz},
                        {"--skip-bad-records", o.data.skip_bad_records},
                        {"--drop-unlabelled", o.data.drop_unlabelled},
                        {"records for training, validation and test",
                         {curve.training.size(), curve.validation.size(), curve.test.size()}},
                        {"classes", curve.dataset.classes},
                        {"encoder", to_json(curve.network)},
                        {"normalisation", ordered_json::parse(data::to_json(curve.normalization))},
                        {"--signal-length", curve.length},
                        {"--lr-scratch", o.lr_scratch},
                        {"--lr-frozen", o.lr_frozen},
                        {"--frozen-weight-decay", o.frozen_weight_decay},
                        {"--probe-first", o.probe_first},
                        {"--lr-finetune", o.lr_finetune},
                        {"--lr-head", o.lr_head},
                        {"--batch-size", o.recipe.training.batch_size},
                        {"--weight-decay", o.recipe.training.weight_decay},
                        {"--loss", o.recipe.loss},
                        {"--balance-strategy", o.recipe.balance_strategy},
                        {"--select", o.recipe.select},
                        {"--device", name(curve.device)},
                        {"--precision", o.common.precision},
                        {"--conv", o.common.convolution}};
  for (const char* key : kGrowing) settings[key] = ordered_json::object();
  for (size_t fraction = 0; fraction < o.fractions.size(); ++fraction) {
    settings["--epochs"][curve.fraction_name(fraction)] = o.epochs[fraction];
    settings["--frozen-epochs"][curve.fraction_name(fraction)] = o.frozen_epochs[fraction];
  }
  for (const PretrainedEncoder& e : curve.encoders) settings["--ssl-checkpoint"][e.name] = e.digest;
  return settings;
}

void adopt_folder(const LabelCurve& curve) {
  const std::filesystem::path path = curve.options.out / "settings.json";
  const ordered_json here = ordered_json::parse(dump(settings_of(curve)));  // as it would be read back
  ordered_json settings = here;
  if (std::filesystem::exists(path)) {
    settings = read_json(path);
    merge(curve, settings, here);
  }
  std::filesystem::create_directories(curve.options.out / "runs");
  write_file_atomically(path, dump(settings, 1) + "\n");
}

ordered_json read_run(const LabelCurve& curve, const LabelCurveRun& run) {
  const std::filesystem::path path = curve.file(run);
  if (!std::filesystem::exists(path)) return nullptr;
  ordered_json result = read_json(path);
  if (!result.contains("probabilities") || result["probabilities"].size() != curve.test.size())
    throw Error(fmt::format("{}: holds no run with {} test records; delete it to have it made again", path.string(),
                            curve.test.size()));
  return result;
}

}  // namespace systole::tools
