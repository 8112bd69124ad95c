"""What one walker-step costs, as ratios taken inside one run: lanes, one walker at a time, torch.

The problem is the quartic double well, D = 1/8, dt = 0.005, from −1 to +1. For the lanes and the
plain loop only steps before absorption count ("useful"); torch steps all walkers together and is
charged per step executed, which flatters it. Every contestant runs several times in turn and its
fastest run counts. Writes JSON to the file named on the command line, or prints it.
"""

import json
import math
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numba import njit

from ddt_utils import catalog
from ddt_utils.noise import WhiteNoise
from ddt_utils.simulate import first_passage

STEP, DIFFUSION, REPEATS = 0.005, 0.125, 5
WELL = catalog.quartic()
(x,) = WELL.variables


def lanes(threads):
    """The generated kernel; walkers are replaced as they escape."""
    options = dict(start=-1, exit=x > 1, step=STEP, walkers=60_000, seed=1, barrier_shift=False)
    run = first_passage(WELL, WhiteNoise(DIFFUSION), threads=threads, **options)
    return run.times.sum() / STEP


@njit
def _walk(walkers, generator):
    size, total = math.sqrt(2 * DIFFUSION * STEP), 0
    for _ in range(walkers):
        place = -1.0
        while place <= 1:
            place += (place - place**3) * STEP + size * generator.standard_normal()
            total += 1
    return total


def one_at_a_time():
    """A plain numba loop over walkers, in double precision with NumPy's normals."""
    return _walk(300, np.random.default_rng(1))


def torch_eager(walkers=100_000, steps=40):
    """All walkers at once, in place, on one thread."""
    place = torch.full((walkers,), -1.0)
    size = math.sqrt(2 * DIFFUSION * STEP)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        drift = place.pow(3).sub_(place)
        place.add_(drift, alpha=-STEP)
        place.add_(torch.randn(walkers, generator=generator), alpha=size)
    return walkers * steps


def main():
    torch.set_num_threads(1)
    contestants = {
        "lanes, 1 thread": lambda: lanes(1),
        "lanes, 2 threads": lambda: lanes(2),
        "numba, one walker at a time": one_at_a_time,
        "torch eager": torch_eager,
    }
    best = {}
    for turn in range(REPEATS + 1):
        for name, contestant in contestants.items():
            begin = time.perf_counter()
            steps = contestant()
            cost = (time.perf_counter() - begin) / steps * 1e9
            if turn:  # the first turn compiles
                best[name] = min(best.get(name, math.inf), cost)
    reference = best["lanes, 1 thread"]
    result = {
        "nanoseconds_per_step": {name: round(cost, 3) for name, cost in best.items()},
        "ratio_to_lanes": {name: round(cost / reference, 2) for name, cost in best.items()},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
    }
    text = json.dumps(result, indent=2) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    print(text, end="")
    if result["ratio_to_lanes"]["numba, one walker at a time"] < 5:
        sys.exit("the lanes are less than five times as fast as a plain loop: not vectorised?")


if __name__ == "__main__":
    main()
