"""Golden values for the parity tests: what PyTorch computes with the networks that Systole implements.

Run:  python3 tests/golden/make_parity.py [small classifier full]
PyTorch 1.13 or newer, CPU; seconds, and some minutes for `full`.

Writes beside itself
  parity_small.safetensors       encoder of width 8 and projector: weights, inputs, outputs, NT-Xent, gradients, buffers
  parity_small_adam.json         from those weights, losses of 50 steps of Adam, and of SGD with a cosine schedule
  parity_classifier.safetensors  the same encoder with a linear head: BCE, focal and weighted loss and their gradients
  parity_classifier.json         losses of 20 steps of Adam on the focal loss
  parity_full.json               the full-size network: first loss, gradients in brief, losses of 50 steps of Adam

Weights and inputs come from a formula that tests/models/parity_data.h repeats bit for bit: integers hashed by
SplitMix64 (Steele, Lea, Flood 2014), and from there on only sums and products that are exact in double, so that neither
a fused multiply-add nor the order of a sum can change a bit; each value is rounded once, to float32.

Names in the safetensors files start with init., input., eval., train., loss., grad. or after. (buffers after one
training step, that is after the forward passes of view 0 and view 1) and go on with PyTorch's name. What ends in 64
(loss64., grad64.; float64 in the JSON files) was computed in double from the same float32 weights and inputs; its
distance from the float32 result is the scale for a test's tolerance.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
VIEWS = 2
BATCHES = 3  # fixed batches, used in rotation
KERNELS, STRIDES, WIDTHS = (11, 7, 7, 5, 5, 3), (2, 1, 2, 1, 2, 1), (1, 1, 2, 2, 4, 4)
FIRST_INPUT_STREAM = 1000  # streams below are the positions of parameters


# The deterministic formula, as in tests/models/parity_data.h.


def fraction(i, s):
    """Number i of stream s: uniform in [0, 1), a multiple of 2^-24."""
    with np.errstate(over="ignore"):
        x = (np.asarray(i, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = x + np.uint64(s) * np.uint64(0xD1B54A32D192ED03)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) * 2.0**-24


def whole(i, s, count):
    """Number i of stream s as a whole number in [0, count)."""
    return np.floor(fraction(i, s) * count).astype(np.int64)


def parity_weights(count, fan_in, position):
    """Weights or biases of a convolution or linear layer, uniform in ±1/√fan_in."""
    bound = 1.0 / np.sqrt(np.float64(fan_in))
    return (bound * (2.0 * fraction(np.arange(count), position) - 1.0)).astype(np.float32)


def parity_batch_norm(count, centre, position):
    """Weights (centre 1) or biases (centre 0) of a BatchNorm, uniform in centre ± 1/8."""
    return (centre + (fraction(np.arange(count), position) - 0.5) / 4.0).astype(np.float32)


def triangle(phase):
    """A triangle wave in [-1, 1] of a phase in 2^-16 turns."""
    return np.abs(np.mod(phase, 65536) - 32768) / 16384.0 - 1.0


def parity_input(records, leads, length, batch, view):
    """One view of a batch, [records, leads, length]: two triangle waves per record with amplitudes per lead, and per
    view a gain per lead and noise. Views of one record are similar, never equal; no two batches share a record."""
    x = np.empty((records, leads, length), np.float32)
    t = np.arange(length)
    for n in range(records):
        waves = FIRST_INPUT_STREAM + 4 * (batch * records + n)
        noise = waves + 1 + view
        slow, fast = 512 + whole(0, waves, 512), 2048 + whole(1, waves, 6144)  # 2^-16 turns per sample
        for c in range(leads):
            i = 8 * (c + 1)
            slow_wave = triangle(whole(i, waves, 65536) + t * slow)
            fast_wave = triangle(whole(i + 1, waves, 65536) + t * fast)
            slow_amplitude, fast_amplitude = whole(i + 2, waves, 256) / 256.0, whole(i + 3, waves, 256) / 128.0
            gain = 1.0 + (whole(c, noise, 256) - 128) / 1024.0
            jitter = 2.0 * fraction(leads + c * length + t, noise) - 1.0
            x[n, c] = (gain * (slow_amplitude * slow_wave + fast_amplitude * fast_wave) + jitter).astype(np.float32)
    return x


# The networks, with the names of the published code.


class Block(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        convolution = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.block = nn.Sequential(convolution, nn.BatchNorm1d(outputs), nn.ReLU())

    def forward(self, x):
        return self.block(x)


class ECGEncoder1DCNN(nn.Module):
    def __init__(self, in_ch=12, width=64):
        super().__init__()
        channels = [in_ch] + [width * w for w in WIDTHS]
        self.features = nn.Sequential(*(Block(*c) for c in zip(channels, channels[1:], KERNELS, STRIDES)))

    def forward(self, x):
        return self.features(x)


class ProjectionHead(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, x):
        return self.net(x)


class SimCLR(nn.Module):
    def __init__(self, width, hidden, outputs):
        super().__init__()
        self.encoder = ECGEncoder1DCNN(width=width)
        self.projection_head = ProjectionHead(4 * width, hidden, outputs)

    def latent(self, x):
        return self.encoder(x).mean(2)

    def forward(self, views):
        """Each view is its own forward pass, as BatchNorm's statistics are per view."""
        return [self.projection_head(self.latent(x)) for x in views]


