"""Replicas side by side against one torch.nn network after the other, as ratios inside one run.

    python benchmarks/replicas.py benchmarks/replicas.json

Both train the same networks on the same data with plain SGD; the loop is the usual one, with
``torch.nn`` modules and ``torch.optim.SGD``. One thread each.
"""

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

from ddt_utils import networks
from ddt_utils.replicas import SGD, Replicas

WIDTHS = ((10, 16, 2), (10, 64, 2), (64, 32, 10))
BATCHES = (1, 8, 64)
REPLICAS = (1, 16, 256, 1024)
SAMPLES = 500


def data(widths):
    random = np.random.default_rng(0)
    x = random.normal(size=(SAMPLES, widths[0]))
    return x, random.integers(0, widths[-1], SAMPLES)


def side_by_side(widths, batch, replicas, dtype, device="cpu"):
    """Seconds for one step of one replica."""
    model = networks.fully_connected(widths)
    x, y = data(widths)
    start = model.initial(replicas, seed=1).numpy()
    options = dict(start=start, seed=1, dtype=dtype, device=device)
    crowd = Replicas(model, x, y, SGD(0.05, batch), **options).run(16)
    iterations, taken = max(64, 4096 // replicas), []
    for _ in range(3):
        begin = time.perf_counter()
        float(crowd.run(iterations).theta[0, 0])  # a GPU has finished when it is read
        taken.append((time.perf_counter() - begin) / iterations / replicas)
    return min(taken)


def one_by_one(widths, batch, dtype, networks_=3, iterations=300):
    """Seconds for one step of one network of torch.nn."""
    x, y = (torch.from_numpy(part) for part in data(widths))
    x = x.to(dtype)
    layers = []
    for i, (inside, outside) in enumerate(zip(widths, widths[1:], strict=False)):
        layers += [torch.nn.Linear(inside, outside)]
        layers += [torch.nn.Tanh()] if i < len(widths) - 2 else []
    loss, taken = torch.nn.CrossEntropyLoss(), []
    for seed in range(networks_):
        network = torch.nn.Sequential(*layers).to(dtype)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
        generator = torch.Generator().manual_seed(seed)
        begin = time.perf_counter()
        for _ in range(iterations):
            rows = torch.randint(0, SAMPLES, (batch,), generator=generator)
            optimiser.zero_grad()
            loss(network(x[rows]), y[rows]).backward()
            optimiser.step()
        taken.append((time.perf_counter() - begin) / iterations)
    return min(taken)


def main(path):
    torch.set_num_threads(1)
    rows = []
    for widths in WIDTHS:
        for batch in BATCHES:
            for dtype in (torch.float64, torch.float32):
                loop = one_by_one(widths, batch, dtype)
                for replicas in REPLICAS:
                    own = side_by_side(widths, batch, replicas, dtype)
                    row = dict(widths=widths, batch=batch, replicas=replicas)
                    row |= dict(dtype=str(dtype), ns_own=1e9 * own, ns_loop=1e9 * loop)
                    rows.append(row | dict(ratio=loop / own))
                    print(row, f"{loop / own:.1f} ×")
    machine = dict(processor=platform.processor() or platform.machine(), torch=torch.__version__)
    Path(path).write_text(json.dumps(dict(machine=machine, rows=rows), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
