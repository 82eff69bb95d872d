// Recipes by name, from JSON and changed by options; and everything that is refused, with its sentence.

#include "augment/recipe.h"

#include <map>

#include "augment/views.h"
#include "kernels/common/error.h"
#include "tests/augment/batch.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

const std::string kNames =
    "crop, frequency_warp, time_warp, crop_resize, time_shift, vcg, mixup, cutmix, band_pass, gain, amplitude_scale, "
    "lead_gain, "
    "lead_offset, baseline_shift, motion_artifact, mains, muscle_noise, additive_noise, lead_noise, temporal_dropout, "
    "time_mask, "
    "cut_out, circular_mask, lead_mask, lead_dropout";

std::string refused_json(const std::string& text) {
  return sentence_of<UsageError>([&] { recipe_from_json(text, "mine.json"); });
}
/// The refusal of a recipe with these augmentations.
std::string refused(const std::string& augmentations) {
  return refused_json(R"({"augmentations": {)" + augmentations + "}}");
}
std::string refused_change(const std::string& text) {
  NamedRecipe recipe = find_recipe("ssrl");
  return sentence_of<UsageError>([&] { change(recipe, text); });
}

NamedRecipe changed(const std::string& name, std::initializer_list<const char*> changes) {
  NamedRecipe recipe = find_recipe(name);
  for (const char* text : changes) change(recipe, text);
  return recipe;
}

/// The number at which a parameter stands, or the lower end of its range.
float value_of(const Recipe& recipe, const Parameter& parameter) {
  return *reinterpret_cast<const float*>(reinterpret_cast<const char*>(&recipe) + parameter.offset);
}
/// The augmentations that can happen, with their rates.
std::map<std::string, float> rates(const Recipe& recipe) {
  std::map<std::string, float> rates;
  for (const Augmentation& a : augmentations())
    if (value_of(recipe, a.parameters.front()) > 0) rates[a.name] = value_of(recipe, a.parameters.front());
  return rates;
}

}  // namespace

TEST_CASE("recipe: ssrl has the seven documented augmentations at their rates and strengths") {
  const Recipe& r = find_recipe("ssrl").recipe;
  CHECK(rates(r) == std::map<std::string, float>{{"frequency_warp", 0.5f},
                                                 {"mixup", 0.4f},
                                                 {"band_pass", 0.3f},
                                                 {"cutmix", 0.25f},
                                                 {"motion_artifact", 0.2f},
                                                 {"lead_noise", 0.6f},
                                                 {"temporal_dropout", 0.3f}});
  const auto is = [](const augment::Range& range, float low, float high) {
    return range.low == low && range.high == high;
  };
  CHECK(is(r.frequency_warp.factor, 0.95f, 1.05f));
  CHECK(r.mixup.alpha == 0.2f);
  CHECK((is(r.band_pass.low_hz, 0.5f, 1.5f) && is(r.band_pass.high_hz, 40, 60)));
  CHECK(is(r.cutmix.share, 0.1f, 0.3f));
  CHECK((is(r.motion_artifact.amplitude_mv, 0.01f, 0.05f) && is(r.motion_artifact.frequency_hz, 0.5f, 2)));
  CHECK(is(r.lead_noise.fraction, 0.005f, 0.02f));
  CHECK(is(r.temporal_dropout.share, 0.05f, 0.2f));
}

TEST_CASE("recipe: the other names hold what they say") {
  CHECK(rates(find_recipe("none").recipe).empty());
  CHECK(rates(find_recipe("vcg").recipe) == std::map<std::string, float>{{"vcg", 1.0f}, {"circular_mask", 1.0f}});
  CHECK(rates(find_recipe("3kg").recipe) == rates(find_recipe("vcg").recipe));
  CHECK(find_recipe("vcg").recipe.vcg.enlarge_p == 0.5f);
  CHECK(find_recipe("3kg").recipe.vcg.enlarge_p == 1);
  CHECK(rates(find_recipe("simple").recipe) ==
        std::map<std::string, float>{
            {"lead_gain", 0.8f}, {"additive_noise", 0.8f}, {"motion_artifact", 0.5f}, {"time_mask", 0.8f}});
  // simple, and more.
  std::map<std::string, float> strong = rates(find_recipe("strong").recipe);
  for (const auto& [name, rate] : rates(find_recipe("simple").recipe)) CHECK(strong[name] == rate);
  CHECK(strong.size() > rates(find_recipe("simple").recipe).size());
  CHECK(sentence_of<UsageError>([] { find_recipe("weak"); }) ==
        "unknown augmentation recipe 'weak'; expected one of none, ssrl, vcg, 3kg, simple, strong");
}

