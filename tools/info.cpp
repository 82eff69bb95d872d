// systole info: what this build and machine can do.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "augment/views.h"
#include "kernels/common/parallel.h"
#include "models/classifier.h"
#include "models/simclr.h"
#include "tools/command.h"

namespace systole::tools {
namespace {

void print_devices() {
  fmt::print("devices\n");
  for (Device device : kAllDevices)
    fmt::print("  {:<6} {}\n", name(device),
               !is_available(device)   ? "not part of this build"
               : device == Device::cpu ? fmt::format("{} threads", threads())
                                       : "available");
}

void print_encoders() {
  fmt::print("encoders\n");
  ParameterStore encoder_store, simclr_store, classifier_store;
  const models::ECGEncoder1DCNN encoder(encoder_store, "");
  const models::Simclr simclr(simclr_store);
  const models::Classifier classifier(classifier_store, {}, 5);
  fmt::print("  {}: {} parameters, {:.2f} M multiply-adds for 12 x 1000, latent {}\n", models::ECGEncoder1DCNN::kName,
             encoder_store.parameter_count(), models::multiply_adds({}, 1000) / 1e6, encoder.latent_size());
  fmt::print("    with the SimCLR projector {}, with a head of 5 classes {}\n", simclr_store.parameter_count(),
             classifier_store.parameter_count());
}

void info() {
  set_threads(0);
  fmt::print("systole {} ({})\n", SYSTOLE_VERSION, SYSTOLE_BUILD);
  print_devices();
  print_encoders();
  fmt::print("methods\n  simclr   NT-Xent on two views of each record\n");
  fmt::print(
      "classification losses\n  bce, focal (alpha 0.25, gamma 2), weighted (negatives / positives), class_balanced "
      "(beta 0.9999)\n");
  fmt::print("optimisers\n  adam, adamw, sgd, lars\n");
  fmt::print("augmentation recipes\n");
  for (const augment::NamedRecipe& r : augment::recipes()) fmt::print("  {:<8} {}\n", r.name, r.description);
}

}  // namespace

void add_info(CLI::App& app) {
  app.add_subcommand("info", "Devices, encoders, losses and recipes of this build")->callback(info);
}

}  // namespace systole::tools
