#include "tools/label_curve_report.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/error.h"
#include "tools/label_curve_view.h"
#include "tools/report_html.h"

namespace systole::tools {
namespace {

constexpr size_t kMostRocPanels = 12;

// ---------------------------------------------------------------------------------------------------------------------
// Charts
// ---------------------------------------------------------------------------------------------------------------------

LineChart curve_chart(const CurveJson& curve) {
  ChartPanel panel{.title = "macro AUROC on the test records",
                   .x = {.title = "share of the training labels", .logarithmic = true},
                   .y = {},
                   .lines = {}};
  for (const double fraction : curve.at("fractions").get<std::vector<double>>())
    panel.x.ticks.push_back({fraction, percent(fraction)});
  for (const CurveArm& arm : arms_of(curve)) {
    ChartLine line{.name = arm.label, .points = {}, .style = arm.style};
    for (const ChartTick& tick : panel.x.ticks) {
      const CurveValue auroc = value_of(point_of(curve, arm, tick.value), "auroc");
      line.points.push_back({tick.value, auroc.mean, auroc.low, auroc.high});
    }
    panel.lines.push_back(std::move(line));
  }
  return {.panels = {std::move(panel)}, .panel_width_mm = 88, .panel_height_mm = 66, .names = LineChart::Names::below};
}

std::string record_count(const CurveJson& curve, const char* split) {
  return fmt::format("{} records of {} patients", decimal(number(curve.at("records"), split), 0),
                     decimal(number(curve.at("patients"), split), 0));
}

/// label_curve.svg.
Page curve_page(const CurveJson& curve) {
  LineChart chart = curve_chart(curve);
  chart.title = curve.at("title").get<std::string>();
  chart.subtitle = fmt::format("{}; mean over {} seeds, bars: 95 % interval over test patients",
                               record_count(curve, "test"), curve.at("seeds").size());
  chart.panel_width_mm = 110;
  chart.names = LineChart::Names::at_ends;
  return page_of(chart);
}

LineChart roc_chart(const CurveJson& curve, const std::string& class_name, double fraction) {
  const std::vector<ChartTick> ticks{{0, "0"}, {0.5, "0.5"}, {1, "1"}};
  ChartPanel panel{.title = class_name,
                   .x = {.title = "1 − specificity", .ticks = ticks, .low = 0, .high = 1},
                   .y = {.title = "sensitivity", .ticks = ticks, .low = 0, .high = 1},
                   .lines = {},
                   .guides = {{{0, 0}, {1, 1}}}};
  for (const CurveArm& arm : arms_of(curve))
    for (const CurveJson& roc : curve.at("roc")) {
      if (roc.at("arm") != arm.name || roc.at("fraction") != fraction || roc.at("class") != class_name) continue;
      ChartLine line{.name = arm.label, .points = {}, .style = arm.style, .marks = false};
      const CurveJson &x = roc.at("false_positive_rate"), &y = roc.at("true_positive_rate");
      for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
        if (x[i].is_number() && y[i].is_number()) line.points.push_back({x[i].get<double>(), y[i].get<double>()});
      panel.lines.push_back(std::move(line));
    }
  return {.panels = {std::move(panel)}, .panel_width_mm = 56, .panel_height_mm = 56, .names = LineChart::Names::none};
}

// ---------------------------------------------------------------------------------------------------------------------
// What it says
// ---------------------------------------------------------------------------------------------------------------------

/// The mean gain over these fractions; NaN where there is none.
double mean_gain(const CurveJson& curve, const CurveArm& arm, const std::vector<double>& fractions) {
  double sum = 0;
  int defined = 0;
  for (const double fraction : fractions)
    if (const CurveValue gain = value_of(point_of(curve, arm, fraction), "gain"); gain.is_defined()) {
      sum += gain.mean;
      ++defined;
    }
  return defined == 0 ? std::nan("") : sum / defined;
}

/// The pre-trained arms that have a gain, the largest first.
std::vector<CurveArm> ranked(const CurveJson& curve, const std::vector<double>& fractions) {
  std::vector<CurveArm> arms = arms_of(curve);
  std::erase_if(arms,
                [&](const CurveArm& a) { return !a.is_candidate() || std::isnan(mean_gain(curve, a, fractions)); });
  std::stable_sort(arms.begin(), arms.end(), [&](const CurveArm& a, const CurveArm& b) {
    return mean_gain(curve, a, fractions) > mean_gain(curve, b, fractions);
  });
  return arms;
}

std::string listed(const std::vector<double>& fractions) {
  std::string text;
  for (size_t i = 0; i < fractions.size(); ++i)
    text += (i == 0 ? "" : i + 1 == fractions.size() ? " and " : ", ") + percent(fractions[i]);
  return text;
}

std::string headline(const CurveJson& curve, const CurveArm& best, const std::vector<double>& fractions) {
  const double gain = mean_gain(curve, best, fractions);
  int above = 0;
  for (const double fraction : fractions) above += value_of(point_of(curve, best, fraction), "gain").low > 0;
  const std::string where = fractions.size() == 1 ? fmt::format("with {} of the labels", percent(fractions[0]))
                                                  : fmt::format("on average over {} of the labels", listed(fractions));
  if (gain <= 0)
    return fmt::format(
        "No pre-trained arm beats training from scratch {}: the best of them, “{}”, is {} points of "
        "AUROC below it.",
        where, best.label, decimal(-100 * gain, 1));
  const std::string certainty =
      above == 0              ? "But no 95\u00a0% interval lies above 0: it may be chance."
      : fractions.size() == 1 ? "The 95\u00a0% interval excludes 0."
                              : fmt::format("The 95\u00a0% interval of the gain excludes 0 at {} of {} fractions.",
                                            above, fractions.size());
  return fmt::format("Pre-training gains {} points of AUROC over training from scratch, {} (“{}”). {}",
                     decimal(100 * gain, 1), where, best.label, certainty);
}

/// "With 1 % of the labels (14 ECGs): 0.742 [0.70, 0.78] against 0.701 …".
std::string comparison(const CurveJson& curve, const CurveArm& best, double fraction) {
  const CurveJson& point = point_of(curve, best, fraction);
  const CurveValue auroc = value_of(point, "auroc"), gain = value_of(point, "gain");
  CurveValue scratch = value_of(CurveJson());
  for (const CurveArm& arm : arms_of(curve))
    if (arm.is_scratch()) scratch = value_of(point_of(curve, arm, fraction), "auroc");
  const std::string verdict = !std::isfinite(gain.low) ? "without an interval"
                              : gain.low > 0           ? "the interval excludes 0: better than from scratch"
                              : gain.high < 0          ? "the interval excludes 0: worse than from scratch"
                                                       : "the interval includes 0: no difference is shown";
  return fmt::format(
      "With {} of the labels (about {} ECGs): AUROC <b>{}</b> <span class=\"interval\">{}</span> against {} {} from "
      "scratch; gain <b>{}</b> points <span class=\"interval\">{}</span>, {}.",
      percent(fraction), decimal(number(point, "labelled_records"), 0), decimal(auroc.mean), interval(auroc),
      decimal(scratch.mean), interval(scratch), points(gain.mean), points_interval(gain), verdict);
}

std::string conclusion(const CurveJson& curve) {
  const std::vector<double> fractions = small_fractions(curve);
  const std::vector<CurveArm> arms = ranked(curve, fractions);
  if (arms.empty())
    return "<p class=\"headline\">This curve holds no pre-trained arm beside one from scratch, so it shows no gain of "
           "pre-training.</p>\n";
  std::string html = fmt::format(
      "<p class=\"headline\">{}</p>\n<p>Pre-training teaches an encoder from ECGs without labels. This report says "
      "what "
      "that is worth to a classifier when few ECGs have labels, and when many have.</p>\n<ul>\n",
      escape_html(headline(curve, arms.front(), fractions)));
  for (const double fraction : fractions) html += "<li>" + comparison(curve, arms.front(), fraction) + "</li>\n";
  html += "</ul>\n";
  if (arms.size() > 1)
    html += fmt::format(
        "<p class=\"quiet\">The best of {} pre-trained arms was picked by these same test figures, so "
        "its gain is a little too good. The table below shows all of them.</p>\n",
        arms.size());
  return html;
}

// ---------------------------------------------------------------------------------------------------------------------
// Tables
// ---------------------------------------------------------------------------------------------------------------------

std::string value_cell(const CurveValue& value) {
  return fmt::format("{} <span class=\"interval\">{}</span>", decimal(value.mean), interval(value));
}

std::string gain_line(const CurveValue& gain) {
  if (!gain.is_defined()) return "";
  const char* mark = !gain.excludes_zero() ? "" : gain.low > 0 ? " ▲" : " ▼";
  return fmt::format("<span class=\"gain{}\">{} {}{}</span>",
                     !gain.excludes_zero() ? ""
                     : gain.low > 0        ? " up"
                                           : " down",
                     points(gain.mean), points_interval(gain), mark);
}

/// Arms by fractions of a metric "auroc" or "f1"; with the gains where there are any.
HtmlTable metric_table(const CurveJson& curve, const char* metric, bool with_gain, const std::string& caption) {
  HtmlTable table{.caption = caption, .heading = {"arm"}};
  const auto fractions = curve.at("fractions").get<std::vector<double>>();
  for (const double fraction : fractions) table.heading.push_back(percent(fraction) + " of the labels");
  for (const CurveArm& arm : arms_of(curve)) {
    std::vector<std::string> row{html_legend_entry(arm.style, arm.label)};
    for (const double fraction : fractions) {
      const CurveJson& point = point_of(curve, arm, fraction);
      const CurveValue value = value_of(point, metric);
      std::string cell = value_cell(value);
      if (with_gain) cell += gain_line(value_of(point, "gain"));
      if (std::isfinite(value.sd)) cell += fmt::format("<span class=\"gain interval\">SD {}</span>", decimal(value.sd));
      row.push_back(std::move(cell));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

HtmlTable class_table(const CurveJson& curve, double fraction) {
  HtmlTable table{.caption = fmt::format("AUROC of each class with {} of the labels, mean over seeds [95 % interval]",
                                         percent(fraction)),
                  .heading = {"class", "positives in test"}};
  const std::vector<CurveArm> arms = arms_of(curve);
  for (const CurveArm& arm : arms) table.heading.push_back(html_legend_entry(arm.style, arm.label));
  const auto classes = curve.at("classes").get<std::vector<std::string>>();
  for (size_t c = 0; c < classes.size(); ++c) {
    std::vector<std::string> row{escape_html(classes[c]), curve.at("test_positives").at(c).dump()};
    for (const CurveArm& arm : arms) {
      const CurveJson& point = point_of(curve, arm, fraction);
      row.push_back(value_cell(value_of(point.is_object() ? point.at("class_auroc").at(c) : CurveJson())));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

HtmlTable run_table(const CurveJson& curve) {
  HtmlTable table{.heading = {"arm", "labels", "seed", "labelled records", "best epoch", "validation AUROC",
                              "test AUROC", "test F1", "seconds"}};
  const std::vector<CurveArm> arms = arms_of(curve);
  for (const CurveJson& run : curve.at("runs")) {
    const auto arm = std::find_if(arms.begin(), arms.end(), [&](const CurveArm& a) { return run.at("arm") == a.name; });
    table.rows.push_back({escape_html(arm == arms.end() ? run.at("arm").get<std::string>() : arm->label),
                          percent(number(run, "fraction")), decimal(number(run, "seed"), 0),
                          decimal(number(run, "labelled_records"), 0), decimal(number(run, "best_epoch"), 0),
                          decimal(number(run, "validation_auroc")), decimal(number(run, "test_auroc")),
                          decimal(number(run, "test_f1")), decimal(number(run, "seconds"), 1)});
  }
  return table;
}

/// A setting as text: strings as they are, lists in one line, objects with a line for each member.
std::string setting_text(const CurveJson& value) {
  if (value.is_null()) return "–";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_structured()) return value.dump();
  std::string text;
  for (const auto& [key, member] : value.items()) {
    if (!text.empty()) text += value.is_object() ? "\n" : ", ";
    text += (value.is_object() ? key + ": " : "") + setting_text(member);
  }
  return text;
}

HtmlTable settings_table(const CurveJson& curve) {
  HtmlTable table{.heading = {"setting", "value"}};
  for (const auto& [name, value] : curve.at("settings").items())
    table.rows.push_back({escape_html(name), "<div class=\"wrap\">" + escape_html(setting_text(value)) + "</div>"});
  return table;
}

// ---------------------------------------------------------------------------------------------------------------------
// Sections
// ---------------------------------------------------------------------------------------------------------------------

std::string curve_section(const CurveJson& curve, HtmlCharts& charts) {
  return fmt::format(
      "<h2>AUROC against the share of the labels</h2>\n<div class=\"beside\"><figure class=\"card\">{}</figure>\n"
      "<div><p><b>How to read it.</b> Each line is one way to train a classifier. To the left it gets few labels, to "
      "the "
      "right all of them. A mark is the mean over {} seeds of the macro AUROC, the mean over {} classes; 0.5 is "
      "guessing, 1 is perfect.</p>\n"
      "<p>The bars are 95&nbsp;% intervals of that mean. All arms are tested on the same patients, so two bars may "
      "overlap "
      "and one arm still be reliably better: the interval of the difference, in the table, decides.</p></div></div>\n",
      charts.inline_svg(curve_chart(curve),
                        "Macro AUROC against the share of the training labels, a line for each arm; "
                        "the table below has the numbers"),
      curve.at("seeds").size(), curve.at("classes").size());
}

std::string auroc_section(const CurveJson& curve) {
  return "<h2>All arms in numbers</h2>\n" +
         to_html(
             metric_table(curve, "auroc", true,
                          "Macro AUROC, mean over seeds [95 % interval]. Below it: gain over training from scratch, in "
                          "points [95 % interval], ▲ or ▼ where the interval excludes 0; SD over seeds.")) +
         "<details><summary>Macro F1 at a threshold of 0.5</summary>\n" +
         to_html(metric_table(curve, "f1", false, "Macro F1, mean over seeds [95 % interval]; SD over seeds.")) +
         "</details>\n";
}

/// All classes, or those with the most positives where there are many.
std::vector<std::string> classes_to_draw(const CurveJson& curve) {
  const auto classes = curve.at("classes").get<std::vector<std::string>>();
  std::vector<size_t> order(classes.size());
  for (size_t c = 0; c < order.size(); ++c) order[c] = c;
  const auto positives = [&](size_t c) { return curve.at("test_positives").at(c).get<double>(); };
  if (order.size() > kMostRocPanels) {
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return positives(a) > positives(b); });
    order.resize(kMostRocPanels);
    std::sort(order.begin(), order.end());
  }
  std::vector<std::string> drawn;
  for (const size_t c : order) drawn.push_back(classes[c]);
  return drawn;
}

std::string class_section(const CurveJson& curve, HtmlCharts& charts) {
  const double fraction = fraction_near_a_tenth(curve);
  const std::vector<std::string> classes = classes_to_draw(curve);
  std::string html =
      fmt::format("<h2>Each class, with {} of the labels</h2>\n<ul class=\"legend\">", percent(fraction));
  for (const CurveArm& arm : arms_of(curve)) html += "<li>" + html_legend_entry(arm.style, arm.label) + "</li>";
  html += "</ul>\n<div class=\"panels\">\n";
  for (const std::string& name : classes)
    html += fmt::format("<figure class=\"card\">{}</figure>\n",
                        charts.inline_svg(roc_chart(curve, name, fraction), "ROC curves of the class " + name));
  html +=
      "</div>\n<p class=\"quiet\">Receiver operating characteristics on the test records, from probabilities "
      "averaged over seeds; dashed: guessing.";
  if (classes.size() < curve.at("classes").size())
    html += fmt::format(" Drawn are the {} classes with the most positives.", classes.size());
  return html + "</p>\n" + to_html(class_table(curve, fraction));
}

std::string method_section(const CurveJson& curve) {
  std::vector<std::string> seeds;
  for (const CurveJson& seed : curve.at("seeds")) seeds.push_back(seed.dump());
  return fmt::format(
      R"(<h2>How it was measured</h2>
<ul>
<li><b>Records.</b> Training: {}. Validation: {}. Test: {}. No patient is in more than one of them.</li>
<li><b>Few labels.</b> A fraction of the labelled training records is drawn patient by patient, each with all of their
records, and so that the classes keep their shares as far as that is possible. For one seed the fractions are nested:
the records of a small fraction are among those of every larger one. All arms get the same records.</li>
<li><b>Arms.</b> <i>From scratch</i>: the whole network, from random weights, sees the chosen labels only.
<i>Frozen</i>: the pre-trained encoder stays as it is, and one linear layer is trained on it. <i>Fine-tuned</i>:
encoder and layer are trained together. <i>Frozen random</i> is the control: an encoder of random weights already
turns an ECG into useful numbers, so only what a frozen pre-trained encoder gains over it was learnt in
pre-training.</li>
<li><b>Selection.</b> The epoch is chosen on the validation records. The test records are used once, for the chosen
epoch; nothing is selected on them.</li>
<li><b>Seeds.</b> Every arm is trained with each of the seeds {}: other records with labels, other initial weights,
another order. The figures are means over the seeds, and SD is their standard deviation.</li>
<li><b>Intervals.</b> 95&nbsp;% bootstrap over the test patients, the 2.5th and 97.5th percentile: patients are drawn
with replacement, each with all of their records, the same draw for all seeds and arms. Gains are differences within a
draw (paired), which is why their intervals are narrower than those of the arms suggest.</li>
<li><b>What an interval covers, and what not.</b> It says how the mean over these seeds would vary with other test
patients from the same hospital. It does not cover other seeds (see SD), another pre-training run, other
hyperparameters, other hospitals or devices. The many comparisons in the table are not corrected for: where there is
no difference at all, one interval in twenty still excludes 0.</li>
</ul>
)",
      record_count(curve, "training"), record_count(curve, "validation"), record_count(curve, "test"),
      fmt::join(seeds, ", "));
}

std::string to_html(const CurveJson& curve) {
  const std::string title = curve.at("title").get<std::string>();
  HtmlCharts charts;
  return html_page(title, "<h1>" + escape_html(title) + "</h1>\n" + conclusion(curve) + curve_section(curve, charts) +
                              auroc_section(curve) + class_section(curve, charts) + method_section(curve) +
                              "<h2>Settings</h2>\n" + to_html(settings_table(curve)) +
                              fmt::format("<details><summary>All {} runs</summary>\n", curve.at("runs").size()) +
                              to_html(run_table(curve)) + "</details>\n");
}

}  // namespace

void write_label_curve_report(const std::filesystem::path& folder, const nlohmann::ordered_json& curve) {
  try {
    const Page page = curve_page(curve);
    const std::string html = to_html(curve);
    write_svg(folder / "label_curve.svg", page);
    write_file_atomically(folder / "report.html", html);
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("{}: the label curve is not complete: {}", folder.string(), error.what()));
  }
}

}  // namespace systole::tools
