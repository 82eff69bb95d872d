// A file of torch.save, the older form: pickles one after the other.

#include "tests/fuzz/tensor_fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (!formats::is_pytorch_stream(fuzz::text(data, size))) return 0;
  fuzz::attempt([&] { fuzz::require_whole(formats::read_pytorch_stream(fuzz::text(data, size), "a.pt")); });
  return 0;
}
