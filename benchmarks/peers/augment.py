"""The recipe ssrl in NumPy and SciPy, one record and view at a time, on one thread: the peer of Systole's own views.

One step: N records, int16 [N, L, C] → mV (once, for all views) → seven augmentations, each with its probability and its
own draws per record and view → normalised views [V·N, L, C] in float32; row v·N + n is view v of record n. In between a
record is [C, L], so that NumPy's inner loops run over the samples and not over a dozen leads. The records are random
and wait in memory. The last line is JSON; seconds_per_step is the median. --verbose prints where the time goes.

It draws from one Philox stream, so its views are distributed like Systole's and not equal to them. Its band-pass is
SciPy's Butterworth of order 3, designed for every view and run forwards and backwards, as practitioners write it;
--band-pass fft takes the product with a Fourier transform instead, Systole's own way.
"""

import argparse
import json
import os
import statistics
import sys
import time

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"  # read when NumPy is imported

import numpy as np
import scipy
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, sosfiltfilt

import augment_options

CATMULL_ROM = 0.5 * np.array([[0, -1, 2, -1], [2, 0, -5, 3], [0, 1, 4, -3], [0, 0, -1, 1]], np.float32)


class Batch:
    """What an augmentation may look at: all records in mV and the one that the view is made of."""

    def __init__(self, millivolts, record, sampling_rate):
        self.millivolts = millivolts  # [N, C, L]
        self.record = record
        self.sampling_rate = sampling_rate

    def another(self, rng):
        return self.millivolts[(self.record + rng.integers(1, len(self.millivolts))) % len(self.millivolts)]


# Each takes a view x [C, L], may overwrite it, and returns the result.


def frequency_warp(x, batch, rng):
    last = x.shape[1] - 1
    position = last / 2 + (np.arange(last + 1) - last / 2) * rng.uniform(0.95, 1.05)
    left = np.floor(position)
    f = (position - left).astype(np.float32)
    weights = CATMULL_ROM @ (np.ones_like(f), f, f * f, f * f * f)  # [4, L]
    neighbours = left.astype(np.intp) + np.arange(-1, 3)[:, None]
    neighbours = last - np.abs(last - np.abs(neighbours))  # mirrored at both ends
    y = x.take(neighbours[0], axis=1)
    y *= weights[0]
    term = np.empty_like(x)
    for neighbour, weight in zip(neighbours[1:], weights[1:]):
        np.take(x, neighbour, axis=1, out=term, mode="clip")  # with out, the default mode takes a copy
        term *= weight
        y += term
    return y


def mixup(x, batch, rng):
    weight = rng.beta(0.2, 0.2)
    weight = max(weight, 1 - weight)
    x *= weight
    x += (1 - weight) * batch.another(rng)
    return x


def cutmix(x, batch, rng):
    length = int(rng.uniform(0.1, 0.3) * x.shape[1])
    begin = rng.integers(x.shape[1] - length + 1)
    x[:, begin : begin + length] = batch.another(rng)[:, begin : begin + length]
    return x


def band_pass(x, batch, rng):
    low, high = rng.uniform(0.5, 1.5), min(rng.uniform(40, 60), 0.49 * batch.sampling_rate)
    sections = butter(3, (low, high), "bandpass", fs=batch.sampling_rate, output="sos")
    return sosfiltfilt(sections, x).astype(np.float32)


