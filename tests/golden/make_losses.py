"""Writes losses.json: values and gradients of NT-Xent and of binary cross-entropies by PyTorch's autograd, in float64.

    python3 make_losses.py

The losses are written plainly from their papers: SimCLR (Chen et al. 2020), focal loss (Lin et al. 2017). The inputs are
rounded to float32 first. Needs PyTorch (written with 1.13).
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F


def as_float32(x):
    return x.float().double().requires_grad_(True)


def nt_xent(temperature):
    n, d = 5, 7
    records = torch.randn(n, d)
    x = as_float32(torch.cat([records + 0.2 * torch.randn(n, d), records + 0.2 * torch.randn(n, d)]))
    z = F.normalize(x, dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    partner = (torch.arange(2 * n) + n) % (2 * n)
    loss = F.cross_entropy(logits, partner)
    loss.backward()
    return {"M": 2 * n, "D": d, "temperature": temperature, "x": x.flatten().tolist(), "loss": loss.item(),
            "dx": x.grad.flatten().tolist()}


def bce(name, n=6, c=5):
    x = as_float32(4 * torch.randn(n, c))
    y = torch.randint(0, 2, (n, c)).double()
    case = {"name": name, "N": n, "C": c, "gamma": 0.0, "positive_weight": None, "negative_weight": None}
    if name == "plain":
        loss = F.binary_cross_entropy_with_logits(x, y)
    elif name == "weighted":
        weight = torch.rand(c).mul(5).float().double()
        case["positive_weight"] = weight.tolist()
        loss = F.binary_cross_entropy_with_logits(x, y, pos_weight=weight)
    else:
        alpha, gamma = 0.25, 2.0
        case.update(gamma=gamma, positive_weight=[alpha] * c, negative_weight=[alpha] * c)
        entropy = F.binary_cross_entropy_with_logits(x, y, reduction="none")
        loss = (alpha * (1 - torch.exp(-entropy)) ** gamma * entropy).mean()
    loss.backward()
    return {**case, "logits": x.flatten().tolist(), "targets": y.flatten().tolist(), "loss": loss.item(),
            "dlogits": x.grad.flatten().tolist()}


def main():
    torch.manual_seed(2)
    data = {"torch": torch.__version__, "nt_xent": [nt_xent(0.07), nt_xent(0.5)],
            "bce": [bce("plain"), bce("weighted"), bce("focal")]}
    Path(__file__).with_name("losses.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
