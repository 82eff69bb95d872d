// A network that gives every ECG the same embedding has learnt nothing: a word about it, once.
#pragma once

#include <cstdint>

namespace systole::tools {

/// NT-Xent of `records` records when all embeddings are equal, or of no direction at all: log(2N − 1).
double collapsed_nt_xent(int64_t records);

/// Looks at the figures of an epoch (0: the first, in which networks that have just begun look the same).
class CollapseWarning {
 public:
  /// The mean loss of an epoch, and what it would be without any learning: within 1 % of it.
  void look_at_loss(double mean_loss, double collapsed_loss, int64_t epoch);
  /// models::EmbeddingQuality::variance: below 0.001.
  void look_at_variance(double variance, int64_t epoch);

 private:
  bool said_loss_ = false, said_variance_ = false;
};

}  // namespace systole::tools
