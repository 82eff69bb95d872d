// Elementwise operations on the CPU. All but dropout, which draws its mask, are bound by
// memory: one loop, each value touched once.

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/series_cpu.h"
#include "kernels/elementwise/elementwise.h"

namespace systole::kernels {
namespace {

using cpu::Narrowed, cpu::Widened;

constexpr int64_t kPiece = 16384;  // elements per piece of work: 64 KB, a multiple of four (one Philox block)

/// Calls body(begin, n) for all pieces of [0, count), in parallel.
template <class Body>
void for_pieces(int64_t count, const Body& body) {
  parallel_for((count + kPiece - 1) / kPiece,
               [&](int64_t piece) { body(piece * kPiece, std::min(kPiece, count - piece * kPiece)); });
}

/// to[i] = value(i), or to[i] += value(i). `value` may read to[i], never another element.
template <class Value>
void store(int64_t n, GradientMode mode, float* to, const Value& value) {
  if (mode == GradientMode::overwrite) {  // NOLINT(bugprone-branch-clone): behind the pragmas they differ
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) to[i] = value(i);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) to[i] += value(i);
  }
}

void relu(Queue&, int64_t count, ConstSeries x_series, Series y_series) {
  const Widened x(x_series, count);
  const Narrowed y(y_series, count);
  for_pieces(count, [&](int64_t begin, int64_t n) {
    store(n, GradientMode::overwrite, y + begin, [x = x + begin](int64_t i) { return x[i] < 0 ? 0.0f : x[i]; });
  });
}

void relu_backward(Queue&, int64_t count, ConstSeries y_series, ConstSeries dy_series, Series dx_series,
                   GradientMode mode) {
  const Widened y(y_series, count), dy(dy_series, count);
  const Narrowed dx(dx_series, count, mode == GradientMode::accumulate);
  for_pieces(count, [&](int64_t begin, int64_t n) {
    store(n, mode, dx + begin, [y = y + begin, dy = dy + begin](int64_t i) { return y[i] > 0 ? dy[i] : 0.0f; });
  });
}

void add(Queue&, int64_t count, ConstSeries a_series, ConstSeries b_series, Series y_series) {
  const Widened a(a_series, count), b(b_series, count);
  const Narrowed y(y_series, count);
  for_pieces(count, [&](int64_t begin, int64_t n) {
    store(n, GradientMode::overwrite, y + begin, [a = a + begin, b = b + begin](int64_t i) { return a[i] + b[i]; });
  });
}

void scale(Queue&, int64_t count, float factor, ConstSeries x_series, Series y_series, GradientMode mode) {
  const Widened x(x_series, count);
  const Narrowed y(y_series, count, mode == GradientMode::accumulate);
  for_pieces(count, [&](int64_t begin, int64_t n) {
    store(n, mode, y + begin, [factor, x = x + begin](int64_t i) { return factor * x[i]; });
  });
}

/// Calls body(row) for all rows of C channels, in parallel pieces of about kPiece values.
template <class Body>
void for_rows(int64_t rows, int C, const Body& body) {
  const int64_t per_piece = std::max<int64_t>(1, kPiece / C);
  parallel_for((rows + per_piece - 1) / per_piece, [&](int64_t piece) {
    const int64_t end = std::min(rows, (piece + 1) * per_piece);
    for (int64_t row = piece * per_piece; row < end; ++row) body(row);
  });
}

void concatenate(Queue&, const ConcatenateShape& s, ConstSeries a_series, ConstSeries b_series, Series y_series) {
  const int C = s.C_a + s.C_b;
  const Widened a(a_series, s.rows * s.C_a), b(b_series, s.rows * s.C_b);
  const Narrowed y(y_series, s.rows * C);
  for_rows(s.rows, C, [&](int64_t row) {
    std::copy_n(a + row * s.C_a, s.C_a, y + row * C);
    std::copy_n(b + row * s.C_b, s.C_b, y + row * C + s.C_a);
  });
}

