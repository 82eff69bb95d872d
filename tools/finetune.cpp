// systole finetune: a classifier on a pre-trained encoder (or a random one, as the baseline), with few labels.

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/classifier_command.h"

namespace systole::tools {

void add_finetune(CLI::App& app) {
  auto options = std::make_shared<ClassifierOptions>();
  ClassifierOptions& o = *options;
  o.command = "finetune";
  o.recipe.training = {.epochs = 20, .batch_size = 64};
  o.label_fraction = 0.1;
  CLI::App& command = *app.add_subcommand(
      "finetune", "Train a classifier on a pre-trained encoder with a share of the labels (folds 1-8, selected on 9)");
  command.add_option(
      "--ssl-checkpoint", o.ssl_checkpoint,
      "Encoder file of pretrain; without it the encoder starts at random (with --freeze-encoder: the frozen random "
      "baseline, its BatchNorm statistics taken from the training records)");
  command.add_flag("--freeze-encoder", o.freeze_encoder, "Train the head only; the encoder runs in evaluation mode");
  add_encoder_options(command, o.encoder);
  add_classifier_options(command, o);
  command.add_option("--head-lr", o.recipe.head_learning_rate, "Learning rate of the head [default: --lr]");
  command.callback([options, &command] { train_classifier(command, *options); });
}

}  // namespace systole::tools
