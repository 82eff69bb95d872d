// What the embeddings of a batch look like, whatever loss made them (Wang and Isola, "Understanding Contrastive
// Representation Learning through Alignment and Uniformity on the Hypersphere", ICML 2020), on unit vectors z:
//
//   alignment    mean of |z_a − z_b|² over the slots a, b of one record       0: positives coincide
//   uniformity   log of the mean of exp(−2 |z_i − z_j|²) over the records i, j of one slot
//                                                                             0: one point; the lower, the more spread
//   variance     1 − |mean z|², the mean over the slots                       0: one point; 1: spread around 0
//
// On the host, in double, over the first kRecords records of the batch: D · kRecords² / 2 multiply-adds for each slot.
#pragma once

#include <cstdint>

#include "engine/tensor.h"

namespace systole::models {

struct EmbeddingQuality {
  static constexpr int64_t kRecords = 128;

  double alignment, uniformity, variance;
};

/// embeddings [slots · records, D], slot after slot, of two slots and two records at least.
EmbeddingQuality embedding_quality(const Tensor& embeddings, int64_t records);

}  // namespace systole::models