class Classifier(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.encoder = ECGEncoder1DCNN(width=width)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x):
        return self.head(self.encoder(x).mean(2))


def set_parity_weights(model, dtype):
    """Fills every parameter by the formula; its stream is its position in model.parameters()."""
    layers = dict(model.named_modules())
    for position, (name, p) in enumerate(model.named_parameters()):
        layer = layers[name.rpartition(".")[0]]
        if isinstance(layer, nn.BatchNorm1d):
            values = parity_batch_norm(p.numel(), 1.0 if name.endswith("weight") else 0.0, position)
        else:
            values = parity_weights(p.numel(), layer.weight[0].numel(), position)
        p.data.copy_(torch.from_numpy(values).view_as(p))
    return model.to(dtype).train()


def nt_xent(projections, temperature):
    """SimCLR's loss over the rows of both views (Chen et al. 2020); row i's positive is row (i + N) mod 2N."""
    z = F.normalize(torch.cat(projections))
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z) // 2))


def weighted_bce(logits, targets, positive=1.0, negative=1.0, gamma=0.0):
    """Mean of −w⁺ y (1−p)^γ log p − w⁻ (1−y) p^γ log(1−p): plain, focal (Lin et al. 2017) and weighted in one."""
    p = logits.sigmoid()
    loss = positive * targets * (1 - p) ** gamma * F.softplus(-logits)
    return (loss + negative * (1 - targets) * p**gamma * F.softplus(logits)).mean()


# Files.


