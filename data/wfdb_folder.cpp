#include "data/wfdb_folder.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "kernels/common/error.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

fs::recursive_directory_iterator everything_below(const fs::path& root) {
  return fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied);
}

bool is_header(const fs::directory_entry& entry) {
  return entry.path().extension() == ".hea";
}

std::string name_of(const fs::path& folder) {
  const fs::path path = fs::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();  // a slash may end it
}

bool is_of_ptbxl(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  return name == "ptbxl_database.csv" || name == "records100" || name == "records500" ||
         fs::exists(entry.path() / "ptbxl_database.csv");
}

}  // namespace

bool is_wfdb_folder(const fs::path& root) {
  if (!fs::is_directory(root)) return false;
  const fs::directory_iterator entries(root);
  if (std::any_of(begin(entries), end(entries), is_of_ptbxl)) return false;
  const auto below = everything_below(root);
  return std::any_of(begin(below), end(below), is_header);
}

Dataset load_wfdb_folder(const LoadOptions& options, LoadReport& report) {
  if (!options.folds.empty() && !std::count(options.folds.begin(), options.folds.end(), 1))
    throw Error(
        fmt::format("The records of {} came without a label table, so all are in fold 1: --label-table gives "
                    "folds and labels.",
                    options.root.string()));
  std::set<fs::path> paths;
  for (const fs::directory_entry& entry : everything_below(options.root))
    if (is_header(entry)) paths.insert(fs::path(entry.path()).replace_extension());
  std::vector<RecordSource> sources;
  for (const fs::path& path : paths) {
    const int64_t number = static_cast<int64_t>(sources.size()) + 1;
    sources.push_back({path, path.lexically_relative(options.root).string(), number, number, 1, {}});
  }
  const RecordRules rules{
      .name = name_of(options.root), .label_set = "none", .classes = {}, .cut_to = usual_length(sources, options)};
  return load_records(sources, rules, options, report);
}

}  // namespace systole::data
