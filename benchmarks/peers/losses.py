"""The contrastive losses of Systole in eager PyTorch, as papers' code writes them: the peer of `systole bench loss`.

That command starts this one, once for every loss and batch, and both speak as two workers of Systole would:
  1. The rows come from a file, float32 [M, D], slot after slot; for two slots M/2 more rows follow, MoCo's queue. The
     ids of rows come from another, int32 [M]: rows with equal ids belong together.
  2. Loss and gradient are computed once. The gradient goes to a file, a line of JSON to standard output: the loss, the
     bytes at the peak beyond what there was before (the process's resident memory; of a GPU, what is no longer free),
     and how many calls a sample of the time has.
  3. Every line on standard input is answered with the seconds of one call, forward and backward.

  losses.py --describe --device cpu --threads 2      says whether this Python can be a peer, in one line of JSON

Every loss holds the matrix of similarities, and autograd its derivatives.
"""

import argparse
import ctypes
import json
import sys
import time

try:
    import torch
    from torch.nn import functional as F

    from simclr_step import set_precision, wait_for
    from simclr_step import nt_xent as nt_xent_of
except ImportError as error:
    torch = None
    missing = f"this Python has no module {error.name}"


class Batch:
    """What a loss sees."""

    def __init__(self, x, ids, slots, temperature, keys=None, key_ids=None):
        self.x, self.ids, self.slots, self.temperature = x, ids, slots, temperature
        self.keys, self.key_ids = keys, key_ids

    def records(self):
        return len(self.x) // self.slots

    def record_ids(self):
        return self.ids[: self.records()]

    def unit_slots(self):
        return F.normalize(self.x).split(self.records())


def same(row_ids, column_ids):
    return row_ids[:, None] == column_ids[None, :]


def one_set(batch):
    """Logits [M, M], which pairs are a row with itself, and which belong together."""
    z = F.normalize(batch.x)
    diagonal = torch.eye(len(z), dtype=torch.bool, device=z.device)
    return z @ z.T / batch.temperature, diagonal, same(batch.ids, batch.ids) & ~diagonal


def nt_xent(batch):
    return nt_xent_of(batch.x, batch.temperature)


def supcon(batch):
    logits, diagonal, positive = one_set(batch)
    log_p = F.log_softmax(logits.masked_fill(diagonal, float("-inf")), 1)
    return -(log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


def dcl(batch):
    logits, diagonal, positive = one_set(batch)
    negative = logits.masked_fill(diagonal | positive, float("-inf")).logsumexp(1)
    return (negative - logits.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


def info_nce(batch):
    first, second = batch.unit_slots()
    return F.cross_entropy(first @ second.T / batch.temperature, torch.arange(len(first), device=first.device))


def clip(batch):
    first, second = batch.unit_slots()
    logits, labels = first @ second.T / batch.temperature, torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def moco(batch):
    logits = F.normalize(batch.x) @ F.normalize(batch.keys).T / batch.temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def clocs(batch):
    """The mean over all pairs of slots, in both directions, of the mean over all pairs of rows that belong together."""
    z, positive, losses = batch.unit_slots(), same(batch.record_ids(), batch.record_ids()), []
    for a in range(len(z)):
        for b in range(a + 1, len(z)):
            logits = z[a] @ z[b].T / batch.temperature
            losses += [-F.log_softmax(logits, dim)[positive].mean() for dim in (1, 0)]
    return torch.stack(losses).mean()


def siglip(batch, bias=-10):
    first, second = batch.unit_slots()
    sign = 2.0 * same(batch.record_ids(), batch.record_ids()) - 1
    return -F.logsigmoid(sign * (first @ second.T / batch.temperature + bias)).mean()


def off_diagonal(matrix):
    return matrix.flatten()[:-1].view(len(matrix) - 1, len(matrix) + 1)[:, 1:]


def barlow_twins(batch, weight=0.0051):
    first, second = (F.batch_norm(x, None, None, training=True) for x in batch.x.split(batch.records()))
    c = first.T @ second / len(first)
    return (c.diagonal() - 1).square().sum() + weight * off_diagonal(c).square().sum()


def vicreg(batch, invariance=25, variance=25, covariance=1):
    first, second = batch.x.split(batch.records())
    loss = invariance * F.mse_loss(first, second)
    for x in (first, second):
        x = x - x.mean(0)
        loss = loss + variance / 2 * F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean()
        loss = loss + covariance * off_diagonal(x.T @ x / (len(x) - 1)).square().sum() / x.shape[1]
    return loss


LOSSES = {"nt-xent": nt_xent, "supcon": supcon, "dcl": dcl, "info-nce": info_nce, "clip": clip, "moco": moco,
          "cmsc": clocs, "cmlc": clocs, "cmsmlc": clocs, "siglip": siglip, "barlow-twins": barlow_twins,
          "vicreg": vicreg}


class PeakMemory:
    """Bytes beyond what there was at the beginning, as benchmarks/peak_memory.h counts them."""

    def __init__(self, device):
        self.device = device
        ctypes.CDLL(None).malloc_trim(0)  # or what the heap has free would be taken first and not be counted
        self.at_first = self.taken() if device == "cuda" else self.status("VmRSS:")
        if device == "cpu":
            try:
                with open("/proc/self/clear_refs", "w") as file:
                    file.write("5")  # the peak begins anew; where that is not allowed it may be too large
            except OSError:
                pass

    @staticmethod
    def status(field):
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))

    @staticmethod
    def taken():
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        return total - free

    def bytes(self):
        return (self.taken() if self.device == "cuda" else self.status("VmHWM:")) - self.at_first


