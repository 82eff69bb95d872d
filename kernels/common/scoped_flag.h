// Something that holds for a while, for the functions that one thread calls: set by an object's life.
//
//   using NoGradient = ScopedFlag<struct NoGradientTag>;
//   { const NoGradient none; …; NoGradient::is_active() is true here and in all that is called }
#pragma once

namespace systole {

template <class Tag>
class ScopedFlag {
 public:
  explicit ScopedFlag(bool active = true) : outer_(active_) { active_ = active; }
  ~ScopedFlag() { active_ = outer_; }
  ScopedFlag(const ScopedFlag&) = delete;
  ScopedFlag& operator=(const ScopedFlag&) = delete;

  static bool is_active() { return active_; }

 private:
  inline static thread_local bool active_ = false;
  bool outer_;
};

}  // namespace systole
