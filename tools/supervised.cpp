// systole supervised: the same classifier from scratch, the baseline of every pre-training.

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/classifier_command.h"

namespace systole::tools {

void add_supervised(CLI::App& app) {
  auto options = std::make_shared<ClassifierOptions>();
  ClassifierOptions& o = *options;
  o.command = "supervised";
  o.recipe.training = {.epochs = 30, .batch_size = 64};
  o.recipe.loss = "bce";
  o.recipe.balance_strategy = "standard";
  CLI::App& command = *app.add_subcommand("supervised", "Train a classifier from scratch (folds 1-8, selected on 9)");
  add_encoder_options(command, o.encoder);
  add_classifier_options(command, o);
  command.callback([options, &command] { train_classifier(command, *options); });
}

}  // namespace systole::tools
