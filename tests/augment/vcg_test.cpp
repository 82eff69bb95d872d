// The VCG augmentation: published matrices, rotations that are rotations, and limb leads that keep Einthoven's law.

#include <array>
#include <map>

#include "augment/draws.h"
#include "kernels/common/error.h"
#include "tests/augment/batch.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

using Vector = std::array<double, 3>;

/// For I, II, V1 … V6. Edenbrandt and Pahlm (1988).
constexpr double kInverseDower[3][8] = {{0.156, -0.010, -0.172, -0.074, 0.122, 0.231, 0.239, 0.194},
                                        {-0.227, 0.887, 0.057, -0.019, -0.106, -0.022, 0.041, 0.048},
                                        {0.022, 0.102, -0.229, -0.310, -0.246, -0.063, 0.055, 0.108}};

/// Kors et al. (1990).
constexpr double kInverseKors[3][8] = {{0.38, -0.07, -0.13, 0.05, -0.01, 0.14, 0.06, 0.54},
                                       {-0.07, 0.93, 0.06, -0.02, -0.05, 0.06, -0.17, 0.13},
                                       {0.11, -0.23, -0.43, -0.06, -0.14, -0.20, -0.11, 0.31}};
/// Dower et al. (1980).
constexpr double kDower[3][8] = {{0.632, 0.235, -0.515, 0.044, 0.882, 1.213, 1.125, 0.831},
                                 {-0.235, 1.066, 0.157, 0.164, 0.098, 0.127, 0.127, 0.076},
                                 {0.059, -0.132, -0.917, -1.387, -1.277, -0.601, -0.086, 0.230}};

Recipe vcg_recipe(std::initializer_list<const char*> changes) {
  NamedRecipe recipe{"vcg alone", "", only("vcg")};
  for (const char* text : changes) change(recipe, text);
  return recipe.recipe;
}

/// Independent noise on all leads: derived ones do not follow from I and II.
Batch noisy_leads(int R, int L, int C) {
  Batch batch(R, L, C, 500);
  const std::vector<float> noise = random_normal(batch.samples.size(), 5, 0.4f);
  batch.set_mv([&](int r, int l, int c) { return noise[static_cast<size_t>((r * L + l) * C + c)]; });
  for (size_t i = 0; i < batch.offset_mv.size(); ++i) batch.offset_mv[i] = 0.05f * static_cast<float>(i % 3);
  return batch;
}

/// One moment's millivolts by name of the lead.
using Leads = std::map<std::string, double>;
Leads at(const std::vector<float>& views, size_t moment, int C) {
  Leads leads;
  const std::vector<std::string> names = lead_names(C);
  for (size_t c = 0; c < names.size(); ++c) leads[names[c]] = views[moment * names.size() + c];
  return leads;
}
Vector to_vector(Leads leads) {
  Vector v{};
  const char* names[] = {"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"};
  for (size_t k = 0; k < 3; ++k)
    for (size_t l = 0; l < 8; ++l) v[k] += kInverseDower[k][l] * leads[names[l]];
  return v;
}
double length(const Vector& v) {
  return std::hypot(v[0], v[1], v[2]);
}

}  // namespace

TEST_CASE("vcg: limb leads keep the laws of Einthoven and Goldberger, whatever the record held") {
  for (int C : {12, 16})
    for (const char* inverse : {"vcg.inverse=dower", "vcg.inverse=kors"})
      for (const char* back : {"vcg.back=dower", "vcg.back=pseudo_inverse"}) {
        const Batch batch = noisy_leads(2, 100, C);
        const std::vector<float> x = batch.views(vcg_recipe({inverse, back}), 2);
        double worst = 0, largest = 0;
        for (size_t moment = 0; moment < 400; ++moment) {
          Leads mv = at(x, moment, C);
          for (double error : {mv["III"] - (mv["II"] - mv["I"]), mv["AVR"] + (mv["I"] + mv["II"]) / 2,
                               mv["AVL"] - (mv["I"] - mv["II"] / 2), mv["AVF"] - (mv["II"] - mv["I"] / 2)})
            worst = std::max(worst, std::abs(error));
          largest = std::max(largest, std::abs(mv["III"]));
        }
        CHECK_MESSAGE(worst < 16 * 0x1p-24 * max_magnitude(x), fmt::format("{}, {}, {} leads", inverse, back, C));
        CHECK(largest > 0.1);
      }
}

