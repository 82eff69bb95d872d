// systole pretrain: SimCLR on the records of folds 1–8, without their labels.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>
#include <numeric>

#include "data/label_fraction.h"
#include "engine/arena.h"
#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/parallel.h"
#include "models/simclr.h"
#include "tools/command.h"
#include "tools/ecg_data.h"
#include "tools/model_file.h"
#include "tools/progress.h"
#include "tools/recipe_options.h"
#include "tools/run_log.h"
#include "tools/training.h"

namespace systole::tools {
namespace {

struct PretrainOptions {
  CommonOptions common;
  DataOptions data;
  TrainingOptions training{.epochs = 20, .batch_size = 256};
  RecipeOptions augmentation;
  std::string method = "simclr", shuffle = "standard";
  double temperature = 0.07;
  int projection_dim = 128, projection_hidden = 2048, width = 64;
  std::filesystem::path out, save_init;
};

nlohmann::json to_json(const PretrainOptions& o, const augment::NamedRecipe& recipe) {
  nlohmann::json json{{"command", "pretrain"},
                      {"method", o.method},
                      {"training", to_json(o.training)},
                      {"temperature", o.temperature},
                      {"projection_dim", o.projection_dim},
                      {"projection_hidden", o.projection_hidden},
                      {"width", o.width},
                      {"augment", nlohmann::json::parse(augment::to_json(recipe))},
                      {"shuffle", o.shuffle}};
  json.update(to_json(o.common));
  return json;
}

void check(const PretrainOptions& o) {
  check(o.training);
  require_option(o.temperature > 0 && std::isfinite(o.temperature), "--temperature", "positive",
                 fmt::to_string(o.temperature));
  require_option(o.projection_dim >= 1 && o.projection_dim <= 65536, "--projection-dim", "between 1 and 65536",
                 std::to_string(o.projection_dim));
  require_option(o.projection_hidden >= 1 && o.projection_hidden <= 65536, "--projection-hidden", "between 1 and 65536",
                 std::to_string(o.projection_hidden));
  require_option(o.width >= 1 && o.width <= 4096, "--width", "between 1 and 4096", std::to_string(o.width));
  check_writable(o.out);
  check_file_writable(beside(o.out, "metrics.jsonl"));
  if (!o.save_init.empty()) check_writable(o.save_init);
  require_option(o.out != o.save_init, "--save-init", "another file than --out", o.save_init.string());
}

/// The steps of one run. One batch is the unit of work; everything random follows from the seed, the step and the
/// record.
class Pretraining {
 public:
  Pretraining(const PretrainOptions& options, const ViewOptions& views, const data::Dataset& dataset,
              const data::Normalization& normalization, Device device)
      : options_(options),
        views_(views),
        batches_(dataset, normalization, views.length, device),
        arena_(device),
        model_(store_, {.encoder = {.leads = static_cast<int>(dataset.lead_count()), .width = options.width},
                        .hidden_size = options.projection_hidden,
                        .projection_size = options.projection_dim,
                        .temperature = static_cast<float>(options.temperature)}) {
    store_.allocate(device, options.common.seed);
    optimizer_ = std::make_unique<Optimizer>(store_, optimizer_options(options.training));
  }

  void run(std::span<const size_t> records, RunLog& log) {
    const auto batch = static_cast<size_t>(options_.training.batch_size);
    const size_t tail = records.size() % batch;
    // A last batch of one record has no negatives: it is left out.
    const auto steps_per_epoch = static_cast<int64_t>(records.size() / batch + (tail >= 2 ? 1 : 0));
    if (steps_per_epoch == 0) throw Error("contrastive pre-training needs at least two records");
    const Schedule schedule = make_schedule(options_.training, steps_per_epoch);
    const auto strategy = options_.shuffle == "none" ? data::BalanceStrategy::none : data::BalanceStrategy::standard;

    const auto per_epoch = static_cast<int64_t>(records.size() - (tail == 1 ? 1 : 0));
    Progress progress("pretrain", per_epoch * options_.training.epochs, "ECG");
    int64_t done = 0;
    for (int epoch = 0; epoch < options_.training.epochs; ++epoch) {
      const std::vector<size_t> order = data::epoch_order(batches_.dataset(), {records.begin(), records.end()},
                                                          strategy, options_.common.seed, static_cast<uint32_t>(epoch));
      double loss_sum = 0;
      for (int64_t i = 0; i < steps_per_epoch; ++i) {
        const size_t begin = static_cast<size_t>(i) * batch;
        const std::span<const size_t> rows = std::span(order).subspan(begin, std::min(batch, order.size() - begin));
        const double rate = schedule.at(optimizer_->steps());
        const Result result = step(rows, rate);
        loss_sum += result.loss;
        done += static_cast<int64_t>(rows.size());
        progress.update(done, fmt::format("epoch {} loss {:.4f}", epoch + 1, result.loss));
        const int64_t number = optimizer_->steps();
        if (number % options_.training.log_every == 0 || number == 1)
          log.write({{"step", number},
                     {"epoch", epoch + 1},
                     {"loss", result.loss},
                     {"lr", rate},
                     {"gradient_norm", result.gradient_norm},
                     {"ecg_per_second", static_cast<double>(done) / progress.seconds()}});
      }
      log.write({{"epoch", epoch + 1},
                 {"mean_loss", loss_sum / static_cast<double>(steps_per_epoch)},
                 {"seconds", progress.seconds()}});
    }
    progress.finish();
    fmt::print(stderr, "{} ECGs in {}: {:.0f} ECG/s\n", done, clock_text(progress.seconds()),
               static_cast<double>(done) / progress.seconds());
  }

