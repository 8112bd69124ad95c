"""Everything about a GPU in one command: the bits of the CPU, and what a walker-step costs there.

    python benchmarks/gpu.py [gpu.json]

On a machine with an NVIDIA GPU and numba-cuda. First the GPU tests of tests/test_cuda.py compare
every walker with the CPU, to the bit; then each of the benchmark's problems is timed, the fastest
of three runs, and set against the number that the instructions of its step allow: multiprocessors ×
128 lanes × clock / instructions per step. The instructions were counted in the assembly of an
H100 (sm_90), where each step of the loop was compiled from the same source. If PyTorch sees the GPU
as well, its random numbers are compared with NumPy's and timed, and networks are trained there side
by side: by captured graphs and step by step, and against the processor's parameters.
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import replicas
from contestants import Ours
from problems import NAMES

from ddt_utils import simulate
from ddt_utils.simulate import cuda

ROOT = Path(__file__).resolve().parent.parent
INSTRUCTIONS = {"quartic": 51, "multiplicative": 64, "mueller_brown": 194, "styblinski_tang": 424}
WALKERS = 1 << 22
REPEATS = 3


TESTS = {
    "walkers": ["tests/test_cuda.py", "-k", "a_gpu_gives"],
    "random numbers": ["tests/test_philox.py", "-k", "cuda"],
    "replicas": ["tests/test_replicas.py", "-k", "a_gpu_trains"],
}


def passed(tests: list[str]) -> dict:
    """How many of some tests on the GPU passed."""
    command = [sys.executable, "-m", "pytest", "-q", *tests]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(run.stdout[-2000:], file=sys.stderr)
    last = run.stdout.strip().splitlines()[-1]
    return {"passed": run.returncode == 0, "summary": last}


def timed(name: str, device: str, walkers: int) -> dict:
    """Walker-steps a second, to absorption, the first call apart."""
    landscape, model, exit, p = Ours(1).arguments(name)
    problem = simulate.Problem(
        landscape, model, start=p.start, exit=exit, step=p.step, barrier_shift=False
    )
    began = time.perf_counter()
    simulate.Run(problem, walkers=1000, seed=1, keep=False, device=device).finish()
    first, best = time.perf_counter() - began, 0.0
    for seed in range(REPEATS):
        run = simulate.Run(problem, walkers=walkers, seed=seed, keep=False, device=device)
        began = time.perf_counter()
        result = run.finish().result()
        best = max(best, result.total_steps / (time.perf_counter() - began))
    mean = [result.mean, result.stderr]
    return {"first_call_s": first, "steps_per_s": best, "walkers": walkers, "mean": mean}


def networks() -> dict:
    """Networks side by side on the GPU, against one after the other on the CPU; their numbers."""
    import torch

    if not torch.cuda.is_available():
        return {}
    rows, (widths, batch) = [], (replicas.WIDTHS[0], 8)
    for dtype in (torch.float64, torch.float32):
        loop = replicas.one_by_one(widths, batch, dtype)
        for count in (256, 1024, 4096, 16384):
            own = replicas.side_by_side(widths, batch, count, dtype, "cuda")
            rows.append(dict(dtype=str(dtype), replicas=count, ns_own=1e9 * own, ratio=loop / own))
            rows[-1] |= graphs(widths, batch, count, dtype)
            print(rows[-1], file=sys.stderr)
    return dict(rows=rows, numbers=[numbers(count) for count in (256, 4096, 16384)])


def graphs(widths, batch, count, dtype) -> dict:
    """Were graphs captured; the same training step by step; how far from the CPU's it ends."""
    import torch

    model = replicas.networks.fully_connected(widths)
    data, rule = replicas.data(widths), replicas.SGD(0.05, batch)
    options = dict(start=model.initial(count, seed=1).numpy(), seed=1, dtype=dtype)
    ends, seconds = [], []
    for use in (True, False):
        crowd = replicas.Replicas(model, *data, rule, device="cuda", **options)
        crowd._graphs = use
        crowd.run(64)
        torch.cuda.synchronize()
        began = time.perf_counter()
        crowd.run(64)
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - began) / 64)
        ends.append(crowd)
    here = replicas.Replicas(model, *data, rule, device="cpu", **options).run(128)
    apart = [float((crowd.theta.cpu() - here.theta).abs().max()) for crowd in ends]
    told = dict(
        captured=bool(ends[0]._graphs), us_graph=1e6 * seconds[0], us_steps=1e6 * seconds[1]
    )
    return told | dict(graph_from_cpu=apart[0], steps_from_cpu=apart[1])


def numbers(count) -> dict:
    """Milliseconds for a block of 64 iterations: minibatches of 8, and 210 normal numbers."""
    import numpy as np
    import torch

    from ddt_utils import streams

    draws = {
        "minibatches": lambda g: g.integers(0, 500, (64, 8)),
        "normals": lambda g: g.standard_normal((64, 210)),
    }
    told = dict(replicas=count)
    for name, draw in draws.items():
        made = draw(streams.Streams(1, "training", np.arange(count), device="cuda"))
        for which in (0, count - 1):
            truth = draw(streams.stream(1, "training", which))
            assert np.allclose(made[which].cpu().numpy(), truth, rtol=1e-15, atol=0), name
        torch.cuda.synchronize()
        began = time.perf_counter()
        draw(streams.Streams(1, "training", np.arange(count), block=1, device="cuda"))
        torch.cuda.synchronize()
        told[f"ms_{name}"] = 1e3 * (time.perf_counter() - began)
    print(told, file=sys.stderr)
    return told


def main():
    cuda.require()
    from numba import cuda as device_api

    device = device_api.get_current_device()
    attributes = {
        "name": device.name.decode() if isinstance(device.name, bytes) else str(device.name),
        "compute_capability": list(device.compute_capability),
        "multiprocessors": device.MULTIPROCESSOR_COUNT,
        "clock_hz": device.CLOCK_RATE * 1000,
    }
    lanes = 128 * attributes["multiprocessors"] * attributes["clock_hz"]
    rows = {}
    for name in NAMES:
        here, there = timed(name, "cpu", WALKERS >> 8), timed(name, "cuda", WALKERS)
        ceiling = lanes / INSTRUCTIONS[name]
        rows[name] = {
            "cpu": here,
            "cuda": there,
            "cuda_over_cpu": there["steps_per_s"] / here["steps_per_s"],
            "ceiling_steps_per_s": ceiling,
            "ceiling_over_cuda": ceiling / there["steps_per_s"],
        }
        print(name, json.dumps(rows[name]), file=sys.stderr)
    versions = {}
    for package in ("numba", "numba-cuda", "llvmlite", "numpy", "torch"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    text = json.dumps(
        {
            "device": attributes,
            "host": {"machine": platform.machine(), "cores": os.cpu_count()},
            "versions": versions,
            "same_bits": passed(TESTS["walkers"]),
            "torch": {name: passed(TESTS[name]) for name in ("random numbers", "replicas")},
            "problems": rows,
            "networks": networks(),
        },
        indent=1,
    )
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
