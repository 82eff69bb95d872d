// The recipes that have a name. In a field that is not set stands the default of recipe.h.

#include "augment/recipe.h"

namespace systole::augment {
namespace {

/// The seven domain-adaptive augmentations of SSRL-ECG, at their documented rates.
Recipe ssrl() {
  Recipe r;
  r.frequency_warp.p = 0.5f;
  r.mixup.p = 0.4f;
  r.band_pass.p = 0.3f;
  r.cutmix.p = 0.25f;
  r.motion_artifact.p = 0.2f;
  r.lead_noise.p = 0.6f;
  r.temporal_dropout.p = 0.3f;
  return r;
}

/// Dade et al., Heart Rhythm O2 (2026): every view is rotated and scaled, and half of each lead is masked.
Recipe vcg() {
  Recipe r;
  r.vcg.p = 1;
  r.circular_mask.p = 1;
  return r;
}

/// 3KG (Gopal et al., arXiv 2106.04452): axes are only enlarged, leads come back by the pseudo-inverse.
Recipe three_kg() {
  Recipe r = vcg();
  r.vcg.enlarge_p = 1;
  r.vcg.back = 1;
  return r;
}

/// Gain, noise, wander and a mask, all strong.
Recipe simple() {
  Recipe r;
  r.lead_gain = {.p = 0.8f, .factor = {0.7f, 1.3f}};
  r.additive_noise = {.p = 0.8f, .sd = {0.03f, 0.3f}};
  r.motion_artifact = {.p = 0.5f, .amplitude_mv = {0.02f, 0.1f}, .frequency_hz = {0.1f, 0.6f}};
  r.time_mask = {.p = 0.8f, .share = {0.05f, 0.5f}};
  return r;
}

/// simple, with time stretched and cut as well.
Recipe strong() {
  Recipe r = simple();
  r.frequency_warp.p = 0.5f;
  r.crop_resize.p = 0.5f;
  return r;
}

}  // namespace

const std::vector<NamedRecipe>& recipes() {
  static const std::vector<NamedRecipe> all{
      {"none", "no augmentation", {}},
      {"ssrl", "seven domain-adaptive augmentations at their published rates (SSRL-ECG)", ssrl()},
      {"vcg", "the heart's vector rotated and scaled, half of each lead masked (Dade et al. 2026)", vcg()},
      {"3kg", "as vcg, axes only enlarged, back by the pseudo-inverse (3KG)", three_kg()},
      {"simple", "gain, white noise, baseline wander and a time mask, all strong", simple()},
      {"strong", "simple, and time stretched and cut", strong()},
  };
  return all;
}

}  // namespace systole::augment
