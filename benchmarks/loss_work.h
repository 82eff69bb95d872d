// How much a step of each loss of models/contrastive_losses.h, forward and backward, has to multiply: the table is in
// loss_work.cpp.
#pragma once

#include <cstdint>
#include <string>

#include "models/contrastive_losses.h"

namespace systole::benchmarks {

/// How many slots a record has in a batch that is measured: two views, or eight leads of one or of two.
int slots_of(const models::LossDefinition& definition);

enum class Compared {
  rows,      ///< M rows with one another
  features,  ///< the D numbers of a row
};

struct LossWork {
  const char* loss;
  Compared what;
  double share;                         // of the M² or D² pairs: what a matrix of the compared ones holds
  double our_products, plain_products;  // by that matrix in a step: Systole's, and one that holds the matrix

  /// Numbers of the matrix, for M rows of D numbers.
  double matrix_size(int M, int D) const;
  /// Operations of so many products: each takes 2·D of them for a pair of rows, 2·M for a pair of features.
  double flop(double products, int M, int D) const;
};

/// Throws Error for a loss that is not in the table.
const LossWork& loss_work(const std::string& loss);

}  // namespace systole::benchmarks
