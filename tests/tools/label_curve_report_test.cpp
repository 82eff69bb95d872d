// The report of a made-up label curve: everything is in it, nothing comes from elsewhere, and it says of every number
// what that number is.

#include "tools/label_curve_report.h"

#include <nlohmann/json.hpp>
#include <set>

#include "kernels/common/error.h"
#include "tests/support.h"
#include "tools/label_curve_view.h"
#include "tools/report_html.h"

using namespace systole::test;
using namespace systole::tools;
using Json = nlohmann::ordered_json;

namespace {

Json value(double mean, double low, double high) {
  return {{"mean", mean}, {"sd", 0.0123}, {"low", low}, {"high", high}};
}

/// Three arms at 2, 10 and 100 % of the labels. The fine-tuned one gains 8 and 4 points, then loses one.
Json made_up_curve() {
  Json curve{
      {"title", "Tom & Jerry's <curve>"},
      {"settings", {{"command", "systole label-curve --out \"a<b\""}, {"epochs", {{"2 %", 70}}}, {"none", nullptr}}},
      {"classes", {"NORM", "M<I"}},
      {"fractions", {0.02, 0.1, 1.0}},
      {"seeds", {42, 43}},
      {"records", {{"training", 1442}, {"validation", 183}, {"test", 194}}},
      {"patients", {{"training", 1301}, {"validation", 171}, {"test", 181}}},
      {"test_positives", {80, 51}},
      {"arms",
       {{{"name", "scratch"}, {"label", "from scratch"}},
        {{"name", "frozen-random"}, {"label", "frozen random"}},
        {{"name", "finetuned-a&b"}, {"label", "fine-tuned a&b"}, {"encoder", "a&b"}}}},
      {"points", Json::array()},
      {"roc", Json::array()},
      {"runs", Json::array()}};
  const double gains[] = {0.08, 0.04, -0.01}, scratch[] = {0.701, 0.752, 0.853};
  for (int f = 0; f < 3; ++f)
    for (int arm = 0; arm < 3; ++arm) {
      const double gain = arm == 0 ? 0 : arm == 1 ? 0.09 : gains[f], mean = scratch[f] + gain;
      const Json fraction = curve["fractions"][static_cast<size_t>(f)];
      const Json name = curve["arms"][static_cast<size_t>(arm)]["name"];
      Json point{{"arm", name},
                 {"fraction", fraction},
                 {"labelled_records", 29},
                 {"seeds", 2},
                 {"auroc", value(mean, mean - 0.03, mean + 0.03)},
                 {"f1", value(0.512, 0.4, 0.6)},
                 {"class_auroc", {value(0.611, 0.5, 0.7), value(0.622, 0.5, 0.7)}},
                 {"validation_auroc", 0.8}};
      if (arm > 0) point["gain"] = value(gain, gain - 0.05, gain + 0.05);
      curve["points"].push_back(point);
      for (const Json& class_name : curve["classes"])
        curve["roc"].push_back({{"arm", name},
                                {"fraction", fraction},
                                {"class", class_name},
                                {"false_positive_rate", {0, 0.2, 1}},
                                {"true_positive_rate", {0, 0.7, 1}}});
      curve["runs"].push_back({{"arm", name},
                               {"fraction", fraction},
                               {"seed", 42},
                               {"labelled_records", 29},
                               {"best_epoch", 17},
                               {"validation_auroc", 0.8},
                               {"test_auroc", 0.7654},
                               {"test_f1", nullptr},
                               {"seconds", 12.34}});
    }
  return curve;
}

std::string report_of(const Json& curve) {
  const TemporaryFolder folder;
  write_label_curve_report(folder.path(), curve);
  CHECK(read_file(folder / "label_curve.svg").starts_with("<?xml"));
  return read_file(folder / "report.html");
}

void check_contains(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& word : words) CHECK_MESSAGE(text.find(word) != std::string::npos, word);
}

/// What stands between `before` and the next quotation mark, everywhere.
std::vector<std::string> attributes(const std::string& html, const std::string& before) {
  std::vector<std::string> values;
  for (size_t at = html.find(before); at != std::string::npos; at = html.find(before, at + 1)) {
    const size_t begin = at + before.size();
    values.push_back(html.substr(begin, html.find('"', begin) - begin));
  }
  return values;
}

}  // namespace