TEST_CASE("vcg: with scale 1 the heart's vector is rotated: its length stays, angles between moments too") {
  for (int C : {8, 12}) {
    const Batch batch = noisy_leads(3, 60, C);
    // Back by the pseudo-inverse, so that the view's own vector is the rotated one.
    const std::vector<float> x = batch.views(vcg_recipe({"vcg.scale=1", "vcg.back=pseudo_inverse"})),
                             plain = batch.views({});
    double turned = 0;
    for (size_t moment = 0; moment + 1 < 60; ++moment) {
      const Vector before = to_vector(at(plain, moment, C)), after = to_vector(at(x, moment, C));
      CHECK(length(after) == doctest::Approx(length(before)).epsilon(1e-5));
      const Vector next_before = to_vector(at(plain, moment + 1, C)), next_after = to_vector(at(x, moment + 1, C));
      double product_before = 0, product_after = 0;
      for (size_t k = 0; k < 3; ++k) {
        product_before += before[k] * next_before[k];
        product_after += after[k] * next_after[k];
        turned = std::max(turned, std::abs(after[k] - before[k]));
      }
      CHECK(std::abs(product_after - product_before) < 1e-6);
    }
    CHECK(turned > 0.05);
  }
}

TEST_CASE("vcg: matrices are rotations by angles of the range, axes are enlarged and shrunk equally often") {
  const ViewShape shape{.N = 1, .V = 1, .L_in = 100, .L = 100, .C = 12};
  const auto rotation_of = [&](const Recipe& recipe, uint32_t record) {
    return draw_view({7, 0, record, 0}, shape, recipe, 500);
  };
  double widest = 0, worst = 0;
  const Recipe rotations = vcg_recipe({"vcg.scale=1"});
  for (uint32_t record = 0; record < 2000; ++record) {
    const ViewPlan plan = rotation_of(rotations, record);
    const auto& r = plan.rotation;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) {
        double product = 0;
        for (int k = 0; k < 3; ++k) product += double{r[i][k]} * r[j][k];
        worst = std::max(worst, std::abs(product - (i == j)));
      }
    const double determinant = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) -
                               r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) +
                               r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
    worst = std::max(worst, std::abs(determinant - 1));
    // Rz Ry Rx taken apart: Tait and Bryan's angles.
    for (double angle : {std::atan2(r[2][1], r[2][2]), std::asin(-r[2][0]), std::atan2(r[1][0], r[0][0])})
      widest = std::max(widest, std::abs(angle) * 180 / M_PI);
  }
  CHECK(worst < 1e-6);
  CHECK((widest < 45.001 && widest > 44.9));

  // Rotated first and scaled then: the rows stay orthogonal.
  worst = 0;
  for (uint32_t record = 0; record < 200; ++record) {
    const ViewPlan plan = rotation_of(vcg_recipe({}), record);
    for (int i = 0; i < 3; ++i) {
      double product = 0;
      for (int k = 0; k < 3; ++k) product += double{plan.rotation[i][k]} * plan.rotation[(i + 1) % 3][k];
      worst = std::max(worst, std::abs(product));
    }
  }
  CHECK(worst < 1e-6);

  int enlarged = 0;
  double largest = 1, smallest = 1;
  const Recipe scales = vcg_recipe({"vcg.angle_deg=0"});
  for (uint32_t record = 0; record < 2000; ++record)
    for (int k = 0; k < 3; ++k) {
      const double scale = rotation_of(scales, record).rotation[k][k];
      enlarged += scale > 1;
      largest = std::max(largest, scale);
      smallest = std::min(smallest, scale);
    }
  CHECK(std::abs(enlarged - 3000) < 4 * std::sqrt(6000 / 4.0));
  CHECK((largest <= 1.5 && largest > 1.49));
  CHECK((smallest >= 1 / 1.5 - 1e-6 && smallest < 1 / 1.49));
}

TEST_CASE("vcg: 3KG only enlarges axes") {
  NamedRecipe recipe = find_recipe("3kg");
  change(recipe, "vcg.angle_deg=0");
  for (uint32_t record = 0; record < 200; ++record)
    for (int k = 0; k < 3; ++k)
      CHECK(draw_view({7, 0, record, 0}, {1, 1, 100, 100, 12}, recipe.recipe, 500).rotation[k][k] >= 1);
}

