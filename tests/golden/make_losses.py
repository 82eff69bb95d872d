"""Writes losses.json: values and gradients of NT-Xent, binary cross-entropies and losses on features by PyTorch's
autograd, in float64.

    python3 make_losses.py

The losses are written plainly from their papers: SimCLR (Chen et al. 2020), focal loss (Lin et al. 2017), BYOL (Grill et
al. 2020); Barlow Twins (Zbontar et al. 2021) and VICReg (Bardes et al. 2022) as in their authors' code, without its
--scale-loss. The inputs are rounded to float32 first. Needs PyTorch (written with 1.13).
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


def two_views(n, d):
    """Columns of different widths, of which VICReg's hinge holds some and leaves others."""
    records = torch.randn(n, d)
    rows = torch.cat([records + 0.3 * torch.randn(n, d), records + 0.3 * torch.randn(n, d)])
    return as_float32(rows * torch.linspace(0.2, 1.8, d) + torch.randn(d))


def off_diagonal(matrix):
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


def cosine(n=6, d=5):
    p, t = two_views(n, d).detach().chunk(2)
    p, t = as_float32(p), as_float32(t)
    loss = (2 - 2 * (F.normalize(p, dim=1) * F.normalize(t, dim=1)).sum(dim=1)).mean()
    loss.backward()
    return {"N": n, "D": d, "p": p.flatten().tolist(), "t": t.flatten().tolist(), "loss": loss.item(),
            "dp": p.grad.flatten().tolist(), "dt": t.grad.flatten().tolist()}


def barlow_twins(lambd=0.0051, n=9, d=6):
    x = two_views(n, d)
    bn = torch.nn.BatchNorm1d(d, affine=False).double()
    a, b = x.chunk(2)
    c = bn(a).T @ bn(b) / n
    loss = (c.diagonal() - 1).pow(2).sum() + lambd * off_diagonal(c).pow(2).sum()
    loss.backward()
    return {"N": n, "D": d, "off_diagonal": lambd, "x": x.flatten().tolist(), "loss": loss.item(),
            "dx": x.grad.flatten().tolist()}


def vicreg(n=9, d=6):
    x = two_views(n, d)
    a, b = x.chunk(2)
    loss = 25.0 * F.mse_loss(a, b)
    for view in (a - a.mean(dim=0), b - b.mean(dim=0)):
        std = torch.sqrt(view.var(dim=0) + 0.0001)
        cov = view.T @ view / (n - 1)
        loss = loss + 25.0 * F.relu(1 - std).mean() / 2 + off_diagonal(cov).pow(2).sum() / d
    loss.backward()
    return {"N": n, "D": d, "x": x.flatten().tolist(), "loss": loss.item(), "dx": x.grad.flatten().tolist()}


def main():
    torch.manual_seed(2)
    data = {"torch": torch.__version__, "nt_xent": [nt_xent(0.07), nt_xent(0.5)],
            "bce": [bce("plain"), bce("weighted"), bce("focal")], "cosine": [cosine()],
            "barlow_twins": [barlow_twins(), barlow_twins(lambd=0.5)], "vicreg": [vicreg()]}
    Path(__file__).with_name("losses.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