def read_batch(options):
    """Rows of a file are not read before they are used."""
    M, D, slots, device = options.rows, options.dims, options.slots, options.device
    N = M // slots
    read = lambda path, count, kind: torch.from_file(path, shared=False, size=count, dtype=kind)
    rows = read(options.rows_file, (M + N if slots == 2 else M) * D, torch.float32).view(-1, D)
    ids = read(options.ids_file, M, torch.int32).to(device)
    if options.loss != "moco":
        return Batch(rows[:M].to(device).requires_grad_(), ids, slots, options.temperature)
    key_ids = torch.cat([ids[:N], torch.full_like(ids[:N], -1)])
    return Batch(rows[:N].to(device).requires_grad_(), ids[:N], slots, options.temperature,
                 rows[N : 3 * N].to(device), key_ids)


def small_batch(options):
    N = 4
    ids = torch.arange(N, dtype=torch.int32, device=options.device)
    slots = 1 if options.loss == "moco" else options.slots
    x = torch.randn(slots * N, options.dims, device=options.device)
    return Batch(x.requires_grad_(), ids.repeat(slots), options.slots, options.temperature, x.detach(), ids)


def make_step(options, batch):
    def step():
        batch.x.grad = None
        with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = LOSSES[options.loss](batch)
        loss.backward()
        return loss.detach()

    return step


def seconds_per_call(device, call, calls):
    wait_for(device)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    wait_for(device)
    return (time.perf_counter() - start) / calls


def calls_of_a_sample(options, step):
    seconds_per_call(options.device, step, 1)
    estimate = seconds_per_call(options.device, step, 1)
    if estimate < options.sample_seconds:
        estimate = seconds_per_call(options.device, step, 3)
    return min(int(options.sample_seconds / max(estimate, 1e-9)) + 1, 1000)


def answer(line):
    print(json.dumps(line), flush=True)


def describe(options):
    """Also the rate of its own matrix products: they may be those of a BLAS that nobody has optimised."""
    if torch is None:
        return answer({"missing": missing})
    if options.device == "cuda" and not torch.cuda.is_available():
        return answer({"missing": "its PyTorch cannot use the GPU"})
    torch.set_num_threads(options.threads)
    set_precision(options.precision)
    a, b = (torch.randn(1024, 1024, device=options.device) for _ in range(2))
    with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
        seconds = min(seconds_per_call(options.device, lambda: a @ b, 1) for _ in range(5))
    answer({"name": f"PyTorch {torch.__version__}", "product_flop_per_second": 2 * 1024**3 / seconds})


def work(options):
    torch.set_num_threads(options.threads)
    set_precision(options.precision)
    make_step(options, small_batch(options))()
    memory = PeakMemory(options.device)
    batch = read_batch(options)
    step = make_step(options, batch)
    loss = step().item()
    peak_bytes = memory.bytes()
    batch.x.grad.cpu().numpy().tofile(options.gradient_file)
    calls = calls_of_a_sample(options, step)
    answer({"loss": loss, "peak_bytes": peak_bytes, "calls": calls})
    for _ in sys.stdin:
        if calls > 1:
            step()  # the caches may hold what another worker left
        answer(seconds_per_call(options.device, step, calls))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--describe", action="store_true", help="say whether this Python can be a peer")
    parser.add_argument("--loss", choices=LOSSES)
    parser.add_argument("--temperature", type=float)
    for name, meaning in (("rows", "M"), ("dims", "D"), ("slots", "of a record: its views, or their leads")):
        parser.add_argument(f"--{name}", type=int, help=meaning)
    for name in ("rows-file", "ids-file", "gradient-file"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--sample-seconds", type=float, help="how long a sample is at least")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.describe:
        describe(options)
    else:
        work(options)


if __name__ == "__main__":
    main()
