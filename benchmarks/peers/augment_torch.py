"""The recipe ssrl on torch tensors, whole batches at a time, on a CPU or a GPU: the peer of Systole's own views.

One step: N records, int16 [N, L, C], resident on the device → mV → seven augmentations, each on the rows that it happens
to, with draws per row → normalised views [V·N, L, C] in float32; row v·N + n is view v of record n. augment.py is the
same in NumPy, record by record; its band-pass by a Fourier transform is the one here. The last line is JSON;
seconds_per_step is the median.
"""

import argparse
import json
import math
import statistics
import time

import torch

import augment_options

CATMULL_ROM = ((0, -0.5, 1, -0.5), (1, 0, -2.5, 1.5), (0, 0.5, 2, -1.5), (0, 0, -0.5, 0.5))  # of 1, f, f², f³


class Batch:
    """What an augmentation may look at: all records in mV [N, C, L], and for each row of x the one that it is made of."""

    def __init__(self, millivolts, record, sampling_rate):
        self.millivolts, self.record, self.sampling_rate = millivolts, record, sampling_rate
        self.rows, self.length = len(record), millivolts.shape[2]
        self.time = torch.arange(self.length, device=millivolts.device)

    def uniform(self, low, high, *shape):
        return low + (high - low) * torch.rand(self.rows, *shape, device=self.record.device)

    def whole(self, low, high):
        """Whole numbers from low to high − 1, one a row; high may be a tensor."""
        return (low + torch.rand(self.rows, device=self.record.device) * (high - low)).long()

    def another(self):
        records = len(self.millivolts)
        return self.millivolts[(self.record + self.whole(1, records)) % records]


# Each takes rows x [B, C, L] and returns the result.


def frequency_warp(x, batch):
    last = batch.length - 1
    position = last / 2 + (batch.time - last / 2) * batch.uniform(0.95, 1.05, 1)
    left = position.floor()
    f = position - left
    powers = torch.stack((torch.ones_like(f), f, f * f, f * f * f))
    y = torch.zeros_like(x)
    for step, row in enumerate(CATMULL_ROM, -1):
        weight = torch.tensordot(torch.tensor(row, device=x.device), powers, 1)
        index = last - (last - (left.long() + step).abs()).abs()  # mirrored at both ends
        y += x.gather(2, index[:, None].expand_as(x)) * weight[:, None]
    return y


def mixup(x, batch):
    weight = torch.distributions.Beta(0.2, 0.2).sample((batch.rows, 1, 1)).to(x)
    weight = torch.maximum(weight, 1 - weight)
    return weight * x + (1 - weight) * batch.another()


def cutmix(x, batch):
    length = (batch.uniform(0.1, 0.3) * batch.length).long()
    begin = batch.whole(0, batch.length - length + 1)[:, None]
    inside = (batch.time >= begin) & (batch.time < begin + length[:, None])
    return torch.where(inside[:, None], batch.another(), x)


def circle_of(length):
    """The smallest 2^k or 3 · 2^k that is at least `length`."""
    power = 1 << (length - 1).bit_length()
    return power // 4 * 3 if power // 4 * 3 >= length else power


