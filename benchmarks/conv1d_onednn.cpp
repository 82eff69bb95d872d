// oneDNN's convolutions, by the interface of its version 2 (Debian 12 has 2.6). A primitive is made when a shape is
// first met, which takes it milliseconds, and kept; a call lends it the addresses.

#include <array>
#include <dnnl.hpp>
#include <map>
#include <memory>

#include "benchmarks/cpu_peers.h"
#include "kernels/common/error.h"

namespace systole::benchmarks {
namespace {

using dnnl::memory;
using kernels::Conv1dShape;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}
dnnl::stream& cpu_stream() {
  static dnnl::stream stream(cpu_engine());
  return stream;
}

/// Memory whose address a call gives.
memory lent(const memory::desc& description) {
  return {description, cpu_engine(), nullptr};
}

/// The tensors and numbers of a shape, in oneDNN's words.
struct Description {
  memory::desc x, y, bias, our_weights, any_weights;
  memory::dims strides, dilations, padding;

  explicit Description(const Conv1dShape& s)
      : x({s.N, s.C_in, s.L}, memory::data_type::f32, memory::format_tag::nwc),
        y({s.N, s.C_out, s.L_out()}, memory::data_type::f32, memory::format_tag::nwc),
        bias({s.C_out}, memory::data_type::f32, memory::format_tag::x),
        our_weights({s.C_out, s.C_in, s.K}, memory::data_type::f32, memory::format_tag::wio),
        any_weights({s.C_out, s.C_in, s.K}, memory::data_type::f32, memory::format_tag::any),
        strides{s.stride},
        dilations{s.dilation - 1},  // the samples left out between two taps
        padding{s.padding} {}
};

dnnl::convolution_forward::primitive_desc forward_of(const Description& d) {
  return {dnnl::convolution_forward::desc(dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, d.x,
                                          d.any_weights, d.bias, d.y, d.strides, d.dilations, d.padding, d.padding),
          cpu_engine()};
}

/// Weights, or their gradient, as we have them and as oneDNN wants them.
class Weights {
 public:
  Weights(const Description& d, const memory::desc& wanted)
      : ours_(lent(d.our_weights)), theirs_(wanted == d.our_weights ? ours_ : memory(wanted, cpu_engine())) {}

  void lend(const float* address) { ours_.set_data_handle(const_cast<float*>(address)); }
  void reorder_to_theirs() {
    if (!same()) dnnl::reorder(ours_, theirs_).execute(cpu_stream(), ours_, theirs_);
  }
  void reorder_to_ours() {
    if (!same()) dnnl::reorder(theirs_, ours_).execute(cpu_stream(), theirs_, ours_);
  }
  const memory& theirs() const { return theirs_; }

 private:
  bool same() const { return ours_.get() == theirs_.get(); }
  memory ours_, theirs_;
};

struct Forward {
  memory x, bias, y;
  Weights weights;
  dnnl::convolution_forward pass;

  explicit Forward(const Conv1dShape& s) : Forward(Description(s)) {}
  explicit Forward(const Description& d) : Forward(d, forward_of(d)) {}
  Forward(const Description& d, const dnnl::convolution_forward::primitive_desc& chosen)
      : x(lent(d.x)), bias(lent(d.bias)), y(lent(d.y)), weights(d, chosen.weights_desc()), pass(chosen) {}

  void operator()() {
    weights.reorder_to_theirs();
    pass.execute(cpu_stream(),
                 {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weights.theirs()}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, y}});
    cpu_stream().wait();
  }
};

struct InputGradient {
  memory dy, dx;
  Weights weights;
  dnnl::convolution_backward_data pass;

  explicit InputGradient(const Conv1dShape& s) : InputGradient(Description(s)) {}
  explicit InputGradient(const Description& d)
      : InputGradient(d, {dnnl::convolution_backward_data::desc(dnnl::algorithm::convolution_direct, d.x, d.any_weights,
                                                                d.y, d.strides, d.dilations, d.padding, d.padding),
                          cpu_engine(), forward_of(d)}) {}
  InputGradient(const Description& d, const dnnl::convolution_backward_data::primitive_desc& chosen)
      : dy(lent(d.y)), dx(lent(d.x)), weights(d, chosen.weights_desc()), pass(chosen) {}

  void operator()() {
    weights.reorder_to_theirs();
    pass.execute(cpu_stream(),
                 {{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_WEIGHTS, weights.theirs()}, {DNNL_ARG_DIFF_SRC, dx}});
    cpu_stream().wait();
  }
};

struct WeightGradient {
  memory x, dy, dbias;
  Weights gradient;
  dnnl::convolution_backward_weights pass;

  explicit WeightGradient(const Conv1dShape& s) : WeightGradient(Description(s)) {}
  explicit WeightGradient(const Description& d)
      : WeightGradient(
            d, {dnnl::convolution_backward_weights::desc(dnnl::algorithm::convolution_direct, d.x, d.any_weights,
                                                         d.bias, d.y, d.strides, d.dilations, d.padding, d.padding),
                cpu_engine(), forward_of(d)}) {}
  WeightGradient(const Description& d, const dnnl::convolution_backward_weights::primitive_desc& chosen)
      : x(lent(d.x)), dy(lent(d.y)), dbias(lent(d.bias)), gradient(d, chosen.diff_weights_desc()), pass(chosen) {}

  void operator()() {
    pass.execute(cpu_stream(), {{DNNL_ARG_SRC, x},
                                {DNNL_ARG_DIFF_DST, dy},
                                {DNNL_ARG_DIFF_WEIGHTS, gradient.theirs()},
                                {DNNL_ARG_DIFF_BIAS, dbias}});
    gradient.reorder_to_ours();
    cpu_stream().wait();
  }
};

/// The pass of a shape, made once.
template <class Pass>
Pass& pass_of(const Conv1dShape& s) {
  static std::map<std::array<int, 8>, std::unique_ptr<Pass>> passes;
  auto& pass = passes[{s.N, s.L, s.C_in, s.C_out, s.K, s.stride, s.padding, s.dilation}];
  try {
    if (!pass) pass = std::make_unique<Pass>(s);
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN cannot compute ") + text(s) + ": " + error.what());
  }
  return *pass;
}

void lend(memory& memory, const float* address) {
  memory.set_data_handle(const_cast<float*>(address));
}

void forward(Queue&, const Conv1dShape& s, kernels::ConstSeries x, const kernels::PendingAffine&, const float* w,
             const float* bias, kernels::Series y, const kernels::RecordMoments&) {
  auto& pass = pass_of<Forward>(s);
  lend(pass.x, x);
  pass.weights.lend(w);
  lend(pass.bias, bias);
  lend(pass.y, y);
  pass();
}

void input_gradient(Queue&, const Conv1dShape& s, kernels::ConstSeries dy, const kernels::PendingGradient&,
                    const float* w, kernels::Series dz, GradientMode, const kernels::RecordGradientSums&) {
  auto& pass = pass_of<InputGradient>(s);
  lend(pass.dy, dy);
  pass.weights.lend(w);
  lend(pass.dx, dz);
  pass();
}

void weight_gradient(Queue&, const Conv1dShape& s, kernels::ConstSeries x, const kernels::PendingAffine&,
                     kernels::ConstSeries dy, const kernels::PendingGradient&, float* dw, float* dbias, GradientMode) {
  auto& pass = pass_of<WeightGradient>(s);
  lend(pass.x, x);
  lend(pass.dy, dy);
  pass.gradient.lend(dw);
  lend(pass.dbias, dbias);
  pass();
}

}  // namespace

const kernels::Conv1dKernels onednn_conv1d{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::benchmarks
