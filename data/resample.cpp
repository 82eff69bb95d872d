#include "data/resample.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numbers>
#include <numeric>

#include "kernels/common/error.h"

namespace systole::data {
namespace {

constexpr double kTransition = 0.1;  // of the lower Nyquist frequency
constexpr double kAttenuation = 70;  // dB
constexpr int64_t kMaximumWeights = 1 << 22;
constexpr int64_t kMaximumLength = 1 << 28;  // of a result: six days at 500 Hz
constexpr double kMaximumGrowth = 32;        // a damaged rate must not make a small file fill the memory

/// Kaiser's rules: the window's β for an attenuation above 50 dB, and how many samples it takes for a transition of
/// `width` cycles per sample.
double kaiser_beta() {
  return 0.1102 * (kAttenuation - 8.7);
}
double kaiser_length(double width) {
  return (kAttenuation - 7.95) / (2.285 * 2 * std::numbers::pi * width);
}

/// The modified Bessel function I0, by its series Σ ((x / 2)^k / k!)².
double bessel_i0(double x) {
  double sum = 1, term = 1;
  for (int k = 1; term > 1e-17 * sum; ++k) {
    term *= (x / 2) * (x / 2) / (static_cast<double>(k) * k);
    sum += term;
  }
  return sum;
}

double low_pass(double u, double cutoff, double half_width) {
  const double inside = 1 - (u / half_width) * (u / half_width);
  if (inside <= 0) return 0;
  const double angle = 2 * std::numbers::pi * cutoff * u;
  const double sinc = u == 0 ? 1 : std::sin(angle) / angle;
  return sinc * bessel_i0(kaiser_beta() * std::sqrt(inside));
}

int64_t hundredths(double rate_hz) {
  if (!(rate_hz >= 1 && rate_hz <= 1e6))
    throw Error(
        fmt::format("A sampling rate of {} Hz cannot be resampled; from 1 Hz to 1 MHz were expected.", rate_hz));
  return std::llround(rate_hz * 100);
}

/// The signal at any place, continued by odd reflection at both ends; what reflects beyond the other end is that end.
double continued(std::span<const double> x, int64_t j) {
  const auto last = static_cast<int64_t>(x.size()) - 1;
  if (j < 0) return 2 * x.front() - x[static_cast<size_t>(std::min(-j, last))];
  if (j > last) return 2 * x.back() - x[static_cast<size_t>(std::max(2 * last - j, int64_t{0}))];
  return x[static_cast<size_t>(j)];
}

}  // namespace

int64_t resampled_length(int64_t length, double from_hz, double to_hz) {
  hundredths(from_hz);
  hundredths(to_hz);
  const double result = static_cast<double>(length) * to_hz / from_hz;
  if (result > static_cast<double>(kMaximumLength) || to_hz > kMaximumGrowth * from_hz)
    throw Error(
        fmt::format("{} samples at {} Hz would become {:.0f} at {} Hz; at most {} times as many and {} in all "
                    "were expected.",
                    length, from_hz, result, to_hz, kMaximumGrowth, kMaximumLength));
  return std::llround(result);
}

Resampler::Resampler(double from_hz, double to_hz) : from_hz_(from_hz), to_hz_(to_hz) {
  const int64_t from = hundredths(from_hz), to = hundredths(to_hz), common = std::gcd(from, to);
  up_ = to / common;
  down_ = from / common;
  const double nyquist = 0.5 * std::min(1.0, to_hz / from_hz);  // the lower one, in cycles per input sample
  const double half_width = kaiser_length(kTransition * nyquist) / 2;
  half_ = static_cast<int64_t>(std::ceil(half_width));
  if (up_ * 2 * half_ > kMaximumWeights)
    throw Error(fmt::format("{} Hz cannot be resampled to {} Hz: their ratio is {} / {}, a simpler one was expected.",
                            from_hz, to_hz, up_, down_));

  const auto taps = static_cast<size_t>(2 * half_);
  weights_.resize(static_cast<size_t>(up_) * taps);
  for (int64_t p = 0; p < up_; ++p) {
    double* weight = weights_.data() + static_cast<size_t>(p) * taps;
    const double fraction = static_cast<double>(p) / static_cast<double>(up_);
    for (size_t t = 0; t < taps; ++t)  // of the sample floor(place) − half + 1 + t
      weight[t] = low_pass(fraction + static_cast<double>(half_ - 1) - static_cast<double>(t),
                           nyquist * (1 - kTransition / 2), half_width);
    const double sum = std::accumulate(weight, weight + taps, 0.0);
    std::for_each(weight, weight + taps, [&](double& w) { w /= sum; });
  }
}

std::vector<double> Resampler::operator()(std::span<const double> signal) const {
  if (up_ == down_ || signal.empty()) return {signal.begin(), signal.end()};
  const auto taps = static_cast<size_t>(2 * half_);
  const auto length = static_cast<int64_t>(signal.size());
  std::vector<double> result(static_cast<size_t>(resampled_length(length, from_hz_, to_hz_)));
  for (size_t k = 0; k < result.size(); ++k) {
    const int64_t place = static_cast<int64_t>(k) * down_, first = place / up_ - half_ + 1;
    const double* weight = weights_.data() + static_cast<size_t>(place % up_) * taps;
    const bool inside = first >= 0 && first + 2 * half_ <= length;
    double sum = 0;
    if (inside)
      for (size_t t = 0; t < taps; ++t) sum += weight[t] * signal[static_cast<size_t>(first) + t];
    else
      for (size_t t = 0; t < taps; ++t) sum += weight[t] * continued(signal, first + static_cast<int64_t>(t));
    result[k] = sum;
  }
  return result;
}

}  // namespace systole::data