void concatenate_backward(Queue&, const ConcatenateShape& s, ConstSeries dy_series, Series da_series,
                          GradientMode da_mode, Series db_series, GradientMode db_mode) {
  const int C = s.C_a + s.C_b;
  const Widened dy(dy_series, s.rows * C);
  const Narrowed da(da_series, s.rows * s.C_a, da_mode == GradientMode::accumulate);
  const Narrowed db(db_series, s.rows * s.C_b, db_mode == GradientMode::accumulate);
  for_rows(s.rows, C, [&](int64_t row) {
    const float* from = dy + row * C;
    if (da) store(s.C_a, da_mode, da + row * s.C_a, [from](int64_t i) { return from[i]; });
    if (db) store(s.C_b, db_mode, db + row * s.C_b, [from = from + s.C_a](int64_t i) { return from[i]; });
  });
}

void split_leads(Queue&, const SplitLeadsShape& s, ConstSeries x_series, Series y_series) {
  const int64_t count = int64_t{s.V} * s.N * s.L * s.C;
  const Widened x(x_series, count);
  const Narrowed y(y_series, count);
  parallel_for(int64_t{s.V} * s.N, [&](int64_t m) {
    const int64_t view = m / s.N, record = m % s.N;
    const float* from = x + m * s.L * s.C;
    for (int c = 0; c < s.C; ++c) {
      float* to = y + ((view * s.C + c) * s.N + record) * s.L;
      for (int l = 0; l < s.L; ++l) to[l] = from[int64_t{l} * s.C + c];
    }
  });
}

void gather(Queue&, const GatherShape& s, const float* table, const int32_t* rows, float* y) {
  for_rows(s.N, s.C, [&](int64_t n) { std::copy_n(table + int64_t{rows[n]} * s.C, s.C, y + n * s.C); });
}

constexpr int kBlocks = 16;  // Philox blocks drawn before their use, so that the use is a vector loop

/// bits[4·b + w] = word w of block first + b of the stream.
void draw(const RandomStream& stream, uint32_t first, uint32_t* bits) {
  for (uint32_t b = 0; b < kBlocks; ++b) {
    const Philox4 block = stream.block(first + b);
    std::copy_n(block.word, 4, bits + 4 * b);
  }
}

/// One part of one record: elements begin … begin + n, where begin is a multiple of four.
void drop(const DropoutShape& s, const RandomStream& stream, int64_t begin, int64_t n, const float* x, float* y,
          GradientMode mode) {
  const auto threshold = static_cast<uint32_t>(std::ceil(s.p * 0x1p24f));  // uniform < p, on the 24 bits themselves
  const float factor = 1 / (1 - s.p);
  uint32_t bits[4 * kBlocks];
  for (int64_t done = 0; done < n; done += 4 * kBlocks) {
    draw(stream, static_cast<uint32_t>((begin + done) / 4), bits);
    store(std::min<int64_t>(n - done, 4 * kBlocks), mode, y + done,
          [&bits, threshold, factor, x = x + done](int64_t i) {
            return bits[i] >> 8 >= threshold ? x[i] * factor : 0.0f;
          });
  }
}

void dropout(Queue&, const DropoutShape& s, ConstSeries x_series, Series y_series, GradientMode mode) {
  const Widened x(x_series, s.N * s.elements);
  const Narrowed y(y_series, s.N * s.elements, mode == GradientMode::accumulate);
  const int64_t pieces = (s.elements + kPiece - 1) / kPiece;  // per record
  parallel_for(s.N * pieces, [&](int64_t i) {
    const int64_t record = i / pieces;
    const int64_t begin = i % pieces * kPiece;
    const int64_t start = record * s.elements + begin;
    const RandomStream stream(s.seed, Purpose::dropout, s.step, s.first_record + static_cast<uint32_t>(record), 0,
                              s.layer);
    drop(s, stream, begin, std::min(kPiece, s.elements - begin), x + start, y + start, mode);
  });
}

/// Pieces of whole rows whose first elements are multiples of four: body(record, first row, rows).
template <class Body>
void for_row_pieces(const ResidualShape& s, const Body& body) {
  const int64_t rows = std::max<int64_t>(4, kPiece / s.C / 4 * 4), pieces = (s.L + rows - 1) / rows;
  parallel_for(s.N * pieces, [&](int64_t i) {
    const int64_t first = i % pieces * rows;
    body(i / pieces, first, std::min(rows, s.L - first));
  });
}

RandomStream stream_of(const DropoutShape& mask, int64_t record) {
  return {mask.seed, Purpose::dropout, mask.step, mask.first_record + static_cast<uint32_t>(record), 0, mask.layer};
}

