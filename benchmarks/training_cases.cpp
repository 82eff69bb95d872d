// The cases of kernels/optimizer and kernels/step_data: what a training step does around its passes.

#include <cstring>

#include "benchmarks/case_list.h"
#include "kernels/common/memory.h"
#include "kernels/optimizer/cases.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/step_data/cases.h"

namespace systole::benchmarks {

using namespace systole::kernels;

namespace {

template <class T>
std::vector<float> words_of(const T& value) {
  std::vector<float> words(sizeof value / sizeof(float));
  std::memcpy(words.data(), &value, sizeof value);
  return words;
}

/// What every update reads: the factors of a step, and the scale of the gradient.
struct StepInputs {
  int factors, scale;

  StepInputs(Problem& p, const StepFactors& f) : factors(p.given(words_of(f))), scale(p.given({1})) {}
  const StepFactors* factors_in(const Memory& m) const { return reinterpret_cast<const StepFactors*>(m[factors]); }
};

double* double_in(float* memory) {
  return reinterpret_cast<double*>(memory);
}
uint32_t* words_in(float* memory) {
  return reinterpret_cast<uint32_t*>(memory);
}

void add_updates(Cases& cases, const OptimizerCase& c) {
  const int64_t count = c.count;
  add(cases, "optimizer.adam", c.name, c.adam_flop(), c.adam_bytes(), [=](Problem& p) -> Run {
    const int gradient = p.normal(count), w = p.updated(p.normal(count)), first = p.updated(p.normal(count)),
              second = p.updated(p.positive(count));
    const StepInputs step(p, step_factors(Adam{}, 3, 1e-3));
    return [=](Queue& q, const Memory& m) {
      optimizer_kernels(q.device())
          .adam(q, count, {}, step.factors_in(m), m[step.scale], m[gradient], m[w], m[first], m[second]);
    };
  });
  add(cases, "optimizer.sgd", c.name, c.sgd_flop(), c.sgd_bytes(), [=](Problem& p) -> Run {
    const int gradient = p.normal(count), w = p.updated(p.normal(count)), momentum = p.updated(p.normal(count));
    const StepInputs step(p, step_factors(2, 1e-3));
    return [=](Queue& q, const Memory& m) {
      optimizer_kernels(q.device())
          .sgd(q, count, {.momentum = 0.9}, step.factors_in(m), m[step.scale], m[gradient], m[w], m[momentum]);
    };
  });
  add(cases, "optimizer.lars", c.name, c.lars_flop(), c.lars_bytes(), [=](Problem& p) -> Run {
    const int gradient = p.normal(count), w = p.updated(p.normal(count)), momentum = p.updated(p.normal(count));
    const StepInputs step(p, step_factors(2, 1e-3));
    return [=](Queue& q, const Memory& m) {
      const LarsSegment segments[] = {{0, count / 2, false}, {count / 2, count, true}};
      optimizer_kernels(q.device())
          .lars(q, 2, segments, {.weight_decay = 1e-4}, step.factors_in(m), m[step.scale], m[gradient], m[w],
                m[momentum]);
    };
  });
}

}  // namespace

void add_optimizer(Cases& cases) {
  for (const OptimizerCase& c : optimizer_cases()) {
    const int64_t count = c.count;
    add_updates(cases, c);
    // The sum is a double, which is compared as the float that limit_norm makes of it.
    add(cases, "optimizer.sum_of_squares, with limit_norm", c.name, c.squares_flop(), c.squares_bytes(),
        [=](Problem& p) -> Run {
          const int x = p.normal(count), sum = p.given({0, 0}), scale = p.result(1);
          return [=](Queue& q, const Memory& m) {
            optimizer_kernels(q.device()).sum_of_squares(q, count, m[x], double_in(m[sum]));
            optimizer_kernels(q.device()).limit_norm(q, 1e-3, double_in(m[sum]), m[scale]);
          };
        });
    add(cases, "optimizer.ema", c.name, c.ema_flop(), c.ema_bytes(), [=](Problem& p) -> Run {
      const int source = p.normal(count), target = p.updated(p.normal(count)),
                weights = p.given(words_of(ema_weights(0.99)));
      return [=](Queue& q, const Memory& m) {
        optimizer_kernels(q.device())
            .ema(q, count, reinterpret_cast<const EmaWeights*>(m[weights]), m[source], m[target]);
      };
    });
  }
  add(cases, "optimizer.limit_norm", "one number", 3, 12, [](Problem& p) -> Run {
    const int sum = p.given(words_of(25.0)), scale = p.result(1);
    return
        [=](Queue& q, const Memory& m) { optimizer_kernels(q.device()).limit_norm(q, 2, double_in(m[sum]), m[scale]); };
  });
}

void add_step_data(Cases& cases) {
  for (const StepDataCase& c : step_data_cases()) {
    const int first = c.words - c.words / 2, second = c.words / 2;
    const auto columns_in = [=](const Memory& m, int a, int b) {
      StepColumns columns;
      columns.add(words_in(m[a]), first);
      columns.add(words_in(m[b]), second);
      return columns;
    };
    add(cases, "step_data.fetch", c.name, 0, c.bytes(), [=](Problem& p) -> Run {
      const int table = p.normal(c.words), row = p.given({0}), a = p.result(first), b = p.result(second);
      return [=](Queue& q, const Memory& m) {
        step_data_kernels(q.device()).fetch(q, columns_in(m, a, b), words_in(m[table]), words_in(m[row]));
      };
    });
    // A call moves on by a row, and the table has one: the row's number is set back before each, which is timed too.
    add(cases, "step_data.keep", c.name, 0, c.bytes(), [=](Problem& p) -> Run {
      const int table = p.result(c.words), row = p.given({0}), a = p.normal(first), b = p.normal(second);
      return [=](Queue& q, const Memory& m) {
        fill_zero(q, m[row], sizeof(uint32_t));
        step_data_kernels(q.device()).keep(q, columns_in(m, a, b), words_in(m[table]), words_in(m[row]));
      };
    });
  }
}

}  // namespace systole::benchmarks
