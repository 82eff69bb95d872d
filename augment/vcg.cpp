// The heart's vector from leads and back, by published regressions.

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/views.h"
#include "kernels/common/error.h"

namespace systole::augment {
namespace {

constexpr int kIndependent = 8;  // I, II, V1 … V6; the other limb leads follow from I and II
constexpr const char* kNames[kIndependent] = {"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"};
using Matrix = double[3][kIndependent];

/// Edenbrandt and Pahlm, "Vectorcardiogram synthesized from a 12-lead ECG: superiority of the inverse Dower matrix", J.
/// Electrocardiol. 21 (1988).
constexpr Matrix kInverseDower = {{0.156, -0.010, -0.172, -0.074, 0.122, 0.231, 0.239, 0.194},
                                  {-0.227, 0.887, 0.057, -0.019, -0.106, -0.022, 0.041, 0.048},
                                  {0.022, 0.102, -0.229, -0.310, -0.246, -0.063, 0.055, 0.108}};
/// Kors et al., "Reconstruction of the Frank vectorcardiogram from standard electrocardiographic leads", Eur. Heart J.
/// 11 (1990): regression.
constexpr Matrix kInverseKors = {{0.38, -0.07, -0.13, 0.05, -0.01, 0.14, 0.06, 0.54},
                                 {-0.07, 0.93, 0.06, -0.02, -0.05, 0.06, -0.17, 0.13},
                                 {0.11, -0.23, -0.43, -0.06, -0.14, -0.20, -0.11, 0.31}};
/// Dower, Machado, Osborne, "On deriving the electrocardiogram from vectorcardiographic leads", Clin. Cardiol. 3
/// (1980).
constexpr Matrix kDower = {{0.632, 0.235, -0.515, 0.044, 0.882, 1.213, 1.125, 0.831},
                           {-0.235, 1.066, 0.157, 0.164, 0.098, 0.127, 0.127, 0.076},
                           {0.059, -0.132, -0.917, -1.387, -1.277, -0.601, -0.086, 0.230}};

/// Limb leads as weights of I and II: Einthoven, Goldberger.
struct Derived {
  const char* name;
  double of_I, of_II;
};
constexpr Derived kDerived[] = {{"III", -1, 1}, {"AVR", -0.5, -0.5}, {"AVL", 1, -0.5}, {"AVF", -0.5, 1}};

/// B⁺ᵀ = (B Bᵀ)⁻¹ B of a 3 × 8 matrix B of full rank: its rows are the columns of the pseudo-inverse.
void pseudo_inverse_transposed(const Matrix& b, Matrix& out) {
  double g[3][3] = {};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      for (int l = 0; l < kIndependent; ++l) g[i][j] += b[i][l] * b[j][l];
  const auto cofactor = [&](int i, int j) {
    const int i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3, j2 = (j + 2) % 3;
    return g[i1][j1] * g[i2][j2] - g[i1][j2] * g[i2][j1];
  };
  const double determinant = g[0][0] * cofactor(0, 0) + g[0][1] * cofactor(0, 1) + g[0][2] * cofactor(0, 2);
  for (int i = 0; i < 3; ++i)
    for (int l = 0; l < kIndependent; ++l) {
      out[i][l] = 0;
      for (int j = 0; j < 3; ++j) out[i][l] += cofactor(j, i) / determinant * b[j][l];
    }
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

VcgTransform vcg_transform(const Recipe& recipe, const std::vector<std::string>& leads) {
  const auto& inverse = recipe.vcg.inverse == 0 ? kInverseDower : kInverseKors;
  Matrix forward;
  if (recipe.vcg.back == 0)
    std::copy_n(&kDower[0][0], 3 * kIndependent, &forward[0][0]);
  else
    pseudo_inverse_transposed(inverse, forward);

  VcgTransform t{};
  unsigned found = 0;  // one bit for each of kNames
  bool all_known = leads.size() <= VcgTransform::kMaxLeads;
  for (size_t c = 0; all_known && c < leads.size(); ++c) {
    const std::string name = upper(leads[c]);
    const auto own = std::find(std::begin(kNames), std::end(kNames), name);
    const auto derived =
        std::find_if(std::begin(kDerived), std::end(kDerived), [&](const Derived& d) { return d.name == name; });
    if (own != std::end(kNames)) {
      const unsigned bit = 1u << (own - kNames);
      all_known = (found & bit) == 0;  // twice, it would count twice
      found |= bit;
      for (int k = 0; k < 3; ++k) {
        t.inverse[k][c] = static_cast<float>(inverse[k][own - kNames]);
        t.forward[c][k] = static_cast<float>(forward[k][own - kNames]);
      }
    } else if (derived != std::end(kDerived)) {
      for (int k = 0; k < 3; ++k)
        t.forward[c][k] = static_cast<float>(derived->of_I * forward[k][0] + derived->of_II * forward[k][1]);
    } else {
      all_known = false;
    }
  }
  if (!all_known || found != (1u << kIndependent) - 1)
    throw UsageError(
        fmt::format("vcg needs the leads I, II, V1 to V6, and besides them only III, aVR, aVL and aVF; "
                    "these are {}",
                    fmt::join(leads, ", ")));
  return t;
}

}  // namespace systole::augment
