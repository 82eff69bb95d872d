#include <fmt/format.h>

#include "augment/views.h"

namespace systole::augment {

const std::vector<NamedRecipe>& recipes() {
  static const std::vector<NamedRecipe> all{
      {"none", "no augmentation: all views of a record are equal", {}},
      {"simple",
       "gain, white noise, baseline wander and a time mask",
       {.gain_p = 0.8f,
        .gain_low = 0.7f,
        .gain_high = 1.3f,
        .noise_p = 0.8f,
        .noise_std_low = 0.03f,
        .noise_std_high = 0.3f,
        .wander_p = 0.5f,
        .wander_low = 0.1f,
        .wander_high = 0.5f,
        .mask_p = 0.8f,
        .mask_share_low = 0.05f,
        .mask_share_high = 0.5f}},
  };
  return all;
}

const SimpleRecipe& find_recipe(const std::string& name) {
  std::string known;
  for (const NamedRecipe& r : recipes()) {
    if (r.name == name) return r.recipe;
    known += (known.empty() ? "" : ", ") + std::string(r.name);
  }
  throw UsageError(fmt::format("unknown augmentation recipe '{}'; expected one of {}", name, known));
}

std::string text(const ViewShape& shape) {
  return fmt::format("N {}, V {}, L_in {}, L {}, C {}", shape.N, shape.V, shape.L_in, shape.L, shape.C);
}

const AugmentKernels& augment_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, augment);
}

}  // namespace systole::augment
