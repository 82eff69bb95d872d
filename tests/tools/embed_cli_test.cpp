// systole embed: the numbers of its files, read back by a reader of their own, are those of the encoder.

#include <algorithm>
#include <cstring>
#include <sstream>

#include "engine/arena.h"
#include "tests/tools/run.h"
#include "tools/classifier_training.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

tools::DataOptions few_patients_data() {
  tools::DataOptions options;
  options.root = few_patients();
  return options;
}

struct Matrix {
  size_t rows, columns;
  std::vector<float> values;
};

/// NPY 1.0 by its specification, and nothing but float32 in C order.
Matrix read_npy(const fs::path& path) {
  const std::string bytes = read_file(path);
  REQUIRE(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
  const size_t length = static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  CHECK((10 + length) % 64 == 0);
  const std::string header = bytes.substr(10, length);
  CHECK(header.back() == '\n');
  CHECK(header.find("'descr': '<f4'") != std::string::npos);
  CHECK(header.find("'fortran_order': False") != std::string::npos);
  Matrix m{};
  const size_t shape = header.find("'shape': (");
  REQUIRE(sscanf(header.c_str() + shape, "'shape': (%zu, %zu)", &m.rows, &m.columns) == 2);
  REQUIRE(bytes.size() == 10 + length + m.rows * m.columns * sizeof(float));
  m.values.resize(m.rows * m.columns);
  std::memcpy(m.values.data(), bytes.data() + 10 + length, bytes.size() - 10 - length);
  return m;
}

std::vector<std::vector<std::string>> read_csv(const fs::path& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream text(read_file(path));
  for (std::string line, cell; std::getline(text, line);) {
    rows.emplace_back();
    std::istringstream cells(line + ",");
    while (std::getline(cells, cell, ',')) rows.back().push_back(cell);
  }
  return rows;
}

void check_runs(const std::string& arguments) {
  const Outcome outcome = run(arguments);
  REQUIRE_MESSAGE(outcome.code == 0, arguments << "\n" << outcome.output);
}

std::string embed(const fs::path& checkpoint, const fs::path& out, const std::string& options) {
  return fmt::format("embed --data-root {} --checkpoint {} --out {} --threads 1 {}", few_patients().string(),
                     checkpoint.string(), out.string(), options);
}

/// A classifier of one epoch.
void train(const fs::path& out, const std::string& options) {
  check_runs(fmt::format("supervised --data-root {} --epochs 1 --batch-size 8 --width 2 --threads 1 --out {} {}",
                         few_patients().string(), out.string(), options));
}

/// A classifier's network with the data it was trained on, as evaluate builds it.
struct Evaluated {
  explicit Evaluated(const fs::path& path)
      : file(tools::read_classifier(path)),
        dataset(tools::load(few_patients_data(), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})),
        batches(dataset, *file.description.normalization, tools::view_length(dataset, file.description.signal_length),
                Device::cpu),
        classifier(store, file.description.encoder, file.classes) {
    store.allocate(Device::cpu, 0);
    store.load_state(file.arrays, "", path.string());
  }

  tools::ClassifierFile file;
  data::Dataset dataset;
  tools::Batches batches;
  ParameterStore store;
  models::Classifier classifier;
};

}  // namespace

TEST_CASE("embed: rows are the records' latents, in the order of the table beside them") {
  const TemporaryFolder out;
  train(out / "c.pt", "");
  check_runs(embed(out / "c.pt", out / "x.npy", ""));
  const Matrix x = read_npy(out / "x.npy");
  const auto table = read_csv(out / "x.csv");
  Evaluated model(out / "c.pt");
  REQUIRE(x.rows == model.dataset.records());
  REQUIRE(table.size() == x.rows + 1);
  CHECK(table[0] == std::vector<std::string>{"ecg_id", "patient_id", "fold", "labels"});

  const NoGradient no_gradient;
  for (size_t r = 0; r < x.rows; ++r) {
    const std::vector<size_t> record{r};  // alone: a row does not depend on its batch
    const std::vector<float> latent =
        model.classifier.encoder().latent(model.batches.views(record, {}), Mode::evaluation()).to_vector();
    const std::vector<float> row(x.values.begin() + static_cast<std::ptrdiff_t>(r * x.columns),
                                 x.values.begin() + static_cast<std::ptrdiff_t>((r + 1) * x.columns));
    check_close(row, latent, 1e-6, "latent");
    std::string labels;
    for (size_t c = 0; c < model.dataset.classes.size(); ++c)
      if (model.dataset.label(r, c)) labels += (labels.empty() ? "" : ";") + model.dataset.classes[c];
    CHECK(table[r + 1] == std::vector<std::string>{std::to_string(model.dataset.record_id[r]),
                                                   std::to_string(model.dataset.patient_id[r]),
                                                   std::to_string(model.dataset.fold[r]), labels});
  }
}

