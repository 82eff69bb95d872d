"""PyTorch's eager NT-Xent, forward and backward, on the CPU or a GPU: the peer of Systole's contrastive kernels.

M rows of D values, not normalised; the similarity matrix is materialised, as in every public SimCLR. The last line is
JSON; seconds_per_step is the median. FLOP: the forward product and the two of the backward pass, 3 units of 2·M²·D.
"""

import argparse
import json
import statistics
import time

import torch

from simclr_step import nt_xent, set_precision, wait_for


def seconds_of_steps(options):
    device, warmup, steps = options.device, options.warmup, options.steps
    shape = (options.rows, options.columns)
    inputs = [torch.randn(shape, device=device, requires_grad=True) for _ in range(4)]  # in rotation
    seconds = []
    for step in range(warmup + steps):
        x = inputs[step % len(inputs)]
        x.grad = None
        wait_for(device)
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = nt_xent(x, options.temperature)
        loss.backward()
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return seconds[warmup:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2048, help="M, both views together")
    parser.add_argument("--columns", type=int, default=128, help="D")
    parser.add_argument("--temperature", type=float, default=0.07)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them")
    options = parser.parse_args()
    if options.rows < 4 or options.rows % 2:
        parser.error(f"--rows must be even and at least 4, it is {options.rows}")
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    set_precision(options.precision)

    seconds = seconds_of_steps(options)
    median = statistics.median(seconds)
    result = {"peer": f"PyTorch {torch.__version__}, eager"} | vars(options)
    result |= {"seconds_per_step": median, "fastest": min(seconds), "slowest": max(seconds)}
    result["gflop_per_second"] = 3 * 2 * options.rows**2 * options.columns / median / 1e9
    print(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
