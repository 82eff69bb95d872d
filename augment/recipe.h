// A recipe: which augmentations a view gets, how often and how strong. Written as JSON,
//
//   {"name": "mine", "description": "…", "augmentations": {"frequency_warp": {"p": 0.5, "factor": [0.95, 1.05]}, …}}
//
// where everything that is left out has the default below. Each augmentation happens with its probability p, drawn for
// every record and every view. Two numbers are the ends of a range that is drawn from uniformly. Definitions and
// sources: augment/README.md.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace systole::augment {

struct Range {
  float low = 0, high = 0;
};

/// Plain numbers, handed to kernels by value. Units: Hz, seconds, millivolts, degrees; `share` of the view's length;
/// `sd` in standard deviations of the lead over the training records. In the order in which they are applied.
struct Recipe {
  // When: which samples of the record a view reads.
  struct {
    float seconds = 0;   // length of the view; 0: as long as the caller says
    float disjoint = 0;  // 1: the views of a record do not overlap
  } crop;
  struct {
    float p = 0;
    Range factor{0.95f, 1.05f};
  } frequency_warp;
  struct {
    float p = 0;
    Range speed{0.02f, 0.1f}, cycles{0.5f, 3};
  } time_warp;
  struct {
    float p = 0;
    Range share{0.1f, 0.3f};
  } crop_resize;
  struct {
    float p = 0;
    Range share{-0.1f, 0.1f};
  } time_shift;

  // The heart's vector, and other records.
  struct {
    float p = 0;
    Range angle_deg{-45, 45}, scale{1, 1.5f};
    float enlarge_p = 0.5f;
    float inverse = 0, back = 0;  // positions in the choices of the registry
  } vcg;
  struct {
    float p = 0;
    float alpha = 0.2f;
  } mixup;
  struct {
    float p = 0;
    Range share{0.1f, 0.3f};
  } cutmix;

  // Frequency.
  struct {
    float p = 0;
    Range low_hz{0.5f, 1.5f}, high_hz{40, 60};
  } band_pass;

  // Amplitude.
  struct {
    float p = 0;
    Range factor{0.85f, 1.15f};
  } gain;
  struct {
    float p = 0;
    Range factor{0.5f, 2};
  } amplitude_scale;
  struct {
    float p = 0;
    Range factor{0.8f, 1.2f};
  } lead_gain;
  struct {
    float p = 0;
    Range offset_mv{-0.05f, 0.05f};
  } lead_offset;

  // What is added.
  struct {
    float p = 0;
    Range step_mv{-0.3f, 0.3f};
  } baseline_shift;
  struct {
    float p = 0;
    Range amplitude_mv{0.01f, 0.05f}, frequency_hz{0.5f, 2};
  } motion_artifact;
  struct {
    float p = 0;
    Range amplitude_mv{0.01f, 0.05f};
    float frequency_hz = 50;
  } mains;
  struct {
    float p = 0;
    Range std_mv{0.01f, 0.05f}, share{0.2f, 1};
  } muscle_noise;
  struct {
    float p = 0;
    Range sd{0.03f, 0.03f};
  } additive_noise;
  struct {
    float p = 0;
    Range fraction{0.005f, 0.02f};
  } lead_noise;

  // What is taken away.
  struct {
    float p = 0;
    Range share{0.05f, 0.2f}, segments{1, 3};
  } temporal_dropout;
  struct {
    float p = 0;
    Range share{0.05f, 0.3f};
  } time_mask;
  struct {
    float p = 0;
    Range share{0.05f, 0.3f};
  } cut_out;
  struct {
    float p = 0;
    Range share{0.5f, 0.5f};
  } circular_mask;
  struct {
    float p = 0;
    float lead_p = 0.5f;
  } lead_mask;
  struct {
    float p = 0;
    Range leads{1, 3};
  } lead_dropout;
};

/// One number, range or choice of an augmentation, and where it stands in a Recipe.
struct Parameter {
  enum Kind { number, range, whole_range, choice };
  const char* name;
  Kind kind;
  size_t offset;
  double low, high;  // what is allowed
  std::vector<const char*> choices{};
};

/// What JSON files, options, `systole info` and the sheet of `systole views` know of an augmentation.
struct Augmentation {
  const char* name;
  const char* description;
  std::vector<Parameter> parameters;  // the first is p, but for crop
};
const std::vector<Augmentation>& augmentations();

struct NamedRecipe {
  std::string name;
  std::string description;
  Recipe recipe;
};
const std::vector<NamedRecipe>& recipes();
/// The recipe of this name. Throws UsageError with the names that exist.
const NamedRecipe& find_recipe(const std::string& name);

/// JSON, readable: one augmentation a line, only those that can happen.
std::string to_json(const NamedRecipe& recipe);
/// Throws Error with `source` (a file), the offending name or value and what was expected.
NamedRecipe recipe_from_json(const std::string& text, const std::string& source);
NamedRecipe read_recipe(const std::string& path);

/// Applies one change to a recipe: "no-mixup", "mixup.p=0.3", "frequency_warp.factor=0.9:1.1" or "vcg.inverse=kors".
/// Throws UsageError.
void change(NamedRecipe& recipe, const std::string& text);

/// The recipe with one augmentation alone, at p = 1 and its default strength.
Recipe only(const Augmentation& augmentation);

}  // namespace systole::augment
