// The header of a WFDB record.

#include "data/wfdb_files.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const data::WfdbHeader header = data::wfdb::parse_header(fuzz::text(data, size), "r.hea");
    fuzz::require(header.signals.empty() || header.segments.empty());
    for (const data::WfdbSignal& signal : header.signals)
      fuzz::require(signal.samples_per_frame > 0 && signal.byte_offset >= 0 && signal.gain != 0);
  });
  return 0;
}
