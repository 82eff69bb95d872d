#include "tools/pretraining_methods.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/lead_selection.h"
#include "kernels/common/error.h"

namespace systole::tools {

const std::vector<PretrainingMethod>& pretraining_methods() {
  static const std::vector<PretrainingMethod> methods{
      {.name = "simclr",
       .meaning = "a projector on the latent and a contrastive loss, see --loss (Chen et al. 2020)",
       .augment = {"strong"}},
      {.name = "byol",
       .meaning = "one view predicts what a slowly following network makes of the other (Grill et al. 2020)",
       .augment = {"strong"}},
      {.name = "clocs",
       .meaning = "leads or segments of a patient against those of others, see --slots (Kiyasseh et al. 2021)",
       .augment = {"vcg"}},
      {.name = "dade",
       .meaning = "all leads of two views, or both streams of two views, against each other (Dade et al. 2026)",
       .augment = {"vcg", "crop.seconds=5"},
       .encoder = "TemporalNet",
       .epochs = 40,
       .batch_size = 512,
       .learning_rate = 1e-4,
       .adam_eps = 1e-4,
       .leads = data::kIndependentLeads},
      {.name = "masked",
       .meaning = "a decoder restores what is masked, 30 % of the time in blocks of 50 samples (SSRL-ECG)",
       .augment = {"none"}},
  };
  return methods;
}

const PretrainingMethod& pretraining_method(const std::string& name) {
  std::vector<std::string> names;
  for (const PretrainingMethod& method : pretraining_methods()) {
    if (name == method.name) return method;
    names.emplace_back(method.name);
  }
  throw UsageError(fmt::format("unknown method '{}'; expected {}", name, fmt::join(names, ", ")));
}

std::string loss_of_slots(const std::string& slots) {
  if (slots == "leads") return "cmlc";
  if (slots == "segments") return "cmsc";
  if (slots == "leads+segments") return "cmsmlc";
  throw UsageError(fmt::format("--slots must be leads, segments or leads+segments, not {}", slots));
}

std::unique_ptr<models::PretrainingObjective> make_objective(ParameterStore& store, ObjectiveOptions options) {
  options.contrastive.network.encoder = options.byol.encoder = options.dade.encoder = options.encoder;
  if (options.method == "byol") return std::make_unique<models::Byol>(store, options.byol);
  if (options.method == "dade") return std::make_unique<models::Dade>(store, options.dade);
  if (options.method == "masked") return std::make_unique<models::MaskedReconstruction>(store, options.encoder);
  return std::make_unique<models::ContrastiveObjective>(store, options.contrastive);
}

}  // namespace systole::tools
