#include "tools/recipe_options.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/format.h>

#include "tools/command.h"
#include "tools/ecg_data.h"

namespace systole::tools {

void add_recipe_options(CLI::App& command, RecipeOptions& options) {
  command
      .add_option(
          "--augment", options.augment,
          "Augmentation recipe (systole info lists them), then changes to it: no-NAME, NAME.p=0.3, NAME.RANGE=low:high")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--recipe", options.file, "Augmentation recipe in a JSON file, instead of a recipe's name");
}

augment::NamedRecipe chosen_recipe(const RecipeOptions& options) {
  const bool from_file = !options.file.empty();
  augment::NamedRecipe recipe = from_file ? augment::read_recipe(options.file) : augment::find_recipe("strong");
  // With a file, the default of --augment stands for nothing.
  bool first = true;
  for (const std::string& text : options.augment) {
    const bool is_change = text.starts_with("no-") || text.find('=') != std::string::npos;
    if (is_change) {
      augment::change(recipe, text);
    } else {
      require_option(first, "--augment", "one recipe followed by changes", fmt::format("a second recipe, {}", text));
      for (const augment::Augmentation& a : augment::augmentations())
        require_option(text != a.name || text == "vcg", "--augment", "a recipe, then changes to it",
                       fmt::format("the augmentation {} (after a recipe, {}.p=0.5 adds it)", text, text));
      if (!from_file) recipe = augment::find_recipe(text);
    }
    first = false;
  }
  return recipe;
}

ViewOptions view_options(const augment::NamedRecipe& recipe, const data::Dataset& dataset, int signal_length,
                         int views) {
  const float seconds = recipe.recipe.crop.seconds;
  ViewOptions options{recipe, dataset.length, augment::Segment::random};
  if (seconds > 0) {
    options.length = static_cast<int>(std::lround(seconds * dataset.sampling_rate_hz));
    require_option(signal_length == 0 || signal_length == options.length, "--signal-length",
                   fmt::format("{}, the {} s of the recipe's crop", options.length, seconds),
                   std::to_string(signal_length));
    if (recipe.recipe.crop.disjoint != 0) options.segment = augment::Segment::disjoint;
  } else {
    options.length = view_length(dataset, signal_length);
  }
  augment::check_applicable(
      recipe, dataset.sampling_rate_hz,
      {1, views, dataset.length, options.length, static_cast<int>(dataset.lead_count()), options.segment},
      dataset.leads);
  return options;
}

}  // namespace systole::tools
