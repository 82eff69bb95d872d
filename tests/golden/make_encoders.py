"""Golden values for tests/models/encoder_parity_test.cpp: what PyTorch computes with narrow versions of the encoders.

Run:  python3 tests/golden/make_encoders.py
PyTorch 1.13 or newer, CPU; seconds. Writes encoders.json beside itself.

Weights and inputs come from the formulas of make_parity.py; the stream of a parameter is its place among the sorted
names of all parameters. Dropout is 0. The loss of a training step is Σ c · latent over the records of both views, each
its own forward pass, with c uniform in ±1. Of each gradient and running statistic only three numbers are kept: its
norm, its product with a vector of numbers in ±1, and its first element, in PyTorch's order. Everything is computed in
double from the float32 weights and inputs. The networks' parameter counts at their published sizes are there too.
"""

import numpy as np
import torch
from torch import nn

from make_parity import HERE, array, fraction, parity_batch_norm, parity_input, parity_weights, write_json

ORIGIN = f"tests/golden/make_encoders.py, PyTorch {torch.__version__}, CPU"
LOSS_STREAM, PROBE_STREAM = 900, 950
RECORDS, VIEWS = 3, 2


def conv(inputs, outputs, kernel, stride=1, bias=False):
    return nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


class ResidualBlock(nn.Module):
    """relu(norm2(conv2(relu(norm1(conv1(x))))) + shortcut(x)); `names` are those of both norms and the shortcut."""

    def __init__(self, inputs, middle, outputs, kernel, stride, names):
        super().__init__()
        self.names = names
        self.conv1, self.conv2 = conv(inputs, middle, kernel, stride), conv(middle, outputs, kernel)
        setattr(self, names[0], nn.BatchNorm1d(middle))
        setattr(self, names[1], nn.BatchNorm1d(outputs))
        shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm1d(outputs))
        if inputs != outputs or stride != 1:
            setattr(self, names[2], shortcut)

    def forward(self, x):
        norm1, norm2, shortcut = (getattr(self, name, None) for name in self.names)
        y = norm2(self.conv2(torch.relu(norm1(self.conv1(x)))))
        return torch.relu(y + (shortcut(x) if shortcut else x))


class TemporalNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        w = width
        self.firstLayer = nn.Sequential(conv(1, w, 7, bias=True), nn.BatchNorm1d(w), nn.ReLU(), nn.MaxPool1d(4))
        channels = ((w, w, 2 * w), (2 * w, 2 * w, 4 * w), (4 * w, 4 * w, 8 * w), (8 * w, 8 * w, 8 * w))
        names = ("batchNorm1", "batchNorm2", "resampleInput")
        branch = lambda kernel: nn.Sequential(*(ResidualBlock(*c, kernel, 1, names) for c in channels))
        self.residualBlocks_time1, self.residualBlocks_time2 = branch(3), branch(7)
        self.integrationBlock = nn.Sequential(conv(16 * w, 16 * w, 3, bias=True), nn.BatchNorm1d(16 * w), nn.ReLU())
        self.finalLayer = nn.Sequential(nn.Linear(16 * w, 8 * w), nn.Linear(8 * w, 4 * w))

    def leads(self, x):
        """x [N, leads, L] → [N, leads, 16 w]."""
        h = self.firstLayer(x.reshape(-1, 1, x.shape[2]))
        h = torch.cat((self.residualBlocks_time1(h), self.residualBlocks_time2(h)), 1)
        return self.integrationBlock(h).mean(2).view(x.shape[0], x.shape[1], -1)

    slots = leads


class DualStream(nn.Module):
    GROUPS = ([0, 1, 6, 7], [2, 3, 4, 5])  # {I, II, V5, V6} and {V1, V2, V3, V4} of I, II, V1 … V6

    def __init__(self, width=32):
        super().__init__()
        self.model_g1, self.model_g2 = TemporalNet(width), TemporalNet(width)
        del self.model_g1.finalLayer, self.model_g2.finalLayer

    def slots(self, x):
        streams = zip((self.model_g1, self.model_g2), self.GROUPS)
        return torch.stack([model.leads(x[:, group]).mean(1) for model, group in streams], 1)


class ResNet1D(nn.Module):
    def __init__(self, leads=12, width=64):
        super().__init__()
        self.conv1, self.bn1 = conv(leads, width, 15), nn.BatchNorm1d(width)
        inputs, names = width, ("bn1", "bn2", "downsample")
        for stage in range(4):
            outputs = width << stage
            blocks = [ResidualBlock(inputs, outputs, outputs, 7, 2 if stage else 1, names)]
            blocks.append(ResidualBlock(outputs, outputs, outputs, 7, 1, names))
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = outputs

    def slots(self, x):
        h = nn.functional.max_pool1d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(h)))).mean(2)[:, None]


