// The dict of statements in PTB-XL's table.

#include "data/ptbxl.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    for (const auto& [code, likelihood] : data::parse_scp_codes(fuzz::text(data, size)))
      fuzz::require(!code.empty() && likelihood >= 0 && likelihood <= 100);
  });
  return 0;
}