TEST_CASE("recipe: written as JSON and read again it is the same") {
  std::vector<NamedRecipe> all = recipes();
  NamedRecipe everything{"every \"thing\"", "ä, with\na break", {}};
  for (const Augmentation& a : augmentations())
    if (std::string(a.name) != "crop") change(everything, std::string(a.name) + ".p=0.1");
  for (const char* text : {"crop.seconds=2.5", "crop.disjoint=yes", "vcg.inverse=kors", "vcg.back=pseudo_inverse",
                           "gain.factor=-0.1:0.7", "lead_dropout.leads=2:5", "mains.frequency_hz=60"})
    change(everything, text);
  all.push_back(everything);
  for (const NamedRecipe& recipe : all) {
    const std::string json = to_json(recipe);
    const NamedRecipe again = recipe_from_json(json, "a file");
    CHECK(again.name == recipe.name);
    CHECK(again.description == recipe.description);
    for (const Augmentation& a : augmentations())
      for (const Parameter& p : a.parameters) {
        CHECK_MESSAGE(value_of(again.recipe, p) == value_of(recipe.recipe, p),
                      fmt::format("{} {}.{}", recipe.name, a.name, p.name));
        if (p.kind != Parameter::range && p.kind != Parameter::whole_range) continue;
        const Parameter high{p.name, p.kind, p.offset + sizeof(float), 0, 0};
        CHECK_MESSAGE(value_of(again.recipe, high) == value_of(recipe.recipe, high),
                      fmt::format("{} {}.{}", recipe.name, a.name, p.name));
      }
    CHECK(to_json(again) == json);
  }
  // Readable: one augmentation a line, only those that can happen, numbers as they were written.
  CHECK(to_json(find_recipe("ssrl")).find(R"(    "frequency_warp": {"p": 0.5, "factor": [0.95, 1.05]},)") !=
        std::string::npos);
  CHECK(to_json(find_recipe("ssrl")).find(R"("segments": [1, 3])") != std::string::npos);
  CHECK(to_json(find_recipe("ssrl")).find("gain") == std::string::npos);
}

TEST_CASE("recipe: what JSON leaves out has its default; a single number is a range of one value") {
  const NamedRecipe r =
      recipe_from_json(R"({"augmentations": {"gain": {"p": 0.3, "factor": 0.9}, "cutmix": {"p": 0.2}}})", "mine.json");
  CHECK(r.name == "mine.json");  // it has no other
  CHECK((r.recipe.gain.factor.low == 0.9f && r.recipe.gain.factor.high == 0.9f));
  CHECK((r.recipe.cutmix.p == 0.2f && r.recipe.cutmix.share.low == 0.1f && r.recipe.cutmix.share.high == 0.3f));
  CHECK(rates(r.recipe).size() == 2);
}

TEST_CASE("recipe: read from a file, which may be missing") {
  const TemporaryFolder folder;
  write_file(folder / "mine.json", R"({"name": "mine", "description": "one", "augmentations": {"gain": {"p": 1}}})");
  const NamedRecipe r = read_recipe((folder / "mine.json").string());
  CHECK((r.name == "mine" && r.description == "one" && r.recipe.gain.p == 1));
  const std::string missing = (folder / "other.json").string();
  CHECK(sentence_of<UsageError>([&] { read_recipe(missing); }) == missing + ": there is no recipe to read");
  write_file(folder / "broken.json", "{");
  CHECK(sentence_of<UsageError>([&] {
          read_recipe((folder / "broken.json").string());
        }).find("broken.json: not JSON") != std::string::npos);
}

