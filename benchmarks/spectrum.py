"""The spectral tools against curvlinops and PyHessian, as ratios inside one run.

    python benchmarks/spectrum.py benchmarks/spectrum.json

needs the packages of ``benchmarks/requirements.txt``. The networks, the data and the number of
Hessian-vector products are the same for all; how far each result is from the whole matrix is noted
where the whole matrix is within reach. One thread, double precision.
"""

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import eigsh

from ddt_utils import curvature, networks, spectrum

SIZES = {(20, 8, 10): 300, (20, 24, 16, 10): 300, (64, 64, 64, 10): 1000}
COUNT, PROBES, STEPS, WIDTH = 10, 16, 30, 0.03
REPEATS = 3


def problem(widths, samples):
    """A network after a little training, and its data."""
    from ddt_utils.replicas import SGD, Replicas

    random = np.random.default_rng(0)
    x = random.normal(size=(samples, widths[0]))
    y = (x @ random.normal(size=(widths[0], widths[-1]))).argmax(axis=1)
    model = networks.fully_connected(widths)
    crowd = Replicas(model, x, y, SGD(0.1, 32), start=model.initial(1, seed=1), seed=2).run(200)
    return model, crowd.theta[0], torch.from_numpy(x), torch.from_numpy(y)


def as_module(model, theta, widths):
    """The same network of torch.nn."""
    layers, parts = [], model.blocks(theta)
    for i, (inside, outside) in enumerate(zip(widths, widths[1:], strict=False)):
        layer = torch.nn.Linear(inside, outside, dtype=torch.float64)
        layer.weight.data = parts[f"weight{i}"].T.clone()
        layer.bias.data = parts[f"bias{i}"].clone()
        layers += [layer, torch.nn.Tanh()] if i < len(widths) - 2 else [layer]
    return torch.nn.Sequential(*layers)


def ours(model, theta, x, y, widths):
    operator = curvature.hessian_operator(model, theta, x, y)
    vector = np.random.default_rng(3).standard_normal(model.size)
    grid = np.linspace(-0.5, 2, 100)
    return dict(
        product=lambda: operator @ vector,
        top=lambda: spectrum.top_eigenpairs(operator, count=COUNT, seed=0)[0],
        trace=lambda: spectrum.hutchinson_trace(operator, probes=PROBES, seed=1).value,
        density=lambda: spectrum.spectral_density(
            operator, steps=STEPS, probes=PROBES, seed=2, grid=grid, width=WIDTH
        ),
    )


def by_curvlinops(model, theta, x, y, widths):
    import curvlinops
    from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum

    module = as_module(model, theta, widths)
    operator = curvlinops.HessianLinearOperator(
        module,
        torch.nn.CrossEntropyLoss(),
        list(module.parameters()),
        [(x, y)],
        check_deterministic=False,
    )
    vector = torch.from_numpy(np.random.default_rng(3).standard_normal(model.size))
    return dict(
        product=lambda: operator @ vector,
        top=lambda: eigsh(operator.to_scipy(), k=COUNT, which="LA")[0][::-1],
        trace=lambda: float(curvlinops.hutchinson_trace(operator, num_matvecs=PROBES)),
        density=lambda: lanczos_approximate_spectrum(
            operator, STEPS, num_points=100, num_repeats=PROBES, boundaries=(-0.5, 2.0)
        ),
    )


def by_pyhessian(model, theta, x, y, widths):
    import pyhessian

    module = as_module(model, theta, widths)
    found = pyhessian.hessian(module, torch.nn.CrossEntropyLoss(), data=(x, y), cuda=False)
    vector = [torch.randn_like(p) for p in found.params]
    return dict(
        product=lambda: pyhessian.utils.hessian_vector_product(found.gradsH, found.params, vector),
        top=lambda: np.array(found.eigenvalues(top_n=COUNT, maxIter=100, tol=1e-3)[0]),
        trace=lambda: float(np.mean(found.trace(maxIter=PROBES, tol=0))),
    )  # its density calls torch.eig, which torch no longer has


def agreement(model, theta, x, y, widths):
    """The largest differences of whole matrices, and of a product, over their largest entries."""
    import curvlinops
    import pyhessian

    module, loss = as_module(model, theta, widths), torch.nn.CrossEntropyLoss()
    parts = module, loss, list(module.parameters()), [(x, y)]
    numbered = as_module(model, torch.arange(len(theta)).double(), widths)  # weights transposed
    order = torch.cat([p.detach().reshape(-1) for p in numbered.parameters()]).long().numpy()
    pairs = {
        "Hessian": (curvature.hessian, curvlinops.HessianLinearOperator),
        "Fisher matrix": (
            lambda model, theta, x, y: curvature.fisher(model, theta, x),
            curvlinops.GGNLinearOperator,
        ),
        "second moment": (curvature.second_moment, curvlinops.EFLinearOperator),
    }
    found = {}
    for name, (own, operator) in pairs.items():
        other = operator(*parts, check_deterministic=False) @ torch.eye(len(theta)).double()
        found[name] = _apart(own(model, theta, x, y)[order][:, order], other.detach().numpy())
    theirs = pyhessian.hessian(module, loss, data=(x, y), cuda=False)
    vector = np.random.default_rng(4).standard_normal(len(theta))
    split = torch.from_numpy(vector[order]).split([p.numel() for p in theirs.params])
    shaped = [v.reshape(p.shape) for v, p in zip(split, theirs.params, strict=True)]
    product = pyhessian.utils.hessian_vector_product(theirs.gradsH, theirs.params, shaped)
    other = torch.cat([part.reshape(-1) for part in product]).detach().numpy()
    own = curvature.hessian_operator(model, theta, x, y) @ vector
    return found | {"product, PyHessian": _apart(own[order], other)}


def _apart(own, other):
    return float(np.abs(own - other).max() / np.abs(other).max())


CONTESTANTS = {"ours": ours, "curvlinops": by_curvlinops, "PyHessian": by_pyhessian}


def main(path):
    torch.set_num_threads(1)
    rows, same = [], {}
    for widths, samples in SIZES.items():
        model, theta, x, y = problem(widths, samples)
        if model.size < 2000:
            same[str(model.size)] = agreement(model, theta, x, y, widths)
            print(same)
        whole = curvature.hessian(model, theta, x, y) if model.size < 2000 else None
        truth = None if whole is None else np.linalg.eigvalsh(whole)[::-1]
        for contestant, tools in CONTESTANTS.items():
            for task, work in tools(model, theta, x, y, widths).items():
                times = []
                for _ in range(20 * REPEATS if task == "product" else REPEATS):
                    begin = time.perf_counter()
                    result = work()
                    times.append(time.perf_counter() - begin)
                row = dict(widths=widths, parameters=model.size, samples=samples, task=task)
                row |= dict(contestant=contestant, seconds=min(times))
                if truth is not None and task == "top":
                    row["error"] = float(np.abs(result / truth[:COUNT] - 1).max())
                if truth is not None and task == "trace":
                    row["error"] = float(abs(result / truth.sum() - 1))
                rows.append(row)
                print(row)
    names = ("torch", "numpy", "scipy", "curvlinops-for-pytorch", "PyHessian")
    machine = dict(processor=platform.processor() or platform.machine())
    machine["versions"] = {name: version(name) for name in names}
    Path(path).write_text(
        json.dumps(dict(machine=machine, differences=same, rows=rows), indent=1) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1])
