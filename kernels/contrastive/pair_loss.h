// Losses over pairs of rows: NT-Xent, SupCon, DCL, InfoNCE, MoCo and CLOCS are one family (README.md), computed by
// passes that hold no more than a tile of the similarities.
//
// Rows x_i [A, D] and columns y_j [B, D] of unit length, s_ij = x_i·y_j, c = 1/τ. Whole numbers tell which pairs belong
// together: P_ij = (row_ids[i] == column_ids[j]). Where x and y are rows of one set, a row is no pair with itself.
//   N_ij   = (i, j) is a pair, and is in the denominator: all are, or all but the positives
//   r_i    = Σ_j N_ij exp(c (s_ij − 1))
//   loss_i = log r_i − (1/n_i) Σ_j P_ij c (s_ij − 1),   n_i = Σ_j P_ij
//   loss   = Σ_i g_i loss_i: a mean over the R rows that have one (g_i = 1/R), or over positives (g_i = n_i / Σ n)
// A row with n_i = 0 or r_i = 0 has no loss: it is left out of the mean, and counted. With the constant 1 as offset the
// terms stay in the range of float (exponent.h), and sums over blocks of columns simply add.
//
// All gradients are one product with weights w:  dx_i = c Σ_j w_ij y_j,
//   w_ij = N_ij exp(c (s_ij − 1)) (g_i/r_i + h_j/q_j) − P_ij (g_i/n_i + h_j/m_j)
// g, r, n of a loss with x as rows, h, q, m of a loss with y as rows; either may be absent. Memory is O((A + B)·D).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/table.h"
#include "kernels/contrastive/exponent.h"

namespace systole::kernels {

struct PairShape {
  int A, B, D;  // rows, columns, and the numbers of each
  float temperature;
  bool same_rows = false;                // x and y are rows of one set: first_row + i and first_column + j may be the
  int first_row = 0, first_column = 0;   // same row, and then (i, j) is no pair
  bool positives_in_denominator = true;  // false: DCL
};

/// Throws Error unless A, B, D ≥ 1, the offsets ≥ 0 and the temperature finite and positive.
void check(const PairShape& shape);
std::string text(const PairShape& shape);  // "A 512, B 4096, D 128, temperature 0.07"

/// The same pairs with rows and columns exchanged.
PairShape transposed(const PairShape& shape);

/// What is known of a row after some of its columns: r_i = sum · 2^largest in the scale of exponent.h.
struct PairSums {
  float largest;      // 0 with a constant offset
  float sum;          // 0: nothing is in the denominator
  float positive;     // Σ_j P_ij (s_ij − 1)
  int32_t positives;  // n_i
};

/// What a gradient needs of a row; zeros for a row without a loss.
struct PairRow {
  float log_sum;          // log r_i
  float weight;           // g_i
  float positive_weight;  // g_i / n_i
};

enum class PairMean { rows, positives };

struct PairLossShape {
  int A;
  float temperature;
  PairMean mean;
};
std::string text(const PairLossShape& shape);  // "A 512, temperature 0.07, mean over rows"

struct PairTemperatureShape {
  int A, D;
  float temperature;
  bool both_roles = false;  // dx has a pair twice, as (i, j) and as (j, i)
};
std::string text(const PairTemperatureShape& shape);  // "A 512, D 128, temperature 0.07"

struct PairLossKernels {
  /// x [A, D], y [B, D], row_ids [A], column_ids [B]: sums [A]. To accumulate adds the columns to what is there.
  Entry<"contrastive.pair_sums", void(const PairShape&, const float* x, const float* y, const int32_t* row_ids,
                                      const int32_t* column_ids, PairSums* sums, GradientMode mode)>
      sums;
  /// sums [A] of all columns: loss, one float, 0 where no row has one; rows [A]; left_out, one number: the rows
  /// without.
  Entry<"contrastive.pair_loss",
        void(const PairLossShape&, const PairSums* sums, float* loss, PairRow* rows, int32_t* left_out)>
      loss;
  /// dx [A, D] (+)= upstream · c Σ_j w_ij y_j with rows [A] and columns [B], one of which may be null; upstream is one
  /// float in the device's memory. dy is the same call with everything exchanged.
  Entry<"contrastive.pair_gradient",
        void(const PairShape&, const float* x, const float* y, const int32_t* row_ids, const int32_t* column_ids,
             const PairRow* rows, const PairRow* columns, const float* upstream, float* dx, GradientMode mode)>
      gradient;
  /// ∂loss/∂τ = −(1/τ) Σ_i x_i·dx_i, one float, for the dx that `gradient` wrote with rows alone; half of it for the dx
  /// of one set with both roles, since w_ij and w_ji are then in it as one sum.
  Entry<"contrastive.pair_temperature",
        void(const PairTemperatureShape&, const float* x, const float* dx, float* dtemperature, GradientMode mode)>
      temperature;
};

const PairLossKernels& pair_loss_kernels(Device device);

SYSTOLE_KERNEL_TABLES(PairLossKernels, pair_loss)

/// How the weights of a gradient make their terms: below the first border of exponent.h every row has an offset of its
/// own, log2 r_i, since g_i / r_i in the shifted scale may leave the range of float.
Exponent gradient_exponent_of(float temperature);

}  // namespace systole::kernels