TEST_CASE("recipe: changes, one after the other") {
  const NamedRecipe r = changed(
      "ssrl", {"no-mixup", "cutmix.p=0.7", "gain.p=1", "gain.factor=0.8:1.2", "lead_gain.factor=2", "vcg.inverse=kors",
               "mains.frequency_hz=60", "lead_dropout.leads=2:4", "crop.seconds=2.5", "crop.disjoint=yes"});
  CHECK(r.recipe.mixup.p == 0);
  CHECK(r.recipe.cutmix.p == 0.7f);
  CHECK((r.recipe.gain.p == 1 && r.recipe.gain.factor.low == 0.8f && r.recipe.gain.factor.high == 1.2f));
  CHECK((r.recipe.lead_gain.factor.low == 2 && r.recipe.lead_gain.factor.high == 2));
  CHECK((r.recipe.vcg.inverse == 1 && r.recipe.vcg.back == 0));
  CHECK(r.recipe.mains.frequency_hz == 60);
  CHECK((r.recipe.lead_dropout.leads.low == 2 && r.recipe.lead_dropout.leads.high == 4));
  CHECK((r.recipe.crop.seconds == 2.5f && r.recipe.crop.disjoint == 1));
  CHECK(r.recipe.frequency_warp.p == 0.5f);  // the rest stays
  CHECK(r.name == "ssrl+");
  CHECK(changed("ssrl", {"crop.seconds=2", "no-crop"}).recipe.crop.seconds == 0);
}

TEST_CASE("recipe: only one augmentation, always and at its default strength") {
  for (const Augmentation& a : augmentations()) {
    const Recipe recipe = augment::only(a);
    if (std::string(a.name) == "crop")
      CHECK(rates(recipe).empty());  // no chance, but a length
    else
      CHECK(rates(recipe) == std::map<std::string, float>{{a.name, 1.0f}});
    for (const Parameter& p : a.parameters)
      if (std::string(p.name) != "p") CHECK(value_of(recipe, p) == value_of({}, p));
  }
}

TEST_CASE("recipe: every default lies within what is allowed, and every augmentation says what it does") {
  const Recipe defaults;
  for (const Augmentation& a : augmentations()) {
    CHECK(std::string(a.description).size() > 10);
    for (const Parameter& p : a.parameters) {
      const auto value = static_cast<double>(value_of(defaults, p));
      const double low = p.kind == Parameter::choice ? 0 : p.low,
                   high = p.kind == Parameter::choice ? static_cast<double>(p.choices.size()) - 1 : p.high;
      CHECK_MESSAGE((value >= static_cast<float>(low) && value <= static_cast<float>(high)),
                    fmt::format("{}.{}", a.name, p.name));
    }
  }
}

TEST_CASE("recipe: JSON that is no recipe is refused") {
  CHECK(refused_json("{") ==
        "recipe mine.json: not JSON: parse error at line 1, column 2: syntax error while parsing object key - "
        "unexpected end of "
        "input; expected string literal");
  for (const char* text : {"[]", "{}", "3", R"({"augmentations": []})"})
    CHECK(refused_json(text) == R"(recipe mine.json: expected {"augmentations": {...}})");
  CHECK(refused_json(R"({"augmentations": {}, "nme": "x"})") ==
        "recipe mine.json: unknown member 'nme'; expected name, description, augmentations");
  CHECK(refused_json(R"({"augmentations": {}, "name": 3})") == "recipe mine.json: name is 3; a text was expected");
  CHECK(refused(R"("warp": {"p": 0.5})") == "recipe mine.json: unknown augmentation 'warp'; expected one of " + kNames);
  CHECK(refused(R"("mixup": 0.5)") == "recipe mine.json: mixup is 0.5; an object was expected");
  CHECK(refused(R"("mixup": {"alpha": 0.3})") == "recipe mine.json: mixup lacks p, a number between 0 and 1");
  CHECK(refused(R"("crop": {"disjoint": "yes"})") ==
        "recipe mine.json: crop lacks seconds, a number between 0 and 3600");
  CHECK(refused(R"("mixup": {"p": 0.5, "beta": 1})") ==
        "recipe mine.json: mixup has no 'beta'; expected one of p, alpha");
}

