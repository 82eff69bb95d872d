// A file of torch.save, the zip form.

#include "tests/fuzz/tensor_fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] { fuzz::require_whole(formats::read_pytorch_zip(fuzz::text(data, size), "a.pt")); });
  return 0;
}