TEST_CASE("vcg: without rotation, to the vector and back by the pseudo-inverse is a projection") {
  for (const char* inverse : {"vcg.inverse=dower", "vcg.inverse=kors"})
    for (int C : {8, 12}) {
      Batch batch = noisy_leads(1, 200, C);
      const Recipe projection = vcg_recipe({"vcg.angle_deg=0", "vcg.scale=1", "vcg.back=pseudo_inverse", inverse});
      const std::vector<float> plain = batch.views({}), once = batch.views(projection);
      CHECK(max_error(once, plain) > 0.2);
      batch.offset_mv.assign(batch.offset_mv.size(), 0);
      batch.set_mv([&](int, int l, int c) { return double{once[static_cast<size_t>(l * C + c)]}; });
      const std::vector<float> twice = batch.views(projection);
      // The record holds it rounded to 1/4096 mV; eight errors of half of that with weights of up to one.
      CHECK_MESSAGE(max_error(twice, once) < 2 / 4096.0, fmt::format("{}, {} leads", inverse, C));
    }
}

TEST_CASE("vcg: the transform has the published matrices, for the leads as they stand") {
  const VcgTransform t = vcg_transform(vcg_recipe({}), lead_names(8)),
                     kors = vcg_transform(vcg_recipe({"vcg.inverse=kors"}), lead_names(8));
  for (size_t k = 0; k < 3; ++k)
    for (size_t l = 0; l < 8; ++l) {
      CHECK(t.inverse[k][l] == static_cast<float>(kInverseDower[k][l]));
      CHECK(kors.inverse[k][l] == static_cast<float>(kInverseKors[k][l]));
      CHECK(t.forward[l][k] == static_cast<float>(kDower[k][l]));
      CHECK(kors.forward[l][k] == t.forward[l][k]);
    }
  const auto check_inverse = [](const VcgTransform& transform, double tolerance) {
    for (size_t i = 0; i < 3; ++i)
      for (size_t j = 0; j < 3; ++j) {
        double product = 0;
        for (size_t l = 0; l < 8; ++l) product += double{transform.inverse[i][l]} * transform.forward[l][j];
        CHECK(std::abs(product - (i == j)) < tolerance);
      }
  };
  check_inverse(t, 0.02);  // Edenbrandt and Pahlm inverted Dower's matrix, to three decimals
  for (const char* inverse : {"vcg.inverse=dower", "vcg.inverse=kors"})
    check_inverse(vcg_transform(vcg_recipe({inverse, "vcg.back=pseudo_inverse"}), lead_names(8)), 1e-6);

  // In another order, and written otherwise.
  const VcgTransform other = vcg_transform(vcg_recipe({}), {"v6", "aVR", "V5", "V4", "V3", "V2", "V1", "II", "I"});
  for (size_t k = 0; k < 3; ++k) {
    CHECK(other.inverse[k][0] == t.inverse[k][7]);
    CHECK(other.inverse[k][8] == t.inverse[k][0]);
    CHECK(other.forward[7][k] == t.forward[1][k]);
    CHECK(other.inverse[k][1] == 0);
    CHECK(other.forward[1][k] == doctest::Approx(-(t.forward[0][k] + t.forward[1][k]) / 2));
  }
}

TEST_CASE("vcg: Kors' and Dower's matrices give different views of the same draw") {
  const Batch batch = noisy_leads(1, 50, 12);
  CHECK(max_error(batch.views(vcg_recipe({"vcg.inverse=kors"})), batch.views(vcg_recipe({}))) > 0.05);
  // Not with Dower's inverse: Dower's matrix is its pseudo-inverse but for rounding.
  CHECK(max_error(batch.views(vcg_recipe({"vcg.inverse=kors", "vcg.back=pseudo_inverse"})),
                  batch.views(vcg_recipe({"vcg.inverse=kors"}))) > 0.05);
}

TEST_CASE("vcg: leads that it does not know are refused with what it needs") {
  const auto sentence = [](const std::vector<std::string>& leads) {
    return sentence_of<UsageError>([&] { vcg_transform(vcg_recipe({}), leads); });
  };
  CHECK(sentence({"MLII", "V1"}) ==
        "vcg needs the leads I, II, V1 to V6, and besides them only III, aVR, aVL and aVF; these are "
        "MLII, V1");
  CHECK(sentence({"I", "II", "V1", "V2", "V3", "V4", "V5"}).ends_with("these are I, II, V1, V2, V3, V4, V5"));
  CHECK(sentence({"I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "V7"}).ends_with("V6, V7"));
  CHECK(sentence({"I", "I", "V1", "V2", "V3", "V4", "V5", "V6"}).ends_with("these are I, I, V1, V2, V3, V4, V5, V6"));
  std::vector<std::string> seventeen = lead_names(16);
  seventeen.emplace_back("III");
  CHECK(sentence(seventeen).ends_with("AVF, III"));
}
