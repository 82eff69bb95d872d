#include "tools/bench_loss_batch.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <string_view>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

namespace systole::tools {
namespace {

constexpr int32_t kNobody = -1;

template <class T>
void write_values(const std::filesystem::path& path, const std::vector<T>& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!file.flush()) throw Error(fmt::format("{} could not be written", path.string()));
}

/// Fills a tensor from a file, in pieces: a copy of the whole would count as memory that the loss takes.
void read_values(const std::filesystem::path& path, int64_t first, const Tensor& tensor) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(first * static_cast<std::streamoff>(sizeof(float)));
  std::vector<float> piece(1 << 16);
  for (int64_t done = 0; done < tensor.count(); done += static_cast<int64_t>(piece.size())) {
    const int64_t count = std::min(tensor.count() - done, static_cast<int64_t>(piece.size()));
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    if (!file.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(bytes)))
      throw Error(fmt::format("{} is too short", path.string()));
    tensor.slice(done, {count}).copy_from(piece.data(), bytes);
  }
}

std::vector<int32_t> read_ids(const LossBatch& batch) {
  std::vector<int32_t> ids(static_cast<size_t>(batch.M));
  std::ifstream file(batch.ids, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(ids.data()), static_cast<std::streamsize>(ids.size() * sizeof(int32_t))))
    throw Error(fmt::format("{} is too short", batch.ids.string()));
  return ids;
}

/// Every row is √½ · (its record's part) + √½ · (its own), but for those of the queue.
std::vector<float> random_rows(const LossBatch& batch, uint64_t seed) {
  const int64_t N = batch.records(), D = batch.D, queued = batch.slots == 2 ? N : 0;
  const RandomStream of_row(seed, Purpose::test, 0), of_record(seed, Purpose::test, 1);
  std::vector<float> rows(static_cast<size_t>((batch.M + queued) * D));
  parallel_for(batch.M + queued, [&](int64_t row) {
    for (int64_t d = 0; d < D; ++d) {
      float& value = rows[static_cast<size_t>(row * D + d)];
      value = of_row.normal(static_cast<uint32_t>(row * D + d));
      if (row < batch.M) value = std::sqrt(0.5f) * (value + of_record.normal(static_cast<uint32_t>(row % N * D + d)));
    }
  });
  return rows;
}

std::vector<int32_t> ids_of(const LossBatch& batch, models::Positives positives) {
  std::vector<int32_t> ids(static_cast<size_t>(batch.M));
  for (int row = 0; row < batch.M; ++row) {
    const int record = row % batch.records();
    ids[row] = positives == models::Positives::patient ? record / 3 * 2 + (record % 3 == 2) : record;
  }
  return ids;
}

bool has_keys(const models::LossDefinition& loss) {
  return std::string_view(loss.name) == "moco";
}

}  // namespace

LossBatch write_batch(const std::filesystem::path& folder, const models::LossDefinition& loss, int slots, int M, int D,
                      uint64_t seed) {
  const char* whose = loss.positives == models::Positives::patient ? "patients" : "records";
  const LossBatch batch{M, D, slots, folder / fmt::format("rows_{}x{}x{}.f32", slots, M, D),
                        folder / fmt::format("{}_{}x{}.i32", whose, slots, M)};
  if (!std::filesystem::exists(batch.rows)) write_values(batch.rows, random_rows(batch, seed));
  if (!std::filesystem::exists(batch.ids)) write_values(batch.ids, ids_of(batch, loss.positives));
  return batch;
}

models::ViewBatch read_batch(const LossBatch& batch, const models::LossDefinition& loss, Device device) {
  const int64_t N = batch.records(), D = batch.D;
  std::vector<int32_t> ids = read_ids(batch);
  if (!has_keys(loss)) {
    const models::ViewBatch views{Tensor::empty({batch.M, D}, device), Tensor::from(ids, {batch.M}, device),
                                  batch.slots};
    read_values(batch.rows, 0, views.x);
    return views;
  }
  const std::vector<int32_t> query_ids(ids.begin(), ids.begin() + N);
  std::fill(ids.begin() + N, ids.end(), kNobody);
  const models::ViewBatch queries{Tensor::empty({N, D}, device), Tensor::from(query_ids, {N}, device), 1,
                                  Tensor::empty({2 * N, D}, device), Tensor::from(ids, {2 * N}, device)};
  read_values(batch.rows, 0, queries.x);
  read_values(batch.rows, N * D, queries.keys);
  return queries;
}

models::ViewBatch small_batch(const models::LossDefinition& loss, int slots, int D, Device device) {
  constexpr int64_t kRecords = 4;
  const int64_t rows = has_keys(loss) ? kRecords : slots * kRecords;
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i % kRecords);
  models::ViewBatch batch{Tensor::zeros({rows, D}, device), Tensor::from(ids, {rows}, device), slots};
  if (has_keys(loss)) batch.keys = batch.x, batch.key_ids = batch.ids;
  return batch;
}

}  // namespace systole::tools
