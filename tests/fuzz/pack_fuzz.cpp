// A packed data set. Its checksums are made right, or nearly every input would be refused for them.

#include <cstring>

#include "data/pack.h"
#include "data/pack_format.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

namespace {

void sign(std::vector<uint8_t>& bytes) {
  namespace pack = data::pack;
  pack::Header header;
  if (bytes.size() < sizeof header) return;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.file_bytes = bytes.size();
  if (header.samples_begin >= sizeof header && header.samples_begin <= bytes.size())
    header.tables_checksum = pack::checksum(bytes.data() + sizeof header, header.samples_begin - sizeof header);
  header.header_checksum = pack::checksum(&header, offsetof(pack::Header, header_checksum));
  std::memcpy(bytes.data(), &header, sizeof header);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  sign(bytes);
  fuzz::attempt([&] {
    const data::PackFile pack("a.ecgs", bytes);
    const data::Dataset& signals = pack.contents().signals;
    std::vector<int16_t> samples(static_cast<size_t>(signals.length) * signals.lead_count());
    for (size_t r = 0; r < signals.records(); ++r) fuzz::attempt([&] { pack.read_samples(r, samples.data()); });
  });
  return 0;
}