def band_pass(x, batch):
    low, high = batch.uniform(0.5, 1.5, 1), batch.uniform(40, 60, 1).clamp(max=0.49 * batch.sampling_rate)
    size = circle_of(batch.length + 2 * int(batch.sampling_rate))
    room = min(size - batch.length, 2 * batch.length - 2)
    zeros = x.new_zeros(*x.shape[:2], size - batch.length - room)
    ends = (x, x[:, :, -2 - room // 2 : -1].flip(2)[:, :, : room // 2], zeros, x[:, :, 1 : room - room // 2 + 1].flip(2))
    circle = torch.cat(ends, 2)
    f = torch.fft.rfftfreq(size, 1 / batch.sampling_rate, device=x.device)
    below, above = (f / low) ** 6, (f / high) ** 6
    response = below / (below + math.sqrt(2) - 1) / (1 + (math.sqrt(2) - 1) * above)
    return torch.fft.irfft(torch.fft.rfft(circle) * response[:, None], size)[:, :, : batch.length]


def motion_artifact(x, batch):
    angle = 2 * math.pi / batch.sampling_rate * batch.uniform(0.5, 2, 1) * batch.time
    phase, size = batch.uniform(0, 2 * math.pi, x.shape[1], 1), batch.uniform(0.01, 0.05, x.shape[1], 1)
    return x + size * torch.sin(angle[:, None] + phase)


def lead_noise(x, batch):
    return x + batch.uniform(0.005, 0.02, x.shape[1], 1) * x.std(2, correction=0, keepdim=True) * torch.randn_like(x)


def temporal_dropout(x, batch):
    segments = batch.whole(1, 4)
    length = (batch.uniform(0.05, 0.2) * batch.length / segments).long()
    room = batch.length - segments * (length + 1) + 1  # at least one sample between two of them
    begins = (batch.uniform(0, 1, 3) * (room + 1)[:, None]).long()
    begins = begins.masked_fill(torch.arange(3, device=x.device) >= segments[:, None], batch.length).sort(1).values
    rows = torch.arange(batch.rows, device=x.device)
    for i in range(3):
        begin = begins[:, i] + i * (length + 1)
        end = begin + length
        last = batch.length - 1
        after = x[rows, :, torch.where(end <= last, end, begin - 1).clamp(0, last)]
        before = torch.where((begin > 0)[:, None], x[rows, :, (begin - 1).clamp(0, last)], after)
        step = batch.time - begin[:, None] + 1
        inside = (step >= 1) & (step <= length[:, None])
        ramp = before[:, :, None] + (after - before)[:, :, None] * (step / (length[:, None] + 1))[:, None]
        x = torch.where(inside[:, None], ramp, x)
    return x


RECIPE = {
    frequency_warp: 0.5,
    mixup: 0.4,
    cutmix: 0.25,
    band_pass: 0.3,
    motion_artifact: 0.2,
    lead_noise: 0.6,
    temporal_dropout: 0.3,
}


class Records:
    """Sines of 0.2 to 20 Hz and noise, as a data set holds them."""

    def __init__(self, o):
        hz = 0.2 + 19.8 * torch.rand(o.records, 1, 1, 4)
        phase = 2 * math.pi * torch.rand(o.records, 1, o.leads, 4)
        time_s = torch.arange(o.length)[:, None, None] / o.sampling_rate
        signal = torch.sin(2 * math.pi * hz * time_s + phase).sum(-1)  # [N, L, C]
        self.samples = (200 * signal + 30 * torch.randn_like(signal)).to(torch.int16).to(o.device)
        self.scale = (0.9e-3 + 0.2e-3 * torch.rand(o.records, o.leads)).to(o.device)  # mV
        self.offset = (-0.1 + 0.2 * torch.rand(o.records, o.leads)).to(o.device)  # mV
        millivolts = self.millivolts()
        self.mean, self.std = millivolts.mean((0, 2)), millivolts.std((0, 2))  # [C]

    def millivolts(self):
        return self.samples.transpose(1, 2) * self.scale[:, :, None] + self.offset[:, :, None]  # [N, C, L]


def make_views(records, views, sampling_rate):
    """Views [V·N, L, C]."""
    millivolts = records.millivolts()
    x = millivolts.repeat(views, 1, 1)
    record = torch.arange(len(millivolts), device=x.device).repeat(views)
    for augmentation, rate in RECIPE.items():
        rows = (torch.rand(len(x), device=x.device) < rate).nonzero()[:, 0]
        if len(rows) > 0:
            x[rows] = augmentation(x[rows], Batch(millivolts, record[rows], sampling_rate))
    x = (x - records.mean[:, None]) / records.std[:, None]
    return x.transpose(1, 2).contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    augment_options.add_batch_options(parser)
    options = augment_options.parse(parser)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    records = Records(options)
    seconds = []
    for step in range(options.warmup + options.steps):
        start = time.perf_counter()
        views = make_views(records, options.views, options.sampling_rate)
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        if not torch.isfinite(views).all():
            raise SystemExit(f"step {step} with seed {options.seed} made a view that is not finite")
    seconds = seconds[options.warmup :]
    median = statistics.median(seconds)
    result = {"peer": f"PyTorch {torch.__version__}", "recipe": "ssrl"} | vars(options)
    result |= {"seconds_per_step": median, "fastest": min(seconds), "slowest": max(seconds)}
    result["views_per_second"] = len(views) / median
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
