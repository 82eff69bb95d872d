"""Golden values for tests/models/methods_parity_test.cpp: what PyTorch computes for BYOL, Dade's objective and masked
reconstruction on narrow encoders.

Run:  python3 tests/golden/make_methods.py
PyTorch 1.13 or newer, CPU; seconds. Writes methods.json beside itself.

Weights and inputs come from the formulas of make_parity.py, as in make_encoders.py. Everything is computed in double from
the float32 weights and inputs; of a gradient or buffer three numbers are kept. BYOL runs two steps: loss, gradients, a step
of plain SGD, the moving average of the target with its buffers, and the loss of the next views.
"""

import copy

import torch
from torch import nn

from make_encoders import DualStream, TemporalNet, brief, conv, rounded, set_weights
from make_parity import HERE, parity_input, write_json

ORIGIN = f"tests/golden/make_methods.py, PyTorch {torch.__version__}, CPU"
RECORDS, LEADS, LENGTH, WIDTH = 4, 5, 104, 4
HIDDEN, PROJECTION, DECAY, RATE = 24, 8, 0.9, 0.1
IDS, TEMPERATURE = [0, 1, 0, 2], 0.1


class ECGEncoder1DCNN(nn.Module):
    def __init__(self, leads, w):
        super().__init__()
        shapes = ((leads, w, 11, 2), (w, w, 7, 1), (w, 2 * w, 7, 2), (2 * w, 2 * w, 5, 1), (2 * w, 4 * w, 5, 2), (4 * w, 4 * w, 3, 1))
        self.features = nn.Sequential(*(self.block(*s) for s in shapes))

    @staticmethod
    def block(inputs, outputs, kernel, stride):
        module = nn.Module()
        module.block = nn.Sequential(conv(inputs, outputs, kernel, stride), nn.BatchNorm1d(outputs), nn.ReLU())
        module.forward = module.block.forward
        return module

    def forward(self, x):
        return self.features(x)


class Head(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTION))

    def forward(self, x):
        return self.net(x)


class Byol(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.projector, self.predictor = ECGEncoder1DCNN(LEADS, WIDTH), Head(4 * WIDTH), Head(PROJECTION)

    def project(self, x):
        return self.projector(self.encoder(x).mean(2))

    def predict(self, x):
        return self.predictor(self.project(x))


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = ECGEncoder1DCNN(LEADS, WIDTH)
        up = lambda inputs, outputs: (nn.ConvTranspose1d(inputs, outputs, 4, 2, 1), nn.ReLU())
        w = WIDTH
        self.decoder = nn.Sequential(*up(4 * w, 2 * w), *up(2 * w, w), *up(w, w // 2), nn.Conv1d(w // 2, LEADS, 3, 1, 1))

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Dade(nn.Module):
    """The projector stands beside the encoder: projector.finalLayer or projector.model_g1.finalLayer …"""

    def __init__(self, encoder, streams):
        super().__init__()
        self.encoder, self.projector, self.streams = encoder, nn.Module(), streams
        for name in ("model_g1", "model_g2") if streams else ():
            module = nn.Module()
            module.finalLayer = self.final(16 * 2)
            setattr(self.projector, name, module)
        if not streams:
            self.projector.finalLayer = encoder.finalLayer
            del encoder.finalLayer

    @staticmethod
    def final(latent):
        return nn.Sequential(nn.Linear(latent, latent // 2), nn.Linear(latent // 2, latent // 4))

    def slots(self, x):
        """[slots, N, D]"""
        latents = self.encoder.slots(x).transpose(0, 1)
        if not self.streams:
            return self.projector.finalLayer(latents)
        return torch.stack([self.projector.model_g1.finalLayer(latents[0]), self.projector.model_g2.finalLayer(latents[1])])


def clocs(z):
    """z [slots, N, D]: the mean over all positives, both directions and all pairs of slots."""
    z = nn.functional.normalize(z, dim=2)
    ids = torch.tensor(IDS)
    positive = ids[:, None] == ids[None, :]
    terms = []
    for a in range(len(z)):
        for b in range(a + 1, len(z)):
            s = z[a] @ z[b].T / TEMPERATURE
            terms += [-s.log_softmax(1)[positive], -s.log_softmax(0)[positive]]
    return torch.cat(terms).mean()


def inputs(leads, length, step):
    return [torch.from_numpy(parity_input(RECORDS, leads, length, step, view)).double() for view in range(2)]


def gradients(model):
    return {name: brief(p.grad) for name, p in model.named_parameters()}


def byol():
    online = set_weights(Byol())
    target = copy.deepcopy(online)
    for layer in target.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.0
    cosine = lambda p, t: (2 - 2 * nn.functional.cosine_similarity(p, t, dim=1)).mean()

    def loss(step):
        a, b = inputs(LEADS, LENGTH, step)
        with torch.no_grad():
            target_a, target_b = target.project(a), target.project(b)
        return cosine(online.predict(a), target_b) + cosine(online.predict(b), target_a)

    first = loss(0)
    first.backward()
    result = {"loss": rounded(first.item()), "gradient": gradients(online)}
    with torch.no_grad():
        for p in online.parameters():
            p -= RATE * p.grad
        for mine, other in ((target.named_parameters, online.parameters), (target.named_buffers, online.buffers)):
            for (name, t), o in zip(mine(), other()):
                if t.dim():
                    t.mul_(DECAY).add_(o, alpha=1 - DECAY)
        followed = list(target.named_parameters()) + [(n, b) for n, b in target.named_buffers() if b.dim()]
        result["target"] = {n: brief(t) for n, t in followed if not n.startswith("predictor")}
        result["next_loss"] = rounded(loss(1).item())
    return result


def dade(encoder, leads, length, streams):
    model = set_weights(Dade(encoder, streams))
    loss = clocs(torch.cat([model.slots(x) for x in inputs(leads, length, 0)]))
    loss.backward()
    return {"leads": leads, "length": length, "loss": rounded(loss.item()), "gradient": gradients(model)}


def masked():
    model = set_weights(Masked())
    x = inputs(LEADS, LENGTH, 0)[0]
    loss = ((model(x) - x) ** 2).mean()
    loss.backward()
    return {"loss": rounded(loss.item()), "gradient": gradients(model)}


def main():
    torch.set_num_threads(1)  # the same sums on every machine with the same library
    torch.use_deterministic_algorithms(True)
    result = {"origin": ORIGIN, "columns": ["norm", "product", "element 0"], "ids": IDS}
    result["byol"], result["masked"] = byol(), masked()
    result["dade TemporalNet"] = dade(TemporalNet(2), 3, 101, False)
    result["dade DualStream"] = dade(DualStream(2), 8, 101, True)
    write_json(HERE / "methods.json", result)


if __name__ == "__main__":
    main()