def write_safetensors(path, arrays, metadata):
    """name → numpy array; little-endian, in the order of the dictionary."""
    header, offset = {"__metadata__": metadata}, 0
    types = {np.dtype("float32"): "F32", np.dtype("float64"): "F64", np.dtype("int64"): "I64"}
    for name, a in arrays.items():
        header[name] = {"dtype": types[a.dtype], "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))


def write_json(path, value):
    """One line per key of the top level and of the level below it."""

    def lines(v, indent):
        if not isinstance(v, dict) or indent > 2:
            return json.dumps(v, ensure_ascii=False)
        pad = " " * indent
        inner = ",\n".join(f"{pad}  {json.dumps(k)}: {lines(x, indent + 2)}" for k, x in v.items())
        return f"{{\n{inner}\n{pad}}}"

    path.write_text(lines(value, 0) + "\n")


def array(tensor):
    return tensor.detach().cpu().numpy().copy()  # a copy: gradients are zeroed in place later


def parameters_of(model, prefix):
    return {f"{prefix}.{name}": array(p) for name, p in model.named_parameters()}


def gradients_of(model, prefix):
    return {f"{prefix}.{name}": array(p.grad) for name, p in model.named_parameters()}


def views_of(records, length, batch, dtype):
    return [torch.from_numpy(parity_input(records, 12, length, batch, view)).to(dtype) for view in range(VIEWS)]


def train(model, optimizer, loss_of_step, steps, schedule=None):
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of_step(step)
        loss.backward()
        optimizer.step()
        if schedule:
            schedule.step()
        losses.append(loss.item())
    return losses


def in_both_precisions(run):
    return {"float32": run(torch.float32), "float64": run(torch.float64)}


# The golden files.

SMALL = {"width": 8, "hidden": 24, "embedding": 16, "records": 4, "length": 101}
FULL = {"width": 64, "hidden": 2048, "embedding": 128, "records": 4, "length": 1000}
TEMPERATURE = 0.07
ORIGIN = f"tests/golden/make_parity.py, PyTorch {torch.__version__}, CPU"


def simclr(sizes, dtype):
    return set_parity_weights(SimCLR(sizes["width"], sizes["hidden"], sizes["embedding"]), dtype)


def batches_of(sizes, dtype):
    return [views_of(sizes["records"], sizes["length"], batch, dtype) for batch in range(BATCHES)]


def first_step(sizes, dtype, temperature):
    """The model after one backward pass (no update), the two projections and the loss."""
    model = simclr(sizes, dtype)
    projections = model(batches_of(sizes, dtype)[0])
    loss = nt_xent(projections, temperature)
    loss.backward()
    return model, projections, loss


def write_small():
    model = simclr(SMALL, torch.float32)
    views = batches_of(SMALL, torch.float32)[0]
    arrays = parameters_of(model, "init")
    arrays |= {f"input.view{v}": array(x) for v, x in enumerate(views)}
    with torch.no_grad():  # running mean 0 and variance 1: eval mode before any training
        model.eval()
        arrays["eval.encoder_output"] = array(model.encoder(views[0]))
        arrays["eval.latent"] = array(model.latent(views[0]))
        model.train()
        arrays |= {f"train.latent{v}": array(model.latent(x)) for v, x in enumerate(views)}

    model, projections, loss = first_step(SMALL, torch.float32, TEMPERATURE)
    arrays |= {f"train.projection{v}": array(z) for v, z in enumerate(projections)}
    arrays["loss.tau_0_07"] = array(loss).reshape(1)
    arrays |= gradients_of(model, "grad")
    arrays |= {f"after.{name}": array(b).reshape(b.shape or (1,)) for name, b in model.named_buffers()}
    model, _, loss = first_step(SMALL, torch.float64, TEMPERATURE)
    arrays["loss64.tau_0_07"] = array(loss).reshape(1)
    arrays |= gradients_of(model, "grad64")
    for dtype, prefix in ((torch.float32, "loss"), (torch.float64, "loss64")):
        model, _, loss = first_step(SMALL, dtype, 0.5)
        arrays[f"{prefix}.tau_0_5"] = array(loss).reshape(1)
        if dtype == torch.float32:
            arrays |= gradients_of(model, "grad_tau_0_5")
    write_safetensors(HERE / "parity_small.safetensors", arrays, {"origin": ORIGIN})

    result = {"origin": ORIGIN, "sizes": SMALL, "batches_in_rotation": BATCHES}
    result["adam"] = adam_run(SMALL, TEMPERATURE, 1e-3)
    result["adam_tau_0_5"] = adam_run(SMALL, 0.5, 1e-3)
    sgd = {"temperature": 0.5, "learning_rate": 0.005, "momentum": 0.9}
    sgd["schedule"] = "lr · (1 + cos(π · step / 50)) / 2, step from 0"
    result["sgd_cosine"] = sgd | in_both_precisions(lambda dtype: sgd_losses(SMALL, dtype, sgd))
    write_json(HERE / "parity_small_adam.json", result)


def adam_run(sizes, temperature, learning_rate, steps=50):
    def losses(dtype):
        model, batches = simclr(sizes, dtype), batches_of(sizes, dtype)
        adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
        return train(model, adam, lambda step: nt_xent(model(batches[step % BATCHES]), temperature), steps)

    return {"temperature": temperature, "learning_rate": learning_rate} | in_both_precisions(losses)


def sgd_losses(sizes, dtype, settings, steps=50):
    model, batches = simclr(sizes, dtype), batches_of(sizes, dtype)
    sgd = torch.optim.SGD(model.parameters(), lr=settings["learning_rate"], momentum=settings["momentum"])
    cosine = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: (1 + np.cos(np.pi * step / steps)) / 2)
    loss_of_step = lambda step: nt_xent(model(batches[step % BATCHES]), settings["temperature"])
    return train(model, sgd, loss_of_step, steps, cosine)


