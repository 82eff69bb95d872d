#include "models/embedding_quality.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <vector>

namespace systole::models {
namespace {

/// Some rows of each slot, as unit vectors.
class UnitRows {
 public:
  UnitRows(const Tensor& x, int64_t records)
      : slots(x.dim(0) / records), rows(std::min(records, EmbeddingQuality::kRecords)), size_(x.dim(1)) {
    const std::vector<float> values = x.to_vector();
    for (int64_t slot = 0; slot < slots; ++slot)
      for (int64_t row = 0; row < rows; ++row) {
        const float* from = values.data() + (slot * records + row) * size_;
        double squares = 0;
        for (int64_t d = 0; d < size_; ++d) squares += double{from[d]} * from[d];
        const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
        for (int64_t d = 0; d < size_; ++d) z_.push_back(static_cast<float>(scale * from[d]));
      }
  }

  const float* row(int64_t slot, int64_t record) const { return z_.data() + (slot * rows + record) * size_; }
  double squared_distance(const float* a, const float* b) const {
    double sum = 0;
    for (int64_t d = 0; d < size_; ++d) sum += double{a[d] - b[d]} * (a[d] - b[d]);
    return sum;
  }
  double variance(int64_t slot) const {
    double length = 0;
    for (int64_t d = 0; d < size_; ++d) {
      double mean = 0;
      for (int64_t r = 0; r < rows; ++r) mean += row(slot, r)[d];
      length += std::pow(mean / static_cast<double>(rows), 2);
    }
    return 1 - length;
  }

  int64_t slots, rows;

 private:
  int64_t size_;
  std::vector<float> z_;  // [slots, rows, D]
};

}  // namespace

EmbeddingQuality embedding_quality(const Tensor& embeddings, int64_t records) {
  if (records < 2 || embeddings.dim(0) < 2 * records || embeddings.dim(0) % records != 0)
    throw Error(fmt::format("the quality of embeddings {} of {} records: whole slots were expected, two at least",
                            embeddings.shape().text(), records));
  const UnitRows z(embeddings, records);
  const auto slots = static_cast<double>(z.slots), rows = static_cast<double>(z.rows);
  double distances = 0, potential = 0, variance = 0;
  for (int64_t a = 0; a < z.slots; ++a) {
    for (int64_t b = 0; b < a; ++b)
      for (int64_t r = 0; r < z.rows; ++r) distances += z.squared_distance(z.row(a, r), z.row(b, r));
    for (int64_t i = 0; i < z.rows; ++i)
      for (int64_t j = 0; j < i; ++j) potential += std::exp(-2 * z.squared_distance(z.row(a, i), z.row(a, j)));
    variance += z.variance(a);
  }
  return {distances / (slots * (slots - 1) / 2 * rows), std::log(potential / (slots * rows * (rows - 1) / 2)),
          variance / slots};
}

}  // namespace systole::models
