// CUDA graphs by stream capture (CUDA C++ Programming Guide, "CUDA Graphs").

#include "kernels/common/launch.h"
#include "kernels/cuda/graph.h"

namespace systole::kernels::cuda {

Graph::Graph(const Queue& queue, const std::function<void()>& step) {
  const cudaStream_t stream = stream_of(queue);
  cudaGraph_t graph = nullptr;
  // Relaxed: the step may allocate memory, which other modes forbid although it is no part of the graph.
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "beginning the capture of a graph");
  try {
    step();
  } catch (...) {  // the stream must leave the capture, or nothing could be put on it any more
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "ending the capture of a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiateWithFlags(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "making a captured graph executable");
  executable_ = executable;
}

Graph::~Graph() {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

void Graph::launch(const Queue& queue) const {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream_of(queue)), "launching a graph");
}

}  // namespace systole::kernels::cuda