def write_full():
    def first(dtype):
        model, _, loss = first_step(FULL, dtype, TEMPERATURE)
        brief = {name: [p.grad.norm().item(), *p.grad.flatten()[:3].tolist()] for name, p in model.named_parameters()}
        return loss.item(), brief

    result = {"origin": ORIGIN, "sizes": FULL, "batches_in_rotation": BATCHES, "temperature": TEMPERATURE}
    first32, first64 = first(torch.float32), first(torch.float64)
    result["first_loss"] = {"float32": first32[0], "float64": first64[0]}
    result["gradient_columns"] = ["norm", "element 0", "element 1", "element 2"]
    result["gradient_float32"], result["gradient_float64"] = first32[1], first64[1]
    result["adam"] = adam_run(FULL, TEMPERATURE, 1e-3)  # within 20 steps the loss is nearly zero …
    result["adam_tau_0_5"] = adam_run(FULL, 0.5, 1e-4)  # … here it stays large enough to compare
    write_json(HERE / "parity_full.json", result)


CLASSES, CLASSIFIER_RECORDS = 5, 8
TARGET_STREAM = 900


def classifier_data(dtype):
    x = parity_input(CLASSIFIER_RECORDS, 12, SMALL["length"], 0, 0)
    y = fraction(np.arange(CLASSIFIER_RECORDS * CLASSES), TARGET_STREAM).reshape(-1, CLASSES) < 0.4
    return torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype)


def classification_losses(targets):
    """The three losses as functions of (logits, targets), and the weight of the positives in the weighted one."""
    positives = targets.sum(0)
    weight = (len(targets) - positives) / positives
    losses = {
        "bce": weighted_bce,
        "focal": lambda x, y: weighted_bce(x, y, 0.25, 0.25, 2.0),
        "weighted": lambda x, y: weighted_bce(x, y, weight),
    }
    return losses, weight


def write_classifier():
    x, y = classifier_data(torch.float32)
    losses, weight = classification_losses(y)
    model = set_parity_weights(Classifier(SMALL["width"], CLASSES), torch.float32)
    arrays = parameters_of(model, "init")
    arrays |= {"input.x": array(x), "input.targets": array(y), "input.positive_weight": array(weight)}
    arrays["train.logits"] = array(model(x))
    for name, loss_of in losses.items():
        model = set_parity_weights(model, torch.float32)
        model.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        arrays[f"loss.{name}"] = array(loss).reshape(1)
        arrays |= gradients_of(model, f"grad_{name}")
    write_safetensors(HERE / "parity_classifier.safetensors", arrays, {"origin": ORIGIN})

    def focal_steps(dtype):
        classifier = set_parity_weights(Classifier(SMALL["width"], CLASSES), dtype)
        inputs, targets = classifier_data(dtype)
        focal = classification_losses(targets)[0]["focal"]
        adam = torch.optim.Adam(classifier.parameters(), lr=1e-3)
        return train(classifier, adam, lambda step: focal(classifier(inputs), targets), 20)

    result = {"origin": ORIGIN, "loss": "focal, α 0.25 for both classes, γ 2", "optimizer": "Adam, learning rate 1e-3"}
    write_json(HERE / "parity_classifier.json", result | in_both_precisions(focal_steps))


def main():
    torch.set_num_threads(1)  # the same sums on every machine with the same library
    torch.use_deterministic_algorithms(True)
    writers = {"small": write_small, "classifier": write_classifier, "full": write_full}
    for name in sys.argv[1:] or writers:
        writers[name]()


if __name__ == "__main__":
    main()
