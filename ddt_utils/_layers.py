"""What the models of :mod:`.networks` are built of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACTIVATIONS = ("tanh", "relu")


def linear(blocks, x):
    """Weights times inputs."""
    return x @ blocks["weight"]


def diagonal(blocks, x):
    """Weights that are differences of squares."""
    return x @ (blocks["u"] ** 2 - blocks["v"] ** 2)[..., None]


def displacement(blocks, x):
    """How far the parameters lie from the samples."""
    return blocks["place"][..., None, :] - x


@dataclass(frozen=True)
class Layers:
    """Fully connected layers with an activation after every layer but the last."""

    count: int
    activation: str

    def __call__(self, blocks, x):
        """The outputs, shape (..., B, k)."""
        for i in range(self.count):
            x = x @ blocks[f"weight{i}"] + blocks[f"bias{i}"][..., None, :]
            if i < self.count - 1:
                x = getattr(x, self.activation)()
        return x


@dataclass(frozen=True)
class Convolution:
    """A convolution, an activation, averages over 2 × 2 blocks and a linear layer."""

    side: int
    kernel: int
    activation: str

    def __call__(self, blocks, x):
        """The outputs; with windows as columns, a convolution is a product with the kernel."""
        image = x.reshape(*x.shape[:-1], self.side, self.side)
        windows = image.unfold(-2, self.kernel, 1).unfold(-2, self.kernel, 1)
        inner = windows.shape[-3]
        columns = windows.reshape(*x.shape[:-2], -1, self.kernel**2)  # (..., B·inner², kernel²)
        maps = columns @ blocks["kernel"] + blocks["bias0"][..., None, :]
        maps = getattr(maps, self.activation)()
        half = inner // 2
        maps = maps.reshape(*maps.shape[:-2], x.shape[-2], half, 2, half, 2, maps.shape[-1])
        pooled = maps.mean((-4, -2)).flatten(-3)
        return pooled @ blocks["weight1"] + blocks["bias1"][..., None, :]


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Half the square of a displacement, weighted with a symmetric matrix; targets are not used."""

    matrix: np.ndarray

    def __call__(self, apart, targets):
        """The losses, shape (..., B)."""
        import torch

        matrix = torch.as_tensor(self.matrix, dtype=apart.dtype, device=apart.device)
        return ((apart @ matrix) * apart).sum(-1) / 2
