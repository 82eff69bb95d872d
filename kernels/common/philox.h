// Philox4x32-10, the only random number generator of Systole (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011). It is a keyed function of a counter and has no state, so a draw depends on what it is
// for, never on which thread makes it or on how many were made before.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/common/elementary.h"

namespace systole {

struct Philox4 {
  uint32_t word[4];
};

inline constexpr uint32_t kPhiloxFactor0 = 0xD2511F53, kPhiloxFactor1 = 0xCD9E8D57;
inline constexpr uint32_t kPhiloxStep0 = 0x9E3779B9,
                          kPhiloxStep1 = 0xBB67AE85;  // golden ratio; square root of 3, minus 1

/// Ten rounds of Philox on a 128-bit counter with a 64-bit key.
SYSTOLE_HOST_DEVICE inline Philox4 philox4x32_10(Philox4 counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{kPhiloxFactor0} * counter.word[0];
    const uint64_t product1 = uint64_t{kPhiloxFactor1} * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(product0)}};
    key0 += kPhiloxStep0;
    key1 += kPhiloxStep1;
  }
  return counter;
}

/// One word of the result. On a GPU a call: where a few threads draw single numbers, one after the other, ten rounds in
/// the place of each would take longer to be fetched than to be computed.
SYSTOLE_HOST_DEVICE_CALL inline uint32_t philox4x32_10_word(Philox4 counter, uint32_t key0, uint32_t key1,
                                                            uint32_t which) {
  const Philox4 words = philox4x32_10(counter, key0, key1);
  const uint32_t even = which & 2 ? words.word[2] : words.word[0], odd = which & 2 ? words.word[3] : words.word[1];
  return which & 1 ? odd : even;
}

/// What a stream of random numbers is for. The numbers are part of every saved result: add at the end, never reorder.
enum class Purpose : uint16_t {
  initial_weights = 1,  // record: the parameter's position in its store
  shuffle = 2,          // step: the epoch
  augmentation = 3,     // record, step and view of what is augmented; `detail`: which augmentation
  dropout = 4,          // step, record; detail: the layer
  label_fraction = 5,
  oversample = 6,  // step: the epoch
  bootstrap = 7,   // record: the replicate
  generator = 8,   // record: the patient or record that is generated
  test = 9,
  block_mask = 10,  // step, record
};

/// One stream of draws, named by seed, purpose, step, record, view and detail. Copying is free; two streams with the
/// same name give the same numbers on every device.
class RandomStream {
 public:
  SYSTOLE_HOST_DEVICE RandomStream(uint64_t seed, Purpose purpose, uint32_t step = 0, uint32_t record = 0,
                                   uint32_t view = 0, uint32_t detail = 0)
      : key0_(static_cast<uint32_t>(seed)),
        key1_(static_cast<uint32_t>(seed >> 32)),
        record_(record),
        step_(step),
        what_(static_cast<uint32_t>(purpose) << 24 | (view & 0xFFu) << 16 | (detail & 0xFFFFu)) {}

  /// The four words of block `index`.
  SYSTOLE_HOST_DEVICE Philox4 block(uint32_t index) const { return philox4x32_10(counter(index), key0_, key1_); }
  SYSTOLE_HOST_DEVICE Philox4 counter(uint32_t index) const { return {{index, record_, step_, what_}}; }
  SYSTOLE_HOST_DEVICE uint64_t key() const { return uint64_t{key1_} << 32 | key0_; }
  /// Draw number `index` of the stream: 32 random bits.
  SYSTOLE_HOST_DEVICE uint32_t bits(uint32_t index) const {
    return philox4x32_10_word(counter(index / 4), key0_, key1_, index % 4);
  }
  /// Uniform in [0, 1), 24 bits.
  SYSTOLE_HOST_DEVICE float uniform(uint32_t index) const { return to_uniform(bits(index)); }
  SYSTOLE_HOST_DEVICE float uniform(uint32_t index, float low, float high) const {
    return fmaf(high - low, uniform(index), low);  // one rounding on every device
  }
  /// A whole number in [0, count), by Lemire's multiplication; the bias is below count / 2^32.
  SYSTOLE_HOST_DEVICE uint32_t below(uint32_t index, uint32_t count) const {
    return static_cast<uint32_t>(uint64_t{bits(index)} * count >> 32);
  }
  /// Standard normal, by Box and Muller; draws 2i and 2i + 1 share one pair of uniforms.
  SYSTOLE_HOST_DEVICE float normal(uint32_t index) const {
    float four[4];
    to_normals(block(index / 4), four);
    return four[index % 4];
  }

  /// Four standard normals from the words of one block: draws 4i … 4i + 3 of `normal`.
  SYSTOLE_HOST_DEVICE static void to_normals(const Philox4& words, float (&normal)[4]) {
    to_normal_pair(words.word[0], words.word[1], normal[0], normal[1]);
    to_normal_pair(words.word[2], words.word[3], normal[2], normal[3]);
  }
  SYSTOLE_HOST_DEVICE_INLINE static void to_normal_pair(uint32_t bits0, uint32_t bits1, float& normal0,
                                                        float& normal1) {
    const float radius = std::sqrt(-2.0f * elementary::log(1.0f - to_uniform(bits0)));
    float sine, cosine;
    elementary::sin_cos_turns(to_uniform(bits1), sine, cosine);
    normal0 = radius * cosine;
    normal1 = radius * sine;
  }

  SYSTOLE_HOST_DEVICE_INLINE static float to_uniform(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

 private:
  uint32_t key0_, key1_, record_, step_, what_;
};

}  // namespace systole