TEST_CASE("label_curve_report: the page needs nothing from elsewhere, and no script") {
  const std::string html = report_of(made_up_curve());
  CHECK(html.starts_with("<!DOCTYPE html>"));
  for (const char* word : {"http", "src=", "<script", "<link", "@import", "<iframe"})
    CHECK_MESSAGE(html.find(word) == std::string::npos, word);
  const std::vector<std::string> ids = attributes(html, " id=\""), references = attributes(html, "href=\"");
  const std::set<std::string> unique(ids.begin(), ids.end());
  CHECK(unique.size() == ids.size());
  CHECK(references.size() > 100);
  for (const std::string& reference : references) {
    REQUIRE(reference.starts_with("#"));
    CHECK(unique.contains(reference.substr(1)));
  }
}

TEST_CASE("label_curve_report: text is escaped") {
  const std::string html = report_of(made_up_curve());
  check_contains(html,
                 {"Tom &amp; Jerry&#39;s &lt;curve&gt;", "--out &quot;a&lt;b&quot;", "M&lt;I", "fine-tuned a&amp;b"});
  for (const char* word : {"<curve>", "M<I", "a&b", "a<b"}) CHECK_MESSAGE(html.find(word) == std::string::npos, word);
  CHECK(escape_html("<a href=\"x\">'&'</a>") == "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
}

TEST_CASE("label_curve_report: it says which arm gains how much, and whether the interval excludes 0") {
  const std::string html = report_of(made_up_curve());
  // The frozen random encoder gains more, but is no pre-trained arm; 100 % are not few labels.
  check_contains(
      html, {"Pre-training gains 6.0 points of AUROC over training from scratch", "(“fine-tuned a&amp;b”)",
             "on average over 2\u00a0% and 10\u00a0% of the labels", "excludes 0 at 1 of 2 fractions",
             "AUROC <b>0.781</b> <span class=\"interval\">[0.751, 0.811]</span> against 0.701 [0.671, 0.731]",
             "gain <b>+8.0</b> points <span class=\"interval\">[3.0, 13.0]</span>, the interval excludes 0",
             "gain <b>+4.0</b> points <span class=\"interval\">[−1.0, 9.0]</span>, the interval includes 0",
             "<span class=\"gain up\">+8.0 [3.0, 13.0] ▲</span>", "<span class=\"gain\">−1.0 [−6.0, 4.0]</span>",
             "0.701", "SD 0.012", "0.611", "0.622", "0.765", "0.512", "1442 records of 1301 patients", "seeds 42, 43",
             "2 %: 70", "12.3"});

  Json worse = made_up_curve();
  for (Json& point : worse["points"])
    if (point["arm"] == "finetuned-a&b") point["gain"] = value(-0.02, -0.03, -0.01);
  check_contains(report_of(worse), {"No pre-trained arm beats training from scratch",
                                    "“fine-tuned a&amp;b”, is 2.0 points of AUROC below it",
                                    "<span class=\"gain down\">−2.0 [−3.0, −1.0] ▼</span>", "worse than from scratch"});

  Json alone = made_up_curve();
  alone["arms"].erase(2);
  check_contains(report_of(alone), {"it shows no gain of pre-training"});
}

TEST_CASE("label_curve_report: undefined numbers and missing points are dashes") {
  Json curve = made_up_curve();
  const Json undefined{{"mean", nullptr}, {"sd", nullptr}, {"low", nullptr}, {"high", nullptr}};
  for (Json& point : curve["points"]) {
    point["auroc"] = undefined;
    point["class_auroc"][0] = undefined;
    if (point.contains("gain")) point["gain"] = undefined;
  }
  curve["points"].erase(curve["points"].size() - 1);
  curve["roc"].clear();
  const std::string html = report_of(curve);
  check_contains(html, {"<td>– <span class=\"interval\"></span></td>", "<td>–</td>"});
  for (const char* word : {"nan", "null", "inf]"}) CHECK_MESSAGE(html.find(word) == std::string::npos, word);
  CHECK(decimal(NAN) == "–");
  CHECK(points(-0.0001) == "0.0");
  CHECK(points(-0.012) == "−1.2");
}

TEST_CASE("label_curve_report: a curve that lacks a part is refused, and nothing is written") {
  Json curve = made_up_curve();
  curve.erase("settings");
  const TemporaryFolder folder;
  const std::string sentence = sentence_of<systole::Error>([&] { write_label_curve_report(folder.path(), curve); });
  check_contains(sentence, {folder.path().string(), "not complete", "settings"});
  CHECK(std::filesystem::is_empty(folder.path()));
}
