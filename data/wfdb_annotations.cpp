// Annotation files in MIT format, annot(5): words of 16 bits, low byte first; the upper 6 bits are a code, the lower 10
// the time since the annotation before. Codes above 58 extend the annotation that follows (a long time) or precedes
// them.

#include <fmt/format.h>
#include <string_view>

#include "data/input_file.h"
#include "data/wfdb_files.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

enum : int { kSkip = 59, kNumber = 60, kSubtype = 61, kChannel = 62, kAux = 63 };

/// The symbols of the codes 0 … 41 (ecgmap.h of the WFDB library); a blank where there is none.
constexpr std::string_view kSymbols = " NLRaVFJASEj/Q~ | sT*D\"=pB^t+u?![]en@xf()r";

std::string symbol_of(int code) {
  const auto index = static_cast<size_t>(code);
  if (index < kSymbols.size() && kSymbols[index] != ' ') return std::string(1, kSymbols[index]);
  return fmt::format("[{}]", code);
}

/// The bytes of the file, word by word.
class Words {
 public:
  Words(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  int next() {
    const std::string_view two = take(2);
    return static_cast<uint8_t>(two[0]) | static_cast<uint8_t>(two[1]) << 8;
  }

  std::string_view take(size_t count) {
    if (bytes_.size() - at_ < count)
      throw Error(fmt::format("The annotation file {} breaks off after {} bytes, expected a zero word at its end.",
                              file_, bytes_.size()));
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }

 private:
  std::string_view bytes_;
  const std::string& file_;
  size_t at_ = 0;
};

/// The long time of a SKIP word: 32 bits, the high word first.
int32_t long_time(Words& words) {
  const auto high = static_cast<uint32_t>(words.next());
  return static_cast<int32_t>(high << 16 | static_cast<uint32_t>(words.next()));
}

}  // namespace

std::vector<Annotation> wfdb::parse_annotations(std::string_view bytes, const std::string& file) {
  Words words(bytes, file);
  std::vector<Annotation> annotations;
  Annotation current;  // channel and number hold until they are given anew, subtype and aux for one annotation
  while (const int word = words.next()) {
    const int code = word >> 10, data = word & 0x3FF;
    if (code == kSkip) {
      current.sample += long_time(words);
      continue;
    }
    if (code < kSkip) {
      current.sample += data;
      current.code = code;
      current.symbol = symbol_of(code);
      annotations.push_back(current);
      continue;
    }
    if (annotations.empty())
      throw Error(fmt::format("The annotation file {} begins with the code {}, expected an annotation.", file, code));
    Annotation& last = annotations.back();
    if (code == kNumber) last.number = current.number = static_cast<int8_t>(data);
    if (code == kSubtype) last.subtype = static_cast<int8_t>(data);
    if (code == kChannel) last.channel = current.channel = static_cast<uint8_t>(data);
    if (code == kAux) {
      last.aux = words.take(static_cast<size_t>(data));
      if (data % 2) words.take(1);  // padded to whole words
      last.aux.erase(std::min(last.aux.find('\0'), last.aux.size()));
    }
  }
  return annotations;
}

std::vector<Annotation> read_annotations(const std::filesystem::path& path, const std::filesystem::path& root) {
  return wfdb::parse_annotations(read_text(path, wfdb::kMaximumAnnotationBytes, wfdb::root_or_folder(root, path)),
                                 path.string());
}

}  // namespace systole::data
