"""Writes optimizers.json: ten steps of PyTorch's Adam, AdamW and SGD on 37 numbers, in float32.

    python3 make_optimizers.py

Every case has its own rates and weight decay; the gradients of a step are given numbers, not a function of the weights, so
that one wrong step does not hide in the next. Needs PyTorch (written with 1.13).
"""
import json
from pathlib import Path

import torch

COUNT, STEPS = 37, 10
CASES = [
    ("adam", dict(lr=1e-3)),
    ("adam", dict(lr=1e-2, weight_decay=0.1)),
    ("adam", dict(lr=1e-4, betas=(0.8, 0.99), eps=1e-4)),
    ("adamw", dict(lr=1e-3)),
    ("adamw", dict(lr=3e-2, weight_decay=0.05, betas=(0.9, 0.95))),
    ("sgd", dict(lr=0.1)),
    ("sgd", dict(lr=0.02, momentum=0.9)),
    ("sgd", dict(lr=0.02, momentum=0.8, weight_decay=0.01)),
]
CLASSES = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def numbers(tensor):
    return [float(f"{value:.9g}") for value in tensor.flatten().tolist()]  # enough digits for every float32


def run(name, options, start, gradients):
    w = start.clone().requires_grad_(True)
    optimizer = CLASSES[name]([w], **options)
    after = []
    for gradient in gradients:
        w.grad = gradient.clone()
        optimizer.step()
        after.append(numbers(w.detach()))
    return after


def main():
    torch.manual_seed(1)
    start = torch.randn(COUNT)
    gradients = torch.randn(STEPS, COUNT) * torch.logspace(-4, 1, COUNT)  # small and large ones
    gradients[:, 5] = 0
    cases = []
    for name, options in CASES:
        options = {"weight_decay": 0.01 if name == "adamw" else 0.0, **options}
        cases.append({"optimizer": name, **options, "after": run(name, options, start, gradients)})
    data = {"torch": torch.__version__, "start": numbers(start), "gradients": [numbers(g) for g in gradients], "cases": cases}
    Path(__file__).with_name("optimizers.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
