// What holds for every augmentation: it happens at its rate, independently of the others, with strengths from the whole
// of its range, and at strength zero it changes nothing. Properties of their own are tested in the files beside this
// one.

#include <functional>
#include <map>
#include <numeric>

#include "augment/draws.h"
#include "tests/augment/batch.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

constexpr uint32_t kDraws = 10000;
constexpr ViewShape kShape{.N = 1, .V = 1, .L_in = 1000, .L = 1000, .C = 12};
constexpr float kSamplingRate = 500;

struct Plans {
  ViewPlan view;
  LeadPlan lead;
};
Plans draw(const Recipe& recipe, uint32_t record) {
  const ViewName name{20240229, 3, record, 1};
  return {draw_view(name, kShape, recipe, kSamplingRate), draw_lead(name, kShape, recipe, 5)};
}

/// How the plans of a view and its lead 5 show that an augmentation happened.
const std::map<std::string, std::function<bool(const ViewPlan&, const LeadPlan&)>>& signs() {
  static const std::map<std::string, std::function<bool(const ViewPlan&, const LeadPlan&)>> all{
      {"frequency_warp", [](const ViewPlan& v, const LeadPlan&) { return v.warp.slope != 0; }},
      {"time_warp", [](const ViewPlan& v, const LeadPlan&) { return v.warp.wave_size != 0; }},
      {"crop_resize", [](const ViewPlan& v, const LeadPlan&) { return v.warp.slope != 0; }},
      {"time_shift", [](const ViewPlan& v, const LeadPlan&) { return v.shift != 0; }},
      {"vcg", [](const ViewPlan& v, const LeadPlan&) { return v.rotated; }},
      {"mixup", [](const ViewPlan& v, const LeadPlan&) { return v.mixed; }},
      {"cutmix", [](const ViewPlan& v, const LeadPlan&) { return v.cut; }},
      {"band_pass", [](const ViewPlan& v, const LeadPlan&) { return v.filtered; }},
      {"gain", [](const ViewPlan& v, const LeadPlan&) { return v.gain != 1; }},
      {"amplitude_scale", [](const ViewPlan& v, const LeadPlan&) { return v.gain != 1; }},
      {"lead_gain", [](const ViewPlan&, const LeadPlan& l) { return l.gain != 1; }},
      {"lead_offset", [](const ViewPlan&, const LeadPlan& l) { return l.offset_mv != 0; }},
      {"baseline_shift", [](const ViewPlan& v, const LeadPlan& l) { return v.step_at < kShape.L && l.step_mv != 0; }},
      {"motion_artifact", [](const ViewPlan& v, const LeadPlan& l) { return v.artifact && l.artifact.sine_mv != 0; }},
      {"mains", [](const ViewPlan& v, const LeadPlan& l) { return v.mains && l.mains.sine_mv != 0; }},
      {"muscle_noise", [](const ViewPlan& v, const LeadPlan&) { return v.muscle; }},
      {"additive_noise", [](const ViewPlan& v, const LeadPlan& l) { return v.noise && l.noise_sd != 0; }},
      {"lead_noise", [](const ViewPlan& v, const LeadPlan& l) { return v.noise && l.noise_fraction != 0; }},
      {"temporal_dropout", [](const ViewPlan& v, const LeadPlan&) { return v.dropouts > 0; }},
      {"time_mask", [](const ViewPlan& v, const LeadPlan&) { return v.time_mask.end > 0; }},
      {"cut_out", [](const ViewPlan&, const LeadPlan& l) { return l.cut_out.end > 0; }},
      {"circular_mask", [](const ViewPlan&, const LeadPlan& l) { return l.circular_mask.end > 0; }},
      {"lead_mask", [](const ViewPlan&, const LeadPlan& l) { return l.masked; }},
      {"lead_dropout", [](const ViewPlan&, const LeadPlan& l) { return l.masked; }},
  };
  return all;
}