  const ParameterStore& store() const { return store_; }

 private:
  struct Result {
    double loss, gradient_norm;
  };

  Result step(std::span<const size_t> records, double learning_rate) {
    const ArenaScope scope(arena_);
    const Tensor views = batches_.views(records, {.count = 2,
                                                  .recipe = views_.recipe.recipe,
                                                  .segment = views_.segment,
                                                  .seed = options_.common.seed,
                                                  .step = static_cast<uint32_t>(optimizer_->steps())});
    store_.zero_gradients();
    const Tensor loss = model_.loss(views);
    backward(loss);
    const double value = loss.item();  // a wait for the device: once forward and backward pass are on their way
    require_finite("loss", value, optimizer_->steps() + 1);
    const double norm = optimizer_->step(static_cast<float>(learning_rate));
    require_finite("gradient's norm", norm, optimizer_->steps());
    return {value, norm};
  }

  const PretrainOptions& options_;
  const ViewOptions& views_;
  Batches batches_;
  Arena arena_;
  ParameterStore store_;
  models::Simclr model_;
  std::unique_ptr<Optimizer> optimizer_;
};

void pretrain(const PretrainOptions& o) {
  check(o);
  const augment::NamedRecipe recipe = chosen_recipe(o.augmentation);
  const Device device = prepare(o.common);
  const data::Dataset dataset = load(o.data, kTrainingFolds);
  const std::vector<size_t> records = records_of_folds(dataset, kTrainingFolds);
  const data::Normalization normalization = data::measure_normalization(dataset, records);
  const ViewOptions views = view_options(recipe, dataset, o.training.signal_length, 2);
  Pretraining run(o, views, dataset, normalization, device);

  if (!o.save_init.empty())
    write_tensor_file(o.save_init, {{{"encoder", run.store().state(models::Simclr::kEncoderPrefix)},
                                     {"projection_head", run.store().state("projection_head.")}},
                                    ""});
  RunLog log(beside(o.out, "metrics.jsonl"));
  fmt::print(stderr, "{} on {} ECGs of folds 1-8, augmentation {}, views of {} samples, {} parameters, {} threads\n",
             o.method, records.size(), recipe.name, views.length, run.store().parameter_count(), threads());
  run.run(records, log);
  write_model(o.out, run.store(), "encoder", models::Simclr::kEncoderPrefix,
              {.normalization = normalization,
               .signal_length = views.length,
               .label_set = {},
               .classes = {},
               .run = to_json(o, recipe)});
  fmt::print("encoder: {}\nmetrics: {}\n", o.out.string(), beside(o.out, "metrics.jsonl").string());
}

}  // namespace

void add_pretrain(CLI::App& app) {
  auto options = std::make_shared<PretrainOptions>();
  PretrainOptions& o = *options;
  CLI::App& command = *app.add_subcommand("pretrain", "Train an encoder on unlabelled ECGs (folds 1-8)");
  add_signal_options(command, o.data);
  command.add_option("--out", o.out, "Encoder file to write: .pt or .safetensors")->required();
  command.add_option("--method", o.method, "Objective: simclr")
      ->check(CLI::IsMember({"simclr"}))
      ->capture_default_str();
  add_training_options(command, o.training);
  command.add_option("--temperature", o.temperature, "Temperature of NT-Xent")->capture_default_str();
  command.add_option("--projection-dim", o.projection_dim, "Size of the projections")->capture_default_str();
  command.add_option("--projection-hidden", o.projection_hidden, "Hidden units of the projector")
      ->capture_default_str();
  command.add_option("--width", o.width, "Channels of the encoder's first block")->capture_default_str();
  add_recipe_options(command, o.augmentation);
  command.add_option("--shuffle", o.shuffle, "Order of the records: standard (new in every epoch) or none")
      ->check(CLI::IsMember({"standard", "none"}))
      ->capture_default_str();
  command.add_option("--save-init", o.save_init,
                     "Also write the initial weights of encoder and projector to this file");
  add_common_options(command, o.common);
  command.callback([options] { pretrain(*options); });
}

}  // namespace systole::tools
