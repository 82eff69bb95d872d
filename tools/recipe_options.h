// --augment and --recipe: which augmentations views get.
#pragma once

#include <string>
#include <vector>

#include "augment/views.h"
#include "data/dataset.h"

namespace CLI {
class App;
}

namespace systole::tools {

struct RecipeOptions {
  std::vector<std::string> augment{"strong"};
  std::string file;
};

/// Adds --augment and --recipe.
void add_recipe_options(CLI::App& command, RecipeOptions& options);

/// The recipe of the file or of the name that --augment begins with, with the changes that follow. Throws UsageError.
augment::NamedRecipe chosen_recipe(const RecipeOptions& options);

/// What a recipe means for the records of a data set.
struct ViewOptions {
  augment::NamedRecipe recipe;
  int length;
  augment::Segment segment;
};

/// The recipe's crop or --signal-length gives the length of a view. Throws UsageError for a recipe that these records
/// cannot have `views` views of.
ViewOptions view_options(const augment::NamedRecipe& recipe, const data::Dataset& dataset, int signal_length,
                         int views);

}  // namespace systole::tools