TEST_CASE("recipe: JSON that is ambiguous or was made to do harm is refused") {
  CHECK(refused(R"("gain": {"p": 0.5, "p": 1})") == R"(recipe mine.json: the key "p" is there twice in one object)");
  CHECK(refused(R"("gain": {"p": 0.5}, "gain": {"p": 1})") ==
        R"(recipe mine.json: the key "gain" is there twice in one object)");
  CHECK(refused_json(R"({"name": "a", "augmentations": {}, "name": "b"})") ==
        R"(recipe mine.json: the key "name" is there twice in one object)");
  CHECK(recipe_from_json(R"({"augmentations": {"gain": {"p": 1}, "vcg": {"p": 1}}})", "").recipe.vcg.p == 1);
  const std::string deep(200'000, '[');  // as deep as that, a walk through the values would leave the stack
  CHECK(refused(R"("gain": )" + deep + std::string(200'000, ']')) == "recipe mine.json: nested deeper than 8 levels");
  const TemporaryFolder folder;
  write_file(folder / "large.json", std::string(1 << 21, ' '));
  CHECK(sentence_of<UsageError>([&] { read_recipe((folder / "large.json").string()); }) ==
        (folder / "large.json").string() + ": the file has 2097152 bytes; a recipe of at most 1048576 was expected");
}

TEST_CASE("recipe: values in JSON that are not allowed are refused") {
  for (const char* value : {"1.5", "-0.1", "\"often\"", "null", "true", "[0.1,0.2]"})
    CHECK(refused(fmt::format(R"("mixup": {{"p": {}}})", value)) ==
          fmt::format("recipe mine.json: mixup.p is {}; expected a number between 0 and 1", value));
  for (const char* value :
       {"[1.2,0.8]", "[1]", "[1,2,3]", "[1,20]", "[-20,1]", "11", "\"1\"", "[\"1\",2]", "[[1,2],3]"})
    CHECK(refused(fmt::format(R"("gain": {{"p": 1, "factor": {}}})", value)) ==
          fmt::format("recipe mine.json: gain.factor is {}; expected a number or a range [low, high], low first, "
                      "between -10 and 10",
                      value));
  for (const char* value : {"[1,2.5]", "0", "1.5"})
    CHECK(refused(fmt::format(R"("lead_dropout": {{"p": 1, "leads": {}}})", value)) ==
          fmt::format("recipe mine.json: lead_dropout.leads is {}; expected a whole number or a range [low, high] of "
                      "whole numbers, low first, "
                      "between 1 and 1000",
                      value));
  for (const char* value : {"\"frank\"", "1"})
    CHECK(refused(fmt::format(R"("vcg": {{"p": 1, "inverse": {}}})", value)) ==
          fmt::format("recipe mine.json: vcg.inverse is {}; expected one of dower, kors", value));
  CHECK(refused(R"("mains": {"p": 1, "frequency_hz": 400})") ==
        "recipe mine.json: mains.frequency_hz is 400; expected a number between 45 and 65");
}

TEST_CASE("recipe: changes that are not possible are refused") {
  for (const char* text : {"mixup", "mixup=0.3", "mixup.p", "=."})
    CHECK(refused_change(text) == fmt::format("--augment {}: expected the name of a recipe, no-NAME, or "
                                              "NAME.PARAMETER=VALUE as in mixup.p=0.3 or gain.factor=0.8:1.2",
                                              text));
  CHECK(refused_change("no-warp") == "--augment no-warp: unknown augmentation 'warp'; expected one of " + kNames);
  CHECK(refused_change("warp.p=1") == "--augment warp.p=1: unknown augmentation 'warp'; expected one of " + kNames);
  CHECK(refused_change("mixup.beta=1") == "--augment mixup.beta=1: mixup has no 'beta'; expected one of p, alpha");
  for (const char* value : {"", "often", "1.5", "-1", "0.1:0.2", "nan"})
    CHECK(refused_change(fmt::format("mixup.p={}", value)) ==
          fmt::format("--augment mixup.p={}: expected a number between 0 and 1", value));
  for (const char* value : {"1.2:0.8", "0.8:", "0.8:1.2:3", "0.8-1.2", "0.8:20"})
    CHECK(refused_change(fmt::format("gain.factor={}", value)) ==
          fmt::format("--augment gain.factor={}: expected a number or a range [low, high], low first, between -10 and "
                      "10, written low:high",
                      value));
  CHECK(refused_change("vcg.inverse=frank") == "--augment vcg.inverse=frank: expected one of dower, kors");
  CHECK(refused_change("vcg.inverse=\xFF").ends_with("expected one of dower, kors"));  // not even a text
}

TEST_CASE("recipe: time that could run backwards is refused") {
  const auto sentence = [](const char* speed) {
    return fmt::format(
        "frequency_warp, crop_resize and time_warp together could run time at {} of its speed; expected at least 0.05",
        speed);
  };
  CHECK(refused(R"("frequency_warp": {"p": 0.5, "factor": [0.25, 1]}, "crop_resize": {"p": 0.5, "share": 0.5},
                   "time_warp": {"p": 1, "speed": [0, 0.5]})") == "recipe mine.json: " + sentence("-0.75"));
  NamedRecipe recipe = changed("none", {"time_warp.p=1", "time_warp.speed=0.9"});
  CHECK(sentence_of<UsageError>([&] { change(recipe, "crop_resize.p=1"); }) ==
        "--augment crop_resize.p=1: " + sentence("-0.20"));
  changed("none", {"time_warp.speed=0.9", "crop_resize.share=0.9"});  // that never happens: nothing is refused
}

TEST_CASE("recipe: recipes that do not suit the records are refused") {
  const auto refusal = [](std::initializer_list<const char*> changes, double sampling_rate_hz, const ViewShape& shape) {
    NamedRecipe recipe = changed("none", changes);
    recipe.name = "mine";
    return sentence_of<UsageError>([&] { check_applicable(recipe, sampling_rate_hz, shape, {"MLII", "V1"}); });
  };
  const auto leave_out = [](const std::string& name) { return " (--augment no-" + name + " leaves it out)"; };
  const ViewShape whole{4, 2, 1000, 1000, 2};
  CHECK(refusal({"band_pass.p=1"}, 80, whole) ==
        "augmentation recipe 'mine': band_pass.high_hz is 40 Hz; expected less than half the sampling rate of 80 Hz" +
            leave_out("band_pass"));
  CHECK(refusal({"band_pass.p=1", "band_pass.low_hz=1:60"}, 100, whole) ==
        "augmentation recipe 'mine': band_pass.low_hz is 60 Hz; expected less than half the sampling rate of 100 Hz" +
            leave_out("band_pass"));
  CHECK(refusal({"mains.p=1"}, 100, whole) ==
        "augmentation recipe 'mine': mains.frequency_hz is 50 Hz; expected less than half the sampling rate of 100 Hz" +
            leave_out("mains"));
  CHECK(refusal({"motion_artifact.p=1", "motion_artifact.frequency_hz=1:60"}, 100, whole) ==
        "augmentation recipe 'mine': motion_artifact.frequency_hz is 60 Hz; expected less than half the sampling rate "
        "of 100 Hz" +
            leave_out("motion_artifact"));
  CHECK(refusal({"vcg.p=1"}, 100, whole) ==
        "augmentation recipe 'mine': vcg needs the leads I, II, V1 to V6, and besides them only III, aVR, aVL and aVF; "
        "these are MLII, V1" +
            leave_out("vcg"));
  CHECK(refusal({"band_pass.p=1", "band_pass.low_hz=30:45"}, 500, whole) ==
        "augmentation recipe 'mine': band_pass.low_hz goes up to 45 Hz; expected less than high_hz, which begins at 40 "
        "Hz");
  CHECK(refusal({}, 100, {4, 2, 1000, 0, 2}) == "augmentation recipe 'mine': a view has at least one sample");
  CHECK(refusal({}, 100, {4, 2, 1000, 1001, 2}) ==
        "augmentation recipe 'mine': views of 1001 samples (10.01 s) do not fit into records of 1000 samples (10 s)");
  CHECK(refusal({}, 100, {4, 2, 1000, 600, 2, Segment::disjoint}) ==
        "augmentation recipe 'mine': 2 segments of 600 samples that do not overlap do not fit into records of 1000");
  CHECK(refusal({}, 1000, {4, 2, 20000, 10001, 2}) ==
        "augmentation recipe 'mine': views have at most 10000 samples, not 10001");
  CHECK(refusal({"band_pass.p=1"}, 1000, {4, 2, 20000, 7193, 2}) ==
        "augmentation recipe 'mine': band_pass filters views of at most 7192 samples at 1000 Hz, not 7193");
}

TEST_CASE("recipe: what suits the records is accepted") {
  const auto accepted = [](const NamedRecipe& recipe, double sampling_rate_hz, const ViewShape& shape, int leads) {
    check_applicable(recipe, sampling_rate_hz, shape, lead_names(leads));
    return true;
  };
  for (const NamedRecipe& recipe : recipes())
    for (int leads : {8, 12, 16}) {
      CHECK(accepted(recipe, 100, {4, 2, 1000, 1000, leads}, leads));
      CHECK(accepted(recipe, 500, {4, 2, 5000, 5000, leads, Segment::random}, leads));
    }
  CHECK(accepted(find_recipe("ssrl"), 100, {4, 2, 1000, 500, 2, Segment::disjoint}, 2));
  CHECK(accepted(find_recipe("ssrl"), 1000, {4, 2, 20000, 7192, 2}, 2));
  CHECK(accepted(find_recipe("simple"), 1000, {4, 2, 20000, 10000, 1}, 1));
}