class ImprovedBlock(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.conv, self.bn = conv(inputs, outputs, kernel, stride), nn.BatchNorm1d(outputs)
        self.residual = inputs == outputs and stride == 1

    def forward(self, x):
        y = torch.relu(self.bn(self.conv(x)))
        return y + x if self.residual else y


class ImprovedCNN(nn.Module):
    def __init__(self, leads=12, width=64):
        super().__init__()
        w = width
        self.initial = nn.Sequential(conv(leads, w, 15), nn.BatchNorm1d(w), nn.ReLU())
        shapes = ((w, w, 11, 2), (w, w, 7, 1), (w, 2 * w, 7, 2), (2 * w, 2 * w, 5, 1), (2 * w, 2 * w, 5, 1))
        shapes += ((2 * w, 4 * w, 5, 2), (4 * w, 4 * w, 3, 1), (4 * w, 4 * w, 3, 1))
        self.features = nn.Sequential(*(ImprovedBlock(*s) for s in shapes))
        self.hidden = nn.Sequential(nn.Linear(8 * w, 4 * w), nn.ReLU(), nn.BatchNorm1d(4 * w))

    def slots(self, x):
        h = self.features(self.initial(x))
        return self.hidden(torch.cat((h.mean(2), h.amax(2)), 1))[:, None]


def latent(model, x):
    return model.slots(x).mean(1)


def set_weights(model):
    layers, names = dict(model.named_modules()), sorted(name for name, _ in model.named_parameters())
    for name, p in model.named_parameters():
        layer, stream = layers[name.rpartition(".")[0]], names.index(name)
        if isinstance(layer, nn.BatchNorm1d):
            values = parity_batch_norm(p.numel(), 1.0 if name.endswith("weight") else 0.0, stream)
        else:
            values = parity_weights(p.numel(), layer.weight[0].numel(), stream)
        p.data.copy_(torch.from_numpy(values).view_as(p))
    return model.double().train()


def brief(tensor):
    x = array(tensor).astype(np.float64).ravel()
    probe = 2 * fraction(np.arange(x.size), PROBE_STREAM) - 1
    return [rounded(np.linalg.norm(x)), rounded(x @ probe), rounded(x[0])]


def rounded(x):
    return float(f"{x:.9g}")


def numbers(tensor):
    return [rounded(x) for x in array(tensor).ravel()]


def run(network, leads, length):
    model = set_weights(network)
    views = [torch.from_numpy(parity_input(RECORDS, leads, length, 0, v)).double() for v in range(VIEWS)]
    result = {}
    with torch.no_grad():
        model.eval()
        result["evaluation_slots"] = numbers(model.slots(views[0]).transpose(0, 1))
        if hasattr(model, "finalLayer"):
            result["evaluation_projection"] = numbers(model.finalLayer(model.slots(views[0])).transpose(0, 1))
    model.train()
    latents = torch.cat([latent(model, x) for x in views])
    c = 2 * fraction(np.arange(latents.numel()), LOSS_STREAM) - 1
    loss = (latents * torch.from_numpy(c).view_as(latents)).sum()
    loss.backward()
    result["training_latent"], result["loss"] = numbers(latents), rounded(loss.item())
    result["gradient"] = {n: brief(p.grad) for n, p in model.named_parameters() if p.grad is not None}
    result["buffer"] = {n: brief(b) for n, b in model.named_buffers() if b.dim()}
    with torch.no_grad():
        result["evaluation_latent_after"] = numbers(latent(model.eval(), views[0]))
    return result


CASES = {
    "TemporalNet": (TemporalNet, {"width": 4}, 3, 101),
    "DualStream": (DualStream, {"width": 2}, 8, 101),
    "ResNet1D": (ResNet1D, {"leads": 5, "width": 4}, 5, 201),
    "ImprovedCNN": (ImprovedCNN, {"leads": 5, "width": 4}, 5, 101),
}


def main():
    torch.set_num_threads(1)  # the same sums on every machine with the same library
    torch.use_deterministic_algorithms(True)
    result = {"origin": ORIGIN, "columns": ["norm", "product", "element 0"], "records": RECORDS, "views": VIEWS}
    for name, (network, sizes, leads, length) in CASES.items():
        case = {"width": sizes["width"], "leads": leads, "length": length}
        case["published_parameters"] = sum(p.numel() for p in network().parameters())
        result[name] = case | run(network(**sizes), leads, length)
    write_json(HERE / "encoders.json", result)


if __name__ == "__main__":
    main()
