// An annotation file in MIT format.

#include "data/wfdb_files.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    for (const data::Annotation& annotation : data::wfdb::parse_annotations(fuzz::text(data, size), "r.atr"))
      fuzz::require(annotation.code < 59 && !annotation.symbol.empty());
  });
  return 0;
}
