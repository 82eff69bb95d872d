#!/usr/bin/env python3
"""How far simple linear models get on a data set that `systole generate` wrote (or on PTB-XL itself).

Ridge regression on folds 1-7 with its penalty chosen on fold 8, AUROC on folds 9 and 10, for three kinds of features
of the 100-Hz recordings:
  beat    the mean beat (aligned at R, 0.32 s before to 0.52 s after, 8 leads) and the mean and spread of RR
  raw     all samples of 8 leads as they are
  random  ReLU of random convolutions, mean over time: an untrained encoder with a linear head
Needs numpy.

    tests/data/generator_baseline.py <folder> [features ...]
"""
import ast
import csv
import sys
from pathlib import Path

import numpy as np

LEADS = [0, 1, 6, 7, 8, 9, 10, 11]


def read(root):
    with open(root / "scp_statements.csv") as file:
        classes = {row[""]: row["diagnostic_class"] for row in csv.DictReader(file) if row["diagnostic"]}
    with open(root / "ptbxl_database.csv") as file:
        rows = [row for row in csv.DictReader(file) if (root / (row["filename_lr"] + ".dat")).exists()]
    signals = np.stack([np.fromfile(root / (row["filename_lr"] + ".dat"), "<i2").reshape(1000, 12)[:, LEADS]
                        for row in rows]).astype(np.float32) / 1000
    found = [{classes.get(code) for code in ast.literal_eval(row["scp_codes"])} for row in rows]
    targets = {c: np.array([c in f for f in found]) for c in ["NORM", "MI", "STTC", "CD", "HYP"]}
    if "lvef" in rows[0]:
        targets["LVEF < 40"] = np.array([float(row["lvef"]) < 40 for row in rows])
        targets["K > 5"] = np.array([float(row["potassium"]) > 5 for row in rows])
    return signals, targets, np.array([int(row["strat_fold"]) for row in rows])


def r_peaks(x):
    slope = np.abs(np.diff(x, axis=0)).sum(1)
    energy = np.convolve(slope, np.ones(10) / 10, "same")
    threshold = 0.4 * np.quantile(energy, 0.985)
    peaks, i = [], 0
    while i < len(energy):
        if energy[i] > threshold:
            j = i + int(np.argmax(energy[i:i + 15]))
            centre = max(range(max(j - 6, 0), min(j + 7, len(x))), key=lambda k: np.abs(x[k] - x[max(k - 8, 0)]).sum())
            peaks.append(centre)
            i = j + 30
        else:
            i += 1
    return np.array(peaks)


def mean_beat(x):
    peaks = r_peaks(x)
    rr = np.diff(peaks) / 100 if len(peaks) > 2 else np.array([0.8])
    beats = [x[p - 32:p + 52] - x[p - 12:p - 6].mean(0) for p in peaks if 32 <= p <= len(x) - 52]
    beat = np.mean(beats, 0) if beats else np.zeros((84, x.shape[1]))
    return np.concatenate([beat.ravel(), [rr.mean(), rr.std()]])


def random_convolutions(signals, channels=256, width=24, seed=1):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(width * len(LEADS), channels)).astype(np.float32) / np.sqrt(width * len(LEADS))
    bias = rng.normal(size=channels).astype(np.float32) * 0.2
    features = []
    for x in signals:
        windows = np.lib.stride_tricks.sliding_window_view(x, width, axis=0)[::4].reshape(-1, width * len(LEADS))
        features.append(np.maximum(windows @ weights + bias, 0).mean(0))
    return np.stack(features)


def auroc(positive, score):
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    n = positive.sum()
    return (rank[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n))


def ridge(x, y, penalties):
    """Weights [penalties, D, targets] of ridge regression, by the smaller of the two Gram matrices."""
    y = y - y.mean(0)
    if len(x) > x.shape[1]:
        values, vectors = np.linalg.eigh(x.T @ x)
        right = vectors.T @ (x.T @ y)
        return [vectors @ (right / (values[:, None] + p)) for p in penalties]
    values, vectors = np.linalg.eigh(x @ x.T)
    right = vectors.T @ y
    return [x.T @ (vectors @ (right / (values[:, None] + p))) for p in penalties]


def main():
    signals, targets, fold = read(Path(sys.argv[1]))
    kinds = {
        "beat": lambda: np.stack([mean_beat(x) for x in signals]),
        "raw": lambda: signals.reshape(len(signals), -1),
        "random": lambda: random_convolutions(signals),
    }
    y = np.stack(list(targets.values()), 1)
    train, validation, test = fold <= 7, fold == 8, fold > 8
    print(f"{len(signals)} recordings, {train.sum()} to train, {test.sum()} to test")
    print("prevalence      " + "  ".join(f"{name} {100 * v.mean():.1f} %" for name, v in targets.items()))
    for kind in sys.argv[2:] or kinds:
        x = kinds[kind]().astype(np.float64)
        x = (x - x[train].mean(0)) / (x[train].std(0) + 1e-6)
        solutions = ridge(x[train], y[train].astype(float), 10.0 ** np.arange(1, 7))
        scores = {}
        for t, name in enumerate(targets):
            best = max(solutions, key=lambda w: auroc(y[validation, t], x[validation] @ w[:, t]))
            scores[name] = auroc(y[test, t], x[test] @ best[:, t])
        print(f"AUROC {kind:9s} " + "  ".join(f"{name} {s:.3f}" for name, s in scores.items()), flush=True)


if __name__ == "__main__":
    main()