/// The augmentation alone, at p = 0.3; where it only takes some leads, as many as it can.
Recipe sometimes(const std::string& name) {
  NamedRecipe recipe;
  change(recipe, name + ".p=0.3");
  if (name == "lead_mask") change(recipe, "lead_mask.lead_p=1");
  if (name == "lead_dropout") change(recipe, "lead_dropout.leads=11");
  return recipe.recipe;
}

}  // namespace

TEST_CASE("augmentations: each happens at its rate, independently of the others") {
  std::map<std::string, std::vector<bool>> happened;
  for (const Augmentation& a : augmentations()) {
    const std::string name = a.name;
    if (name == "crop") continue;  // a length and not a chance
    REQUIRE_MESSAGE(signs().contains(name), name);
    // Of twelve leads one is spared: lead 5 is taken eleven times out of twelve.
    const double rate = name == "lead_mask" || name == "lead_dropout" ? 0.3 * 11 / 12 : 0.3;
    const Recipe recipe = sometimes(name);
    std::vector<bool>& events = happened[name];
    for (uint32_t record = 0; record < kDraws; ++record) {
      const Plans plans = draw(recipe, record);
      events.push_back(signs().at(name)(plans.view, plans.lead));
    }
    const auto count = static_cast<double>(std::count(events.begin(), events.end(), true));
    CHECK_MESSAGE(std::abs(count / kDraws - rate) < 4 * std::sqrt(rate * (1 - rate) / kDraws),
                  fmt::format("{}: {}", name, count));
    // Never, and always.
    CHECK_FALSE(signs().at(name)(draw({}, 0).view, draw({}, 0).lead));
  }
  for (const auto& [a, events_a] : happened)
    for (const auto& [b, events_b] : happened) {
      if (a >= b) continue;
      double both = 0;
      for (size_t i = 0; i < kDraws; ++i) both += events_a[i] && events_b[i];
      const double rate = 0.3 * 0.3;
      // The rates of lead_mask and lead_dropout are lower by 1/12; the bound leaves room for it.
      CHECK_MESSAGE(std::abs(both / kDraws - rate) < 4 * std::sqrt(rate * (1 - rate) / kDraws) + rate / 12 * 2,
                    fmt::format("{} and {}: {}", a, b, both));
    }
}

