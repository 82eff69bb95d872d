// What the runs of a label curve share: encoders that go together, arms, data, and the list of runs.

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <iterator>
#include <set>

#include "tools/label_curve.h"

namespace systole::tools {
namespace {

/// FNV-1a, 64 bits (RFC 9923), of a file's bytes: tells whether a file is still the one that a run began with.
std::string digest_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  uint64_t hash = 0xcbf29ce484222325;
  for (auto byte = std::istreambuf_iterator<char>(file); byte != std::istreambuf_iterator<char>(); ++byte)
    hash = (hash ^ static_cast<unsigned char>(*byte)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

/// FILE or NAME=FILE. A file's own name may contain a '=': what exists is a file.
PretrainedEncoder read_checkpoint(const std::string& text) {
  const size_t at = std::filesystem::exists(text) ? std::string::npos : text.find('=');
  const std::filesystem::path path = at == std::string::npos ? text : text.substr(at + 1);
  const std::string name = at == std::string::npos ? path.stem().string() : text.substr(0, at);
  const bool fits = !name.empty() && name != "random" && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '+';
  });
  require_option(fits, "--ssl-checkpoint",
                 "FILE or NAME=FILE with a name of letters, digits and . + - _, other than random", text);
  return {name, path, read_encoder(path), digest_of(path)};
}

/// Throws unless an encoder can stand in one curve with the first: the arms are to differ in nothing but the weights.
/// Without a --signal-length, views are as long as those that the encoders were trained on.
void check_go_together(const PretrainedEncoder& a, const PretrainedEncoder& b, int signal_length) {
  const auto refuse = [&](const std::string& what, const std::string& of_a, const std::string& of_b) {
    throw UsageError(
        fmt::format("--ssl-checkpoint: the encoders of one label curve must have the same {}; {} has {}, {} has {}",
                    what, a.path.string(), of_a, b.path.string(), of_b));
  };
  const Description& x = a.file.description;
  const Description& y = b.file.description;
  if (to_json(x.encoder) != to_json(y.encoder))
    refuse("architecture", to_json(x.encoder).dump(), to_json(y.encoder).dump());
  if (signal_length == 0 && x.signal_length != y.signal_length)
    refuse("input length (--signal-length chooses one)", std::to_string(x.signal_length),
           std::to_string(y.signal_length));
  if (x.normalization != y.normalization) {
    const auto text = [](const Description& d) {
      return d.normalization ? data::to_json(*d.normalization) : std::string("none");
    };
    refuse("normalisation", text(x), text(y));
  }
}

std::vector<PretrainedEncoder> read_checkpoints(const std::vector<std::string>& checkpoints, int signal_length) {
  std::vector<PretrainedEncoder> encoders;
  std::set<std::string> names;
  for (const std::string& text : checkpoints) {
    encoders.push_back(read_checkpoint(text));
    require_option(names.insert(encoders.back().name).second, "--ssl-checkpoint",
                   "encoders with different names (NAME=FILE)", fmt::format("'{}' twice", encoders.back().name));
    check_go_together(encoders.front(), encoders.back(), signal_length);
  }
  return encoders;
}

std::vector<Arm> make_arms(const LabelCurveOptions& o, const std::vector<PretrainedEncoder>& encoders) {
  const auto wanted = [&](const char* arm) { return std::ranges::count(o.arms, arm) > 0; };
  std::vector<Arm> arms;
  if (wanted("scratch")) arms.push_back({Arm::Kind::scratch, "scratch", "from scratch"});
  if (wanted("frozen-random")) arms.push_back({Arm::Kind::frozen, "frozen-random", "frozen, random encoder"});
  for (const PretrainedEncoder& e : encoders) {
    if (wanted("frozen"))
      arms.push_back({Arm::Kind::frozen, "frozen-" + e.name, fmt::format("{}, frozen", e.name), &e});
    if (wanted("finetuned"))
      arms.push_back({Arm::Kind::finetuned, "finetuned-" + e.name, fmt::format("{}, fine-tuned", e.name), &e});
  }
  require_option(!arms.empty(), "--arms", "such that something is left to train",
                 fmt::format("{} without --ssl-checkpoint", fmt::join(o.arms, ",")));
  return arms;
}

}  // namespace

std::vector<LabelCurveRun> LabelCurve::runs() const {
  std::vector<LabelCurveRun> runs;
  for (size_t fraction = 0; fraction < options.fractions.size(); ++fraction)
    for (uint64_t seed : options.seeds)
      for (size_t arm = 0; arm < arms.size(); ++arm) runs.push_back({arm, fraction, seed});
  return runs;
}

int LabelCurve::epochs(Arm::Kind kind, size_t fraction) const {
  return (kind == Arm::Kind::frozen ? options.frozen_epochs : options.epochs)[fraction];
}

std::string LabelCurve::fraction_name(size_t fraction) const {
  return fmt::format("{}", options.fractions[fraction]);
}

std::filesystem::path LabelCurve::file(const LabelCurveRun& run) const {
  return options.out / "runs" / run_file_name(arms[run.arm].name, options.fractions[run.fraction], run.seed);
}

std::string run_file_name(const std::string& arm, double fraction, uint64_t seed) {
  return fmt::format("{}_{}_{}.json", arm, fraction, seed);
}

LabelCurve prepare_label_curve(LabelCurveOptions o) {
  LabelCurve curve;
  curve.device = prepare(o.common);
  curve.encoders = read_checkpoints(o.checkpoints, o.recipe.training.signal_length);
  curve.arms = make_arms(o, curve.encoders);
  const Description* encoder = curve.encoders.empty() ? nullptr : &curve.encoders.front().file.description;
  if (encoder) adopt_signals(*encoder, o.data);

  std::vector<int> folds = kTrainingFolds;
  folds.insert(folds.end(), {kValidationFold, kTestFold});
  curve.dataset = load(o.data, folds);
  require_classes(curve.dataset);
  curve.training = records_of_folds(curve.dataset, kTrainingFolds);
  curve.validation = records_of_folds(curve.dataset, {kValidationFold});
  curve.test = records_of_folds(curve.dataset, {kTestFold});
  // Where no encoder brings its own, that of all training records, for all fractions: it takes no labels.
  curve.normalization =
      normalization_for(curve.dataset, curve.training, encoder ? encoder->normalization : std::nullopt);
  curve.network = encoder ? encoder->encoder : encoder_options(o.encoder, curve.dataset.leads);
  const int asked = o.recipe.training.signal_length;
  curve.length = encoder ? view_length(curve.dataset, *encoder, asked) : view_length(curve.dataset, asked);
  if (encoder) check_leads(curve.network, curve.dataset, curve.encoders.front().path.string());
  curve.options = std::move(o);
  return curve;
}

}  // namespace systole::tools
