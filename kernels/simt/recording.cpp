#include "kernels/simt/recording.h"

namespace systole::simt {
namespace {

thread_local Recording* being_made = nullptr;

}  // namespace

Recording* Recording::active() {
  return being_made;
}

Recording::Recording(const std::function<void()>& step) {
  struct Active {
    explicit Active(Recording* recording) { being_made = recording; }
    ~Active() { being_made = nullptr; }
  };
  const Active active(this);
  step();
}

void Recording::run() const {
  for (const std::function<void()>& work : work_) work();
}

}  // namespace systole::simt
