#include "data/pack_labels.h"

#include <algorithm>
#include <map>

#include "data/csv.h"
#include "data/label_table.h"
#include "data/mitdb.h"
#include "data/ptbxl.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

/// The labels of each record whose labels are known, by its id.
using LabelsById = std::map<int64_t, std::vector<uint8_t>>;

PackedLabels labels_of(const Dataset& signals, std::string name, std::vector<std::string> classes,
                       const LabelsById& known) {
  PackedLabels set{std::move(name), std::move(classes), {}, {}};
  const std::vector<uint8_t> none(set.classes.size());
  for (const int64_t id : signals.record_id) {
    const auto found = known.find(id);
    const std::vector<uint8_t>& labels = found == known.end() ? none : found->second;
    set.is_known.push_back(found != known.end());
    set.labels.insert(set.labels.end(), labels.begin(), labels.end());
  }
  return set;
}

bool has_column(const CsvTable& table, const char* column) {
  return std::count(table.header.begin(), table.header.end(), column) > 0;
}

}  // namespace

std::vector<PackedLabels> ptbxl_label_sets(const fs::path& root, const Dataset& signals) {
  const CsvTable table = read_csv(root / "ptbxl_database.csv", fs::canonical(root));
  std::vector<LabelSet> available;
  if (has_column(table, "scp_codes") && fs::exists(root / "scp_statements.csv"))
    available = {LabelSet::superclass, LabelSet::subclass, LabelSet::form, LabelSet::rhythm, LabelSet::all};
  if (has_column(table, "lvef")) available.push_back(LabelSet::low_lvef);
  if (has_column(table, "potassium")) available.push_back(LabelSet::high_potassium);

  std::vector<PackedLabels> sets;
  for (const LabelSet labels : available) {
    const PtbxlMetadata metadata = read_ptbxl_metadata(root, labels);
    LabelsById known;
    for (const PtbxlRow& row : metadata.rows)
      if (row.is_known) known[row.record_id] = row.labels;
    if (!metadata.classes.empty())
      sets.push_back(labels_of(signals, std::string(name(labels)), metadata.classes, known));
  }
  return sets;
}

std::vector<PackedLabels> mitdb_label_sets(const LoadOptions& options, const Dataset& signals) {
  LoadReport report;
  const Dataset labelled = load_mitdb(options, true, report);
  const size_t classes = labelled.classes.size();
  LabelsById known;
  for (size_t r = 0; r < labelled.records(); ++r) {
    const uint8_t* labels = labelled.labels.data() + r * classes;
    known[labelled.record_id[r]].assign(labels, labels + classes);
  }
  return {labels_of(signals, labelled.label_set, labelled.classes, known)};
}

std::vector<PackedLabels> table_label_sets(const fs::path& path, bool has_ecg_ids, const Dataset& signals) {
  const LabelTable table = read_label_table(path);
  if (table.classes.empty()) return {};
  LabelsById known;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const LabelTable::Row& row = table.rows[i];
    const int64_t id = has_ecg_ids ? std::stoll(row.record) : static_cast<int64_t>(i) + 1;  // as load_label_table
    if (row.is_known) known[id] = row.labels;
  }
  return {labels_of(signals, kTableLabelSet, table.classes, known)};
}

}  // namespace systole::data
