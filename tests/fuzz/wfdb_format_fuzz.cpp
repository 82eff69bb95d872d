// The sample formats of WFDB: the format, samples per frame of the signal, before and after it, its initial value, and
// the bytes of the file.

#include <algorithm>
#include <cstring>
#include <memory>

#include "data/wfdb_files.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int kFormats[] = {8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 0};  // of 0 there is nothing to decode
  constexpr size_t kHead = 8;
  if (size < kHead) return 0;
  const int format = kFormats[data[0] % std::size(kFormats)];
  data::wfdb::Interleaving place{0, 0, data[2] % 8, 1 + data[1] % 8};
  place.frame_size = place.column + place.samples_per_frame + data[3] % 8;
  int32_t initial_value;
  std::memcpy(&initial_value, data + 4, sizeof initial_value);

  const auto bytes = static_cast<int64_t>(size - kHead);
  place.frames = data::wfdb::samples_in(format, bytes) / place.frame_size;
  const int64_t used = data::wfdb::bytes_of(format, place.frames * place.frame_size);
  fuzz::require(used <= bytes);
  const std::unique_ptr<uint8_t[]> file(new uint8_t[static_cast<size_t>(used + data::wfdb::kPadding)]);
  std::copy_n(data + kHead, used, file.get());
  std::vector<int32_t> samples(static_cast<size_t>(place.frames * place.samples_per_frame));
  fuzz::attempt([&] { data::wfdb::decode_signal(format, file.get(), place, initial_value, samples.data()); });
  return 0;
}