/// What is pending on the rows of one record, or nothing.
struct RowAffine {
  const float *scale, *shift;
  bool relu;

  RowAffine(const PendingAffine& p, const ResidualShape& s, int64_t record)
      : scale(p.scale ? p.scale + record / (s.N / p.groups) * s.C : nullptr),
        shift(p.scale ? p.shift + record / (s.N / p.groups) * s.C : nullptr),
        relu(p.relu) {}
  /// to[c] = the finished x[c]; with kAdd relu(to[c] + the finished x[c]).
  template <bool kAdd>
  void apply(int C, const float* x, float* to) const {
    const auto put = [&](const auto& value) {
#pragma omp simd
      for (int c = 0; c < C; ++c) {
        float z = value(c);
        if (relu) z = z < 0 ? 0.0f : z;
        if (kAdd) z += to[c];
        to[c] = kAdd && z < 0 ? 0.0f : z;
      }
    };
    if (scale)
      put([&](int c) { return std::fma(x[c], scale[c], shift[c]); });
    else
      put([&](int c) { return x[c]; });
  }
};

void residual(Queue&, const ResidualShape& s, ConstSeries x_series, const PendingAffine& of_x,
              ConstSeries shortcut_series, const PendingAffine& of_shortcut, const DropoutShape& mask,
              Series y_series) {
  const int64_t record_size = int64_t{s.L} * s.C;
  const Widened x(x_series, s.N * record_size), shortcut(shortcut_series, s.N * record_size);
  const Narrowed y(y_series, s.N * record_size);
  for_row_pieces(s, [&](int64_t record, int64_t first, int64_t rows) {
    const int64_t begin = first * s.C, size = rows * s.C, start = record * record_size + begin;
    // A copy of the piece: y may be the shortcut.
    float* joined = thread_scratch(0, static_cast<size_t>(size));
    const RowAffine main(of_x, s, record), side(of_shortcut, s, record);
    for (int64_t i = 0; i < size; i += s.C) main.apply<false>(s.C, x + start + i, joined + i);
    if (mask.p > 0) drop(mask, stream_of(mask, record), begin, size, joined, joined, GradientMode::overwrite);
    for (int64_t i = 0; i < size; i += s.C) side.apply<true>(s.C, shortcut + start + i, joined + i);
    std::copy_n(joined, size, y + start);
  });
}

void residual_backward(Queue&, const ResidualShape& s, ConstSeries y_series, ConstSeries dy_series,
                       const DropoutShape& mask, Series da_series, GradientMode da_mode, Series db_series,
                       GradientMode db_mode) {
  const int64_t record_size = int64_t{s.L} * s.C, count = s.N * record_size;
  const Widened y(y_series, count), dy(dy_series, count);
  const bool one = da_series.address() == db_series.address();  // then it is written once, in the end
  const Narrowed db_values(one ? nullptr : db_series, count, db_mode == GradientMode::accumulate);
  const Narrowed da_values(da_series, count, (one ? db_mode : da_mode) == GradientMode::accumulate);
  float* const da = da_values;
  float* const db = one ? da : static_cast<float*>(db_values);
  for_row_pieces(s, [&](int64_t record, int64_t first, int64_t rows) {
    const int64_t begin = first * s.C, size = rows * s.C, start = record * record_size + begin;
    float* g = thread_scratch(0, static_cast<size_t>(size));
    store(size, GradientMode::overwrite, g,
          [y = y + start, dy = dy + start](int64_t i) { return y[i] > 0 ? dy[i] : 0.0f; });
    if (db) store(size, db_mode, db + start, [g](int64_t i) { return g[i]; });
    if (!da) return;
    if (mask.p > 0) drop(mask, stream_of(mask, record), begin, size, g, g, GradientMode::overwrite);
    store(size, da_mode, da + start, [g](int64_t i) { return g[i]; });
  });
}

}  // namespace

namespace cpu {
const ElementwiseKernels elementwise{
    .relu = relu,
    .relu_backward = relu_backward,
    .add = add,
    .scale = scale,
    .concatenate = concatenate,
    .concatenate_backward = concatenate_backward,
    .split_leads = split_leads,
    .gather = gather,
    .dropout = dropout,
    .residual = residual,
    .residual_backward = residual_backward,
};
}  // namespace cpu
}  // namespace systole::kernels