TEST_CASE("augmentations: strengths come from their whole range, evenly") {
  const auto check_uniform = [](const std::string& what, augment::Range range,
                                const std::function<double(const Plans&)>& strength, double resolution = 0) {
    const std::string name = what.substr(0, what.find('.'));
    const Recipe recipe = only(name);
    double sum = 0, lowest = 1e30, highest = -1e30;
    for (uint32_t record = 0; record < kDraws; ++record) {
      const double x = strength(draw(recipe, record));
      sum += x;
      lowest = std::min(lowest, x);
      highest = std::max(highest, x);
    }
    const double low = range.low, high = range.high, width = high - low, sigma = width / std::sqrt(12.0 * kDraws);
    // Where a share of the view becomes whole samples, up to one is cut off.
    CHECK_MESSAGE(std::abs(sum / kDraws - (low + high) / 2 + resolution / 2) < 4 * sigma + resolution / 2,
                  fmt::format("{}: mean {}", what, sum / kDraws));
    CHECK_MESSAGE((lowest >= low - resolution - 1e-6 && lowest < low + 0.01 * width),
                  fmt::format("{}: lowest {}", what, lowest));
    CHECK_MESSAGE((highest <= high + 1e-6 && highest > high - 0.01 * width - resolution),
                  fmt::format("{}: highest {}", what, highest));
  };
  const auto length = [](const Stretch& s) { return (s.end - s.begin) / static_cast<double>(kShape.L); };
  const double sample = 1.0 / kShape.L;
  const auto size = [](const Sine& s) { return std::hypot(double{s.sine_mv}, double{s.cosine_mv}); };
  const Recipe d;

  check_uniform("frequency_warp.factor", d.frequency_warp.factor,
                [](const Plans& p) { return 1.0 + double{p.view.warp.slope}; });
  check_uniform("crop_resize.share", d.crop_resize.share, [](const Plans& p) { return -p.view.warp.slope; });
  check_uniform(
      "time_shift.share", d.time_shift.share, [&](const Plans& p) { return p.view.shift * sample; }, sample);
  check_uniform(
      "cutmix.share", d.cutmix.share, [&](const Plans& p) { return length(p.view.cut_segment); }, sample);
  check_uniform("band_pass.low_hz", d.band_pass.low_hz, [](const Plans& p) { return p.view.low_hz; });
  check_uniform("band_pass.high_hz", d.band_pass.high_hz, [](const Plans& p) { return p.view.high_hz; });
  check_uniform("gain.factor", d.gain.factor, [](const Plans& p) { return p.view.gain; });
  check_uniform("lead_gain.factor", d.lead_gain.factor, [](const Plans& p) { return p.lead.gain; });
  check_uniform("lead_offset.offset_mv", d.lead_offset.offset_mv, [](const Plans& p) { return p.lead.offset_mv; });
  check_uniform("baseline_shift.step_mv", d.baseline_shift.step_mv, [](const Plans& p) { return p.lead.step_mv; });
  check_uniform("motion_artifact.amplitude_mv", d.motion_artifact.amplitude_mv,
                [&](const Plans& p) { return size(p.lead.artifact); });
  check_uniform("motion_artifact.frequency_hz", d.motion_artifact.frequency_hz,
                [](const Plans& p) { return p.view.artifact_turns_per_sample * kSamplingRate; });
  check_uniform("mains.amplitude_mv", d.mains.amplitude_mv, [&](const Plans& p) { return size(p.lead.mains); });
  check_uniform("muscle_noise.std_mv", d.muscle_noise.std_mv, [](const Plans& p) { return p.view.muscle_std_mv; });
  check_uniform(
      "muscle_noise.share", d.muscle_noise.share, [&](const Plans& p) { return length(p.view.burst); }, sample);
  check_uniform("lead_noise.fraction", d.lead_noise.fraction, [](const Plans& p) { return p.lead.noise_fraction; });
  check_uniform(
      "time_mask.share", d.time_mask.share, [&](const Plans& p) { return length(p.view.time_mask); }, sample);
  check_uniform(
      "cut_out.share", d.cut_out.share, [&](const Plans& p) { return length(p.lead.cut_out); }, sample);
  // A share among up to three stretches of whole samples: up to three are cut off.
  check_uniform(
      "temporal_dropout.share", d.temporal_dropout.share,
      [&](const Plans& p) {
        double total = 0;
        for (int i = 0; i < p.view.dropouts; ++i) total += length(p.view.dropout[i]);
        return total;
      },
      3 * sample);
}

TEST_CASE("augmentations: at strength zero nothing changes") {
  Batch batch(3, 400, 12, 500);
  const std::vector<float> noise = random_normal(batch.samples.size(), 2, 0.5f);
  batch.set_mv([&](int r, int l, int c) { return noise[static_cast<size_t>((r * 400 + l) * 12 + c)]; });
  const std::vector<float> plain = batch.views({}, 2);
  for (const char* nothing : {"frequency_warp.factor=1",
                              "time_warp.speed=0",
                              "crop_resize.share=0",
                              "time_shift.share=0",
                              "cutmix.share=0",
                              "gain.factor=1",
                              "amplitude_scale.factor=1",
                              "lead_gain.factor=1",
                              "lead_offset.offset_mv=0",
                              "baseline_shift.step_mv=0",
                              "motion_artifact.amplitude_mv=0",
                              "mains.amplitude_mv=0",
                              "muscle_noise.std_mv=0",
                              "muscle_noise.share=0",
                              "additive_noise.sd=0",
                              "lead_noise.fraction=0",
                              "temporal_dropout.share=0",
                              "time_mask.share=0",
                              "cut_out.share=0",
                              "circular_mask.share=0",
                              "lead_mask.lead_p=0"}) {
    const std::string name = std::string(nothing).substr(0, std::string(nothing).find('.'));
    NamedRecipe recipe{name, "", only(name)};
    CHECK_MESSAGE(batch.views(recipe.recipe, 2) != plain, name);
    change(recipe, nothing);
    CHECK_MESSAGE(batch.views(recipe.recipe, 2) == plain, nothing);
  }
}
