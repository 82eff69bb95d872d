"""PyTorch's SimCLR training step on the encoder of SSRL-ECG, on CPU or GPU: the peer of Systole's own step.

One step: two views [N, 12, L], each its own forward pass through encoder, mean over time and projector (as the
published code does, so BatchNorm's statistics are per view), NT-Xent at τ = 0.07, backward, Adam. No augmentation, no
loader: the views are random and wait in memory, a few batches in rotation. --precision: f32; tf32 (cuda); bf16, which
is PyTorch's autocast (cuda).

--mode: eager; compiled, with forward pass and loss by torch.compile and the fused Adam; graphs (cuda), the whole eager
step captured as one CUDA graph and replayed, its views copied to where the graph reads them.

The last line is JSON; seconds_per_step is the median. With --answer it is the other side of `systole bench step`: after
the warm-up a line says that it is ready, then every line on standard input is answered with the seconds of one step.

FLOP: 2 per multiply-add, three products per convolution (forward, input gradient, weight gradient), two views:
1.18 GFLOP per ECG at 12 × 1000. Left out: the projector (0.8 % more), BatchNorm, loss and Adam. Counted although nobody
needs it: the input gradient of the first layer (1.4 % of the sum).
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

LEADS, WIDTH, TEMPERATURE = 12, 64, 0.07
CHANNELS = (LEADS, WIDTH, WIDTH, 2 * WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH)
KERNELS, STRIDES = (11, 7, 7, 5, 5, 3), (2, 1, 2, 1, 2, 1)
BATCHES = 4  # in rotation


def make_model():
    layers = []
    for inputs, outputs, kernel, stride in zip(CHANNELS, CHANNELS[1:], KERNELS, STRIDES):
        convolution = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm1d(outputs), nn.ReLU()]
    projector = [nn.Linear(4 * WIDTH, 2048), nn.ReLU(), nn.Linear(2048, 128)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), *projector)


def nt_xent(z, temperature):
    z = F.normalize(z)
    diagonal = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(diagonal, float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def set_precision(precision):
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def wait_for(device):
    if device == "cuda":
        torch.cuda.synchronize()


def flop_per_ecg(length):
    multiply_adds = 0
    for inputs, outputs, kernel, stride in zip(CHANNELS, CHANNELS[1:], KERNELS, STRIDES):
        length = (length - 1) // stride + 1
        multiply_adds += inputs * outputs * kernel * length
    return 2 * 3 * 2 * multiply_adds


class Step:
    """Training steps; a call makes one and gives its seconds."""

    def __init__(self, options):
        self.options, self.count = options, 0
        self.model = make_model().train().to(options.device)
        capturable = {"capturable": True} if options.mode == "graphs" else {}
        fused = {"fused": True} if options.mode == "compiled" else {}
        self.adam = torch.optim.Adam(self.model.parameters(), lr=1e-3, **capturable, **fused)
        shape = (options.batch_size, LEADS, options.length)
        self.batches = [[torch.randn(shape, device=options.device) for _ in range(2)] for _ in range(BATCHES)]
        self.loss_of = torch.compile(self.forward) if options.mode == "compiled" else self.forward
        self.run = self.captured() if options.mode == "graphs" else self.train
        for _ in range(options.warmup):
            self()

    def forward(self, first, second):
        with torch.autocast(self.options.device, torch.bfloat16, enabled=self.options.precision == "bf16"):
            return nt_xent(torch.cat([self.model(first), self.model(second)]), TEMPERATURE)

    def train(self, views):
        self.adam.zero_grad()
        loss = self.loss_of(*views)
        loss.backward()
        self.adam.step()
        return loss

    def captured(self):
        views = [view.clone() for view in self.batches[0]]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # a few steps before the capture, as PyTorch asks for
            for _ in range(3):
                self.train(views)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        self.adam.zero_grad()
        with torch.cuda.graph(graph):
            loss = self.train(views)

        def replay(batch):
            for own, view in zip(views, batch):
                own.copy_(view)
            graph.replay()
            return loss

        return replay

    def __call__(self):
        device, views = self.options.device, self.batches[self.count % BATCHES]
        self.count += 1
        wait_for(device)
        start = time.perf_counter()
        loss = self.run(views)
        wait_for(device)
        seconds = time.perf_counter() - start
        if not torch.isfinite(loss):
            raise SystemExit(f"the loss after {self.count} steps is {loss.item()}")
        return seconds


def answer(step):
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(step()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--mode", choices=("eager", "compiled", "graphs"), default="eager")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, default=128, help="ECGs per step; each gives two views")
    parser.add_argument("--length", type=int, default=1000, help="samples per lead")
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them")
    parser.add_argument("--answer", action="store_true", help="answer each line on standard input by a step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    set_precision(options.precision)

    step = Step(options)
    if options.answer:
        answer(step)
        return
    seconds = [step() for _ in range(options.steps)]
    median = statistics.median(seconds)
    rate = options.batch_size / median
    result = {"peer": f"PyTorch {torch.__version__}, {options.mode}", "device": options.device, "precision": options.precision}
    result |= {"threads": options.threads}
    result |= {"batch_size": options.batch_size, "length": options.length, "steps": options.steps}
    result |= {"seconds_per_step": median, "fastest": min(seconds), "slowest": max(seconds), "ecg_per_second": rate}
    result["gflop_per_second"] = rate * flop_per_ecg(options.length) / 1e9
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