def band_pass_fft(x, batch, rng):
    low, high = rng.uniform(0.5, 1.5), min(rng.uniform(40, 60), 0.49 * batch.sampling_rate)
    length = x.shape[1]
    size = next_fast_len(length + 2 * int(batch.sampling_rate), real=True)
    circle = np.empty((len(x), size), np.float32)
    room = size - length
    circle[:, :length] = x  # behind it its end mirrored, then its beginning mirrored
    circle[:, length : length + room // 2] = x[:, -2 : -2 - room // 2 : -1]
    circle[:, length + room // 2 :] = x[:, room - room // 2 : 0 : -1]
    f = np.fft.rfftfreq(size, 1 / batch.sampling_rate)
    below, above = (f / low) ** 6, (f / high) ** 6
    response = below / (below + np.sqrt(2) - 1) / (1 + (np.sqrt(2) - 1) * above)
    spectrum = rfft(circle, axis=1)
    spectrum *= response.astype(np.float32)
    return np.ascontiguousarray(irfft(spectrum, size, axis=1, overwrite_x=True)[:, :length])


def motion_artifact(x, batch, rng):
    turns_per_sample = rng.uniform(0.5, 2) / batch.sampling_rate
    angle = np.arange(x.shape[1], dtype=np.float32) * np.float32(2 * np.pi * turns_per_sample)
    phase = rng.uniform(0, 2 * np.pi, len(x))
    size = rng.uniform(0.01, 0.05, len(x)) * (np.cos(phase), np.sin(phase))  # [2, C]
    x += size.T.astype(np.float32) @ (np.sin(angle), np.cos(angle))
    return x


def lead_noise(x, batch, rng):
    sd = rng.uniform(0.005, 0.02, len(x)).astype(np.float32) * x.std(axis=1)
    noise = rng.standard_normal(x.shape, dtype=np.float32)
    noise *= sd[:, None]
    x += noise
    return x


def temporal_dropout(x, batch, rng):
    segments = rng.integers(1, 4)
    length = int(rng.uniform(0.05, 0.2) * x.shape[1] / segments)
    room = x.shape[1] - segments * (length + 1) + 1  # at least one sample between two of them
    for i, begin in enumerate(np.sort(rng.integers(room + 1, size=segments))):
        begin += i * (length + 1)
        end = begin + length
        after = x[:, end if end < x.shape[1] else begin - 1, None]
        before = x[:, begin - 1, None] if begin > 0 else after
        ramp = np.arange(1, length + 1, dtype=np.float32) / np.float32(length + 1)
        x[:, begin:end] = before + (after - before) * ramp
    return x


RECIPES = {
    "ssrl": {
        frequency_warp: 0.5,
        mixup: 0.4,
        cutmix: 0.25,
        band_pass: 0.3,
        motion_artifact: 0.2,
        lead_noise: 0.6,
        temporal_dropout: 0.3,
    }
}


class Records:
    """Sines of 0.2 to 20 Hz and noise, as a data set holds them."""

    def __init__(self, records, length, leads, sampling_rate, rng):
        waves = 4
        time_s = np.arange(length)[:, None, None] / sampling_rate
        hz = rng.uniform(0.2, 20, (records, 1, 1, waves))
        phase = rng.uniform(0, 2 * np.pi, (records, 1, leads, waves))
        samples = np.empty((records, length, leads), np.int16)
        for n in range(records):
            signal = np.sin(2 * np.pi * hz[n] * time_s + phase[n]).sum(axis=-1)
            samples[n] = 200 * signal + 30 * rng.standard_normal((length, leads))
        self.samples = samples  # [N, L, C]
        self.scale = rng.uniform(0.9e-3, 1.1e-3, (records, leads)).astype(np.float32)  # mV
        self.offset = rng.uniform(-0.1, 0.1, (records, leads)).astype(np.float32)  # mV
        millivolts = self.millivolts()
        self.mean = millivolts.mean(axis=(0, 2))  # [C]
        self.std = millivolts.std(axis=(0, 2))  # [C]

    def millivolts(self):
        records, length, leads = self.samples.shape
        x = np.empty((records, leads, length), np.float32)
        np.multiply(self.samples.transpose(0, 2, 1), self.scale[:, :, None], out=x)
        x += self.offset[:, :, None]
        return x


def make_views(records, views, recipe, sampling_rate, rng, seconds):
    """Views [V·N, L, C]; adds to `seconds` what each part took."""
    start = time.perf_counter()
    millivolts = records.millivolts()
    seconds["millivolts"] += time.perf_counter() - start
    happens = rng.random((views, len(millivolts), len(recipe))) < list(recipe.values())
    factor = (1 / records.std)[:, None]
    mean = records.mean[:, None]
    result = np.empty((views, *records.samples.shape), np.float32)
    for v in range(views):
        for n in range(len(millivolts)):
            batch = Batch(millivolts, n, sampling_rate)
            x = millivolts[n].copy()
            for augmentation, happened in zip(recipe, happens[v, n].tolist()):
                if happened:
                    start = time.perf_counter()
                    x = augmentation(x, batch, rng)
                    seconds[augmentation.__name__] += time.perf_counter() - start
            start = time.perf_counter()
            x -= mean
            np.multiply(x, factor, out=result[v, n].T)
            seconds["normalise and store"] += time.perf_counter() - start
    return result.reshape(-1, *result.shape[2:])


def print_parts(seconds, total, views, rates):
    """One line per part: µs per view on average over all views, µs per call, share of the time."""
    seconds = seconds | {"the rest": total - sum(seconds.values())}
    for name, value in seconds.items():
        microseconds = 1e6 * value / views
        line = f"{name:20}{microseconds:10.1f} µs per view{microseconds / rates.get(name, 1):10.1f} µs each time"
        print(f"{line}{100 * value / total:8.1f} %", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=RECIPES, default="ssrl")
    parser.add_argument("--band-pass", choices=("sosfiltfilt", "fft"), default="sosfiltfilt", help="how it filters")
    parser.add_argument("--threads", type=int, choices=(1,), default=1)
    augment_options.add_batch_options(parser)
    parser.add_argument("--verbose", action="store_true", help="where the time goes, on stderr")
    options = augment_options.parse(parser)

    rng = np.random.Generator(np.random.Philox(options.seed))
    records = Records(options.records, options.length, options.leads, options.sampling_rate, rng)
    recipe = RECIPES[options.recipe]
    if options.band_pass == "fft":
        recipe = {band_pass_fft if augmentation is band_pass else augmentation: rate for augmentation, rate in recipe.items()}
    rates = {augmentation.__name__: rate for augmentation, rate in recipe.items()}
    seconds = []
    for step in range(options.warmup + options.steps):
        if step in (0, options.warmup):
            parts = dict.fromkeys(("millivolts", *rates, "normalise and store"), 0.0)
        start = time.perf_counter()
        views = make_views(records, options.views, recipe, options.sampling_rate, rng, parts)
        seconds.append(time.perf_counter() - start)
        if not np.isfinite(views).all():
            raise SystemExit(f"step {step} with seed {options.seed} made a view that is not finite")
    seconds = seconds[options.warmup :]
    median = statistics.median(seconds)
    if options.verbose:
        print_parts(parts, sum(seconds), len(views) * options.steps, rates)

    result = {"peer": f"NumPy {np.__version__}, SciPy {scipy.__version__}", "device": "cpu", "precision": "f32"}
    result |= {"threads": options.threads, "recipe": options.recipe, "records": options.records, "views": options.views}
    result |= {"band_pass": options.band_pass, "leads": options.leads, "length": options.length, "sampling_rate": options.sampling_rate}
    result |= {"steps": options.steps, "seed": options.seed, "seconds_per_step": median, "fastest": min(seconds)}
    result |= {"slowest": max(seconds), "views_per_second": len(views) / median}
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
