// Precisions other than f32 on the cpu device, whose kernels read, multiply and write f32. A series that is stored as
// bf16 goes through f32 memory of its own, and factors are rounded before they are multiplied, as the tensor cores
// round them: the cpu shows what a precision does to a training, it does not gain from it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/common/device.h"
#include "kernels/common/parallel.h"
#include "kernels/common/series.h"

namespace systole::kernels::cpu {

/// Floats, content undefined, for the time of a kernel. The memory is kept for the next one: fresh pages would cost
/// more than what is done in them.
class Floats {
 public:
  Floats() = default;
  ~Floats() {
    if (values_) kept().push_back(std::move(values_));
  }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;

  float* take(int64_t count) {
    auto& list = kept();
    if (!list.empty()) {
      values_ = std::move(list.back());
      list.pop_back();
    } else {
      values_ = std::make_unique<std::vector<float>>();
    }
    if (static_cast<int64_t>(values_->size()) < count) values_->resize(static_cast<size_t>(count));
    return values_->data();
  }

 private:
  static std::vector<std::unique_ptr<std::vector<float>>>& kept() {
    thread_local std::vector<std::unique_ptr<std::vector<float>>> list;
    return list;
  }
  std::unique_ptr<std::vector<float>> values_;
};

/// Calls body(i) for all values, in parallel.
template <class Body>
void for_values(int64_t count, const Body& body) {
  constexpr int64_t kPiece = 16384;
  parallel_for((count + kPiece - 1) / kPiece, [&](int64_t piece) {
    const int64_t end = std::min(count, (piece + 1) * kPiece);
    for (int64_t i = piece * kPiece; i < end; ++i) body(i);
  });
}

/// The values of a series of `count`, as f32.
class Widened {
 public:
  Widened(ConstSeries series, int64_t count) {
    if (series.storage() == Storage::f32) {
      values_ = series;
      return;
    }
    if (!series) return;
    float* const to = own_.take(count);
    const bf16* const from = series.as<bf16>();
    for_values(count, [&](int64_t i) { to[i] = to_float(from[i]); });
    values_ = to;
  }
  Widened(const Widened&) = delete;
  Widened& operator=(const Widened&) = delete;
  operator const float*() const { return values_; }  // NOLINT: that is what it is for

 private:
  const float* values_ = nullptr;
  Floats own_;
};

/// A series that is written: rounded to bf16 where it is stored so, at the end of the object's life. `adds`: what it
/// holds is read too.
class Narrowed {
 public:
  Narrowed(Series series, int64_t count, bool adds = false) : series_(series), count_(count) {
    if (series.storage() == Storage::f32) {
      values_ = series;
      return;
    }
    if (!series) return;
    values_ = own_.take(count);
    const bf16* from = series.as<bf16>();
    if (adds) for_values(count, [&](int64_t i) { values_[i] = to_float(from[i]); });
  }
  ~Narrowed() {
    if (!series_ || series_.storage() == Storage::f32) return;
    bf16* to = series_.as<bf16>();
    for_values(count_, [&](int64_t i) { to[i] = to_bf16(values_[i]); });
  }
  Narrowed(const Narrowed&) = delete;
  Narrowed& operator=(const Narrowed&) = delete;
  operator float*() const { return values_; }  // NOLINT

 private:
  Series series_;
  int64_t count_;
  float* values_ = nullptr;
  Floats own_;
};

/// Factors as the tensor cores of a precision see them. In f32 they are where they were.
class Rounded {
 public:
  Rounded(Precision precision, const float* values, int64_t count) : values_(values) {
    if (precision == Precision::f32) return;
    float* const to = own_.take(count);
    if (precision == Precision::bf16)
      for_values(count, [&](int64_t i) { to[i] = to_float(to_bf16(values[i])); });
    else
      for_values(count, [&](int64_t i) { to[i] = to_tf32(values[i]); });
    values_ = to;
  }
  Rounded(const Rounded&) = delete;
  Rounded& operator=(const Rounded&) = delete;
  operator const float*() const { return values_; }  // NOLINT

 private:
  const float* values_;
  Floats own_;
};

}  // namespace systole::kernels::cpu
