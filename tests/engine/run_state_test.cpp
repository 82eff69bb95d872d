#include "engine/checkpoint/run_state.h"

#include "engine/optimizer.h"
#include "kernels/common/error.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using test::sentence_of;
using test::TemporaryFolder;

namespace {

/// A little of everything that a state holds.
struct Model {
  ParameterStore store;
  std::optional<Optimizer> optimizer;
  Tensor ids;
  std::vector<float> best{0, 0, 0};
  int64_t step = 0;
  double loss = 0;

  explicit Model(int64_t width = 3) {
    store.add("weight", {4, width}, Layout::linear, Initializer::fan_in(4));
    store.add_buffer("running_mean", {width}, 0);
    store.add_counter("batches");
    store.allocate(test::device(), 1);
    optimizer.emplace(store, OptimizerOptions{});
    ids = Tensor::from<int32_t>({7, -1}, {2}, test::device());
  }
  void train(int steps) {
    for (int i = 0; i < steps; ++i) {
      const auto count = static_cast<size_t>(store.parameter_count());
      const std::vector<float> gradient = test::random_normal(count, static_cast<uint32_t>(++step));
      store.gradients().copy_from(gradient.data(), store.gradients().bytes());
      loss += optimizer->step(0.01f);
      best[0] = gradient[0];
      const std::vector<int32_t> next{static_cast<int32_t>(step), 5};
      ids.copy_from(next.data(), ids.bytes());
    }
  }
  void show(RunState& state) {
    state.store("model", store);
    optimizer->state(state);
    state.tensor("ids", ids);
    state.numbers("best", best);
    state.number("step", step);
    state.number("loss", loss);
  }
  bool operator==(const Model& other) const {
    return store.values().to_vector() == other.store.values().to_vector() &&
           ids.to_vector<int32_t>() == other.ids.to_vector<int32_t>() && best == other.best && step == other.step &&
           loss == other.loss;
  }
};

void write(const std::filesystem::path& path, Model& model) {
  RunState state;
  model.show(state);
  write_state(path, state, R"({"run": 1})");
}

void read(const StateFile& file, Model& model) {
  RunState state(file.parts, file.path.string());
  model.show(state);
}

}  // namespace

TEST_CASE("run state: what is restored goes on with the same bits") {
  const TemporaryFolder folder;
  Model unbroken, broken, resumed;
  unbroken.train(5);
  broken.train(2);
  write(folder / "state", broken);
  const std::optional<StateFile> file = read_state(folder / "state");
  REQUIRE(file);
  CHECK(file->description == R"({"run": 1})");
  CHECK(file->damage.empty());
  read(*file, resumed);
  CHECK(resumed == broken);
  resumed.train(3);
  CHECK(resumed == unbroken);
}

TEST_CASE("run state: a copy in memory undoes what came after it") {
  Model model, before;
  model.train(2);
  before.train(2);
  RunState copy;
  model.show(copy);
  model.train(1);
  CHECK(!(model == before));
  restore(copy, [&](RunState& state) { model.show(state); });
  CHECK(model == before);
}

TEST_CASE("run state: wherever the newest is cut off or a byte of it changes, the one before it is read") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "state";
  Model model;
  model.train(1);
  write(path, model);
  model.train(1);
  write(path, model);
  const std::string good = test::read_file(path);
  const auto step_read = [&] {
    const std::optional<StateFile> file = read_state(path);
    Model found;
    read(*file, found);
    CHECK(file->damage.empty() == (found.step == 2));
    return found.step;
  };
  CHECK(step_read() == 2);
  for (size_t i = 0; i < good.size(); i += i < 200 ? 1 : 7) {
    std::string damaged = good;
    damaged[i] = static_cast<char>(damaged[i] ^ 1 << i % 8);
    test::write_file(path, damaged);
    CHECK(step_read() == 1);
    test::write_file(path, good.substr(0, i));
    CHECK(step_read() == 1);
  }
  test::write_file(path, good + "x");
  CHECK(step_read() == 1);
  std::filesystem::remove(path);
  CHECK(read_state(path)->damage.empty());  // killed between the two renames: nothing is damaged
  test::write_file(path, "");
  test::write_file(previous_state(path), "systole state 1, ");
  const std::string sentence = sentence_of<Error>([&] { read_state(path); });
  CHECK(sentence.find("state is damaged: it does not begin as a state; ") != std::string::npos);
  CHECK(sentence.find("state.previous is damaged: ") != std::string::npos);
  std::filesystem::remove(path);
  std::filesystem::remove(previous_state(path));
  CHECK(!read_state(path));
}

TEST_CASE("run state: parts of another model are refused by name") {
  const TemporaryFolder folder;
  Model model, other(2);
  write(folder / "state", model);
  const std::optional<StateFile> file = read_state(folder / "state");
  CHECK(sentence_of<Error>([&] { read(*file, other); }).find("'model.values' is of another type or size") !=
        std::string::npos);
  RunState state(file->parts, "x.state");
  std::vector<float> values(1);
  CHECK(sentence_of<Error>([&] { state.numbers("queue", values); }) == "x.state: 'queue' is missing");
}