TEST_CASE("embed: a table alone holds the same numbers, of the folds asked for") {
  const TemporaryFolder out;
  train(out / "c.pt", "");
  check_runs(embed(out / "c.pt", out / "all.npy", ""));
  check_runs(embed(out / "c.pt", out / "some.csv", "--folds 2,9"));
  const Matrix all = read_npy(out / "all.npy");
  const auto rows = read_csv(out / "all.csv"), some = read_csv(out / "some.csv");
  size_t at = 0;
  for (size_t r = 1; r < rows.size(); ++r) {
    if (rows[r][2] != "2" && rows[r][2] != "9") continue;
    REQUIRE(++at < some.size());
    REQUIRE(some[at].size() == 4 + all.columns);
    CHECK(std::equal(rows[r].begin(), rows[r].end(), some[at].begin()));
    for (size_t d = 0; d < all.columns; ++d) CHECK(std::stof(some[at][4 + d]) == all.values[(r - 1) * all.columns + d]);
  }
  CHECK(at + 1 == some.size());
}

TEST_CASE("embed --slots: the mean over the leads of a record is its latent") {
  const TemporaryFolder out;
  train(out / "c.pt", "--encoder TemporalNet --signal-length 60");
  check_runs(embed(out / "c.pt", out / "mean.npy", "--folds 9"));
  check_runs(embed(out / "c.pt", out / "slots.npy", "--folds 9 --slots"));
  const Matrix mean = read_npy(out / "mean.npy"), slots = read_npy(out / "slots.npy");
  const auto table = read_csv(out / "slots.csv");
  REQUIRE(slots.rows == 12 * mean.rows);
  REQUIRE(table.size() == slots.rows + 1);
  CHECK(table[0].back() == "slot");
  CHECK(table[1].back() == "I");
  CHECK(table[12].back() == "V6");
  CHECK(table[13].front() != table[12].front());
  std::vector<double> means(mean.values.size(), 0);
  for (size_t row = 0; row < slots.rows; ++row)
    for (size_t d = 0; d < mean.columns; ++d)
      means[row / 12 * mean.columns + d] += slots.values[row * mean.columns + d] / 12.0;
  check_close(mean.values, means, 1e-5, "mean over the slots");
}

TEST_CASE("embed: without a normalisation that holds for the data, signals are normalised by the training folds") {
  const TemporaryFolder out;
  train(out / "c.pt", "");  // on all of them
  check_runs(embed(out / "c.pt", out / "c.npy", "--folds 9"));
  const auto check_measured = [&](const TensorFile& file, const std::string& words) {
    write_tensor_file(out / "other.pt", file);
    const Outcome outcome = run(embed(out / "other.pt", out / "other.npy", "--folds 9"));
    REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
    CHECK_MESSAGE(outcome.output.find(words) != std::string::npos, outcome.output);
    CHECK(read_file(out / "other.npy") == read_file(out / "c.npy"));
    CHECK(read_file(out / "other.csv") == read_file(out / "c.csv"));
  };
  TensorFile file = read_tensor_file(out / "c.pt");
  const std::string unit = "\"unit\": \"mV\"";
  REQUIRE(file.metadata.find(unit) != std::string::npos);
  file.metadata.replace(file.metadata.find(unit), unit.size(), "\"unit\": \"NU\"");
  check_measured(file, "they are in mV, the encoder's were in NU");
  file.metadata.clear();
  check_measured(file, "says nothing about preprocessing");
}

TEST_CASE("embed: wrong input is refused, and nothing is written") {
  const TemporaryFolder out;
  train(out / "c.pt", "");
  const auto refused = [&](const std::string& arguments, int code, const std::string& words) {
    const Outcome outcome = run(arguments);
    CHECK(outcome.code == code);
    CHECK_MESSAGE(outcome.output.find(words) != std::string::npos, outcome.output);
  };
  refused(embed(out / "c.pt", out / "x.txt", ""), 2, "--out must be a file with the extension .npy or .csv");
  refused(embed(out / "c.pt", out / "no/x.npy", ""), 1, "does not exist");
  refused(embed(out / "c.pt", out / "x.npy", "--folds 11"), 2, "--folds");
  refused(embed(out / "c.pt", out / "x.npy", "--slots"), 2, "ECGEncoder1DCNN reads all leads together");
  refused(embed(out / "c.metrics.jsonl", out / "x.npy", ""), 1, "c.metrics.jsonl");
  CHECK_FALSE(fs::exists(out / "x.npy"));
  CHECK_FALSE(fs::exists(out / "x.csv"));
}
