#include "kernels/conv1d/cases.h"

namespace systole::kernels {

const std::vector<Conv1dCase>& conv1d_cases() {
  // name, {N, L, C_in, C_out, K, stride, padding, dilation}
  static const std::vector<Conv1dCase> cases = {
      // the six layers of ECGEncoder1DCNN at 12 × 1000 (10 s at 100 Hz)
      {"encoder/0 12-64 K11 s2 N256", {256, 1000, 12, 64, 11, 2, 5}},
      {"encoder/1 64-64 K7 N256", {256, 500, 64, 64, 7, 1, 3}},
      {"encoder/2 64-128 K7 s2 N256", {256, 500, 64, 128, 7, 2, 3}},
      {"encoder/3 128-128 K5 N256", {256, 250, 128, 128, 5, 1, 2}},
      {"encoder/4 128-256 K5 s2 N256", {256, 250, 128, 256, 5, 2, 2}},
      {"encoder/5 256-256 K3 N256", {256, 125, 256, 256, 3, 1, 1}},
      {"encoder/0 12-64 K11 s2 N8", {8, 1000, 12, 64, 11, 2, 5}},
      {"encoder/1 64-64 K7 N8", {8, 500, 64, 64, 7, 1, 3}},
      {"encoder/2 64-128 K7 s2 N8", {8, 500, 64, 128, 7, 2, 3}},
      {"encoder/3 128-128 K5 N8", {8, 250, 128, 128, 5, 1, 2}},
      {"encoder/4 128-256 K5 s2 N8", {8, 250, 128, 256, 5, 2, 2}},
      {"encoder/5 256-256 K3 N8", {8, 125, 256, 256, 3, 1, 1}},
      // TemporalNet: 8 leads of 2500 samples (5 s at 500 Hz) folded into the batch, both branches
      {"temporal/first 1-32 K7", {8, 2500, 1, 32, 7, 1, 3}},
      {"temporal/1 32-32 K3", {8, 625, 32, 32, 3, 1, 1}},
      {"temporal/1 32-64 K7", {8, 625, 32, 64, 7, 1, 3}},
      {"temporal/2 64-128 K3", {8, 625, 64, 128, 3, 1, 1}},
      {"temporal/3 128-256 K7", {8, 625, 128, 256, 7, 1, 3}},
      {"temporal/4 256-256 K7", {8, 625, 256, 256, 7, 1, 3}},
      {"temporal/shortcut 128-256 K1", {8, 625, 128, 256, 1, 1, 0}},
      {"temporal/integration 512-512 K3", {8, 625, 512, 512, 3, 1, 1}},
      // one sample, lengths around tiles and blocks, channels that fill no vector, every mix of stride and dilation
      {"odd/L1", {3, 1, 3, 5, 1, 1, 0}},
      {"odd/L1 K3 padded", {2, 1, 12, 20, 3, 1, 1}},
      {"odd/L2 K5 s3", {5, 2, 20, 3, 5, 3, 2}},
      {"odd/L7", {4, 7, 12, 64, 7, 1, 3}},
      {"odd/L13 s2 d2", {3, 13, 3, 20, 3, 2, 2, 2}},
      {"odd/L13 s3 d2", {2, 13, 5, 7, 4, 3, 4, 2}},
      {"odd/L13 s2 d3", {2, 13, 7, 6, 3, 2, 3, 3}},
      {"odd/L40 s6 d4", {2, 40, 3, 4, 5, 6, 7, 4}},
      {"odd/L127 no padding", {2, 127, 64, 20, 5, 1, 0}},
      {"odd/L127 K1 s2", {3, 127, 20, 12, 1, 2, 0}},
      {"odd/L127 K2 s3", {2, 127, 6, 16, 2, 3, 0}},
      {"odd/L129 d3", {2, 129, 12, 64, 5, 1, 6, 3}},
      {"odd/L129 much padding", {2, 129, 3, 12, 3, 1, 7}},
      {"odd/L129 250 channels", {2, 129, 250, 250, 3, 1, 1}},
      {"odd/L1000 one channel", {2, 1000, 1, 1, 15, 1, 7}},
      {"odd/L1000 1-250", {1, 1000, 1, 250, 3, 2, 1}},
      {"odd/L1001 250-1", {1, 1001, 250, 1, 3, 1, 1}},
      {"odd/L1001 s3 d3", {2, 1001, 12, 20, 7, 3, 9, 3}},
      {"odd/many records", {133, 9, 4, 17, 3, 1, 1}},
  };
  return cases;
}

}  // namespace systole::kernels
