// A safetensors file.

#include "tests/fuzz/tensor_fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (!formats::is_safetensors(fuzz::text(data, size))) return 0;
  fuzz::attempt([&] { fuzz::require_whole(formats::read_safetensors(fuzz::text(data, size), "a.safetensors")); });
  return 0;
}
