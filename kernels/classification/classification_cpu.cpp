// The family of binary cross-entropies on the CPU. With a = −log p = softplus(−x), b = −log(1 − p) = softplus(x):
//   l     = w⁺ y e^(−γb) a + w⁻ (1 − y) e^(−γa) b
//   dl/dx = w⁺ y e^(−γb) (−γ p a − (1 − p)) + w⁻ (1 − y) e^(−γa) (γ (1 − p) b + p)
// since da/dx = −(1 − p) and db/dx = p. Logits are few (records × classes), so every term is computed in double.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/classification/classification.h"
#include "kernels/common/parallel.h"

namespace systole::kernels::cpu {
namespace {

constexpr int64_t kPiece = 1024;  // elements; fixes the order of the sum

struct Element {
  double loss, slope;  // l and dl/dx
};

double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

Element evaluate(double x, double y, double positive_weight, double negative_weight, double gamma) {
  const double a = softplus(-x), b = softplus(x);
  const double p = std::exp(-a), q = std::exp(-b);  // q = 1 − p without cancellation
  const double positive = positive_weight * y * std::exp(-gamma * b);
  const double negative = negative_weight * (1 - y) * std::exp(-gamma * a);
  return {positive * a + negative * b, positive * (-gamma * p * a - q) + negative * (gamma * q * b + p)};
}

/// The inputs of a call; element i of N·C belongs to class i mod C.
struct Inputs {
  const BceShape& shape;
  const float *logits, *targets;                   // [N, C]
  const float *positive_weight, *negative_weight;  // [C] or null

  int64_t count() const { return int64_t{shape.N} * shape.C; }
  Element at(int64_t i) const {
    const int64_t c = i % shape.C;
    return evaluate(logits[i], targets[i], positive_weight ? positive_weight[c] : 1,
                    negative_weight ? negative_weight[c] : 1, shape.gamma);
  }
};

template <class Body>
void for_pieces(int64_t count, const Body& body) {
  parallel_for((count + kPiece - 1) / kPiece,
               [&](int64_t piece) { body(piece, piece * kPiece, std::min((piece + 1) * kPiece, count)); });
}

void bce_forward(Queue&, const BceShape& shape, const float* logits, const float* targets, const float* positive_weight,
                 const float* negative_weight, float* loss) {
  check(shape);
  const Inputs inputs{shape, logits, targets, positive_weight, negative_weight};
  std::vector<double> partial((inputs.count() + kPiece - 1) / kPiece);
  for_pieces(inputs.count(), [&](int64_t piece, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) partial[piece] += inputs.at(i).loss;
  });
  double sum = 0;
  for (double part : partial) sum += part;
  *loss = static_cast<float>(sum / static_cast<double>(inputs.count()));
}

void bce_backward(Queue&, const BceShape& shape, const float* logits, const float* targets,
                  const float* positive_weight, const float* negative_weight, const float* upstream, float* dlogits,
                  GradientMode mode) {
  check(shape);
  const Inputs inputs{shape, logits, targets, positive_weight, negative_weight};
  const double scale = *upstream / static_cast<double>(inputs.count());
  for_pieces(inputs.count(), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto slope = static_cast<float>(scale * inputs.at(i).slope);
      dlogits[i] = mode == GradientMode::accumulate ? dlogits[i] + slope : slope;
    }
  });
}

}  // namespace

extern const ClassificationKernels classification{.bce_forward = bce_forward, .bce_backward = bce_backward};

}  // namespace systole::kernels::cpu
