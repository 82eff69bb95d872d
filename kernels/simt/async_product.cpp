// wgmma as one thread sees it: what it computes is not there before the wait, and what it reads must not change until
// then. Instrumented as kernels are, like async_copy.cpp.

#include <algorithm>
#include <cmath>

#include "kernels/simt/intrinsics.h"

namespace systole::simt {
namespace {

constexpr unsigned kOpen = ~0u;

/// FNV-1a over words of eight bytes.
void add_to_hash(uint64_t& hash, const SharedOperand& operand) {
  const int row_step = operand.rows_in_chunk ? 8 : 1, depth_step = operand.rows_in_chunk ? 1 : 8;
  for (int row = operand.first_row; row < operand.first_row + operand.rows; row += row_step)
    for (int depth = 0; depth < 16; depth += depth_step) {
      uint64_t words[2];
      __builtin_memcpy(words, operand.chunk(row, depth), sizeof(words));
      for (const uint64_t word : words) hash = (hash ^ word) * 0x100000001b3u;
    }
}
uint64_t hash_of(const AsyncProduct& product) {
  uint64_t hash = 0xcbf29ce484222325u;
  add_to_hash(hash, product.a);
  add_to_hash(hash, product.b);
  return hash;
}

}  // namespace

AsyncProduct& start_product(float* sum, unsigned count, const SharedOperand& a, const SharedOperand& b,
                            const Where& where) {
  auto& products = current_thread->products;
  const auto last = std::find_if(products.rbegin(), products.rend(), [&](const auto& p) { return p.sum == sum; });
  AsyncProduct product{sum, count, {}, a, b, 0, kOpen, where};
  std::copy_n(last == products.rend() ? sum : last->result, count, product.result);
  product.hash = hash_of(product);
  std::fill_n(sum, count, NAN);
  return products.emplace_back(product);
}

void commit_products() {
  Thread& thread = *current_thread;
  for (AsyncProduct& product : thread.products)
    if (product.group == kOpen) product.group = thread.committed_products;
  ++thread.committed_products;
}

void finish_products(unsigned groups_left) {
  Thread& thread = *current_thread;
  const auto under_way = [&](const AsyncProduct& product) {
    return product.group == kOpen || product.group + groups_left >= thread.committed_products;
  };
  auto& products = thread.products;
  const auto rest = std::find_if(products.begin(), products.end(), under_way);
  for (auto product = products.begin(); product != rest; ++product) {
    if (hash_of(*product) != product->hash)
      fail("shared memory changed before the wait for the wgmma that reads it", product->where);
    std::copy_n(product->result, product->count, product->sum);
  }
  for (auto product = rest; product != products.end(); ++product) std::fill_n(product->sum, product->count, NAN);
  products.erase(products.begin(), rest);
}

}  // namespace systole::simt
