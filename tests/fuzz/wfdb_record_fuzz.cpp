// A WFDB record as files: the header r.hea, the header s.hea of what may be its segment, and the samples r.dat.

#include <filesystem>
#include <fstream>

#include "data/wfdb.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

namespace {

/// A folder in memory where there is one, for the life of the program.
class Folder {
 public:
  Folder() {
    const std::filesystem::path memory = "/dev/shm";
    std::string pattern =
        ((std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path()) / "systole_fuzz_XXXXXX")
            .string();
    fuzz::require(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  const std::vector<std::string> files = fuzz::parts(fuzz::text(data, size), 3);
  const char* names[] = {"r.hea", "s.hea", "r.dat"};
  for (size_t i = 0; i < files.size(); ++i) std::ofstream(folder / names[i], std::ios::binary) << files[i];
  fuzz::attempt([&] {
    const data::WfdbRecord record = data::read_wfdb(folder / "r");
    fuzz::require(record.samples.size() == record.header.signals.size());
    for (size_t s = 0; s < record.samples.size(); ++s)
      fuzz::require(static_cast<int64_t>(record.samples[s].size()) ==
                    record.length * record.header.signals[s].samples_per_frame);
  });
  return 0;
}
