// A picture of ECGs, to be measured with a ruler.
#pragma once

#include <cairo/cairo.h>
#include <doctest/doctest.h>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

namespace systole::test {

/// A written PNG, read back. Ink is what is neither paper nor grid.
class Picture {
 public:
  Picture(const std::filesystem::path& path, int dots_per_mm)
      : dots_(dots_per_mm), surface_(cairo_image_surface_create_from_png(path.c_str()), cairo_surface_destroy) {
    REQUIRE(cairo_surface_status(surface_.get()) == CAIRO_STATUS_SUCCESS);
  }
  int width() const { return cairo_image_surface_get_width(surface_.get()); }
  int height() const { return cairo_image_surface_get_height(surface_.get()); }
  bool ink(int x, int y) const {
    const unsigned char* pixel =
        cairo_image_surface_get_data(surface_.get()) + y * cairo_image_surface_get_stride(surface_.get()) + x * 4;
    return pixel[0] < 100 && pixel[1] < 100 && pixel[2] < 100;
  }
  /// First and last pixel of every run of ink in a row.
  std::vector<std::pair<int, int>> runs(int y) const {
    std::vector<std::pair<int, int>> found;
    for (int x = 0; x < width(); ++x) {
      if (!ink(x, y)) continue;
      if (!found.empty() && found.back().second == x - 1)
        found.back().second = x;
      else
        found.emplace_back(x, x);
    }
    return found;
  }
  /// The centre of the first line of at least `mm` from the row `y` on downwards; −1 when there is none.
  struct Line {
    double y = -1, left = 0, right = 0;
  };
  Line line_below(int y, double mm) const {
    for (; y < height(); ++y) {
      for (const auto& [left, right] : runs(y)) {
        if (right - left < mm * dots_) continue;
        int end = y;
        while (ink((left + right) / 2, end + 1)) ++end;
        return {(y + end + 1) / 2.0, double(left), double(right + 1)};
      }
    }
    return {};
  }

 private:
  int dots_;
  std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)> surface_;
};

}  // namespace systole::test
