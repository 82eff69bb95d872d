// The normalisation that stands in every checkpoint.

#include "data/normalization.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const data::Normalization n =
        data::normalization_from_json(std::string(fuzz::text(data, size)), "encoder.safetensors");
    fuzz::require(n.mean.size() == n.leads.size() && n.std.size() == n.leads.size());
  });
  return 0;
}
