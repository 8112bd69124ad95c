"""Which machine computes: as the call says, else as the environment says, else the processor."""

import gc

import numpy as np
import pytest
import torch

from ddt_utils import _devices, catalog, networks, noise, simulate
from ddt_utils.replicas import GaussianSGD, Replicas
from ddt_utils.simulate import cpu, cuda
from ddt_utils.simulate.run import engine

ASKED = {  # argument, environment, is there a GPU: what is taken
    "nothing said": (None, None, True, "cpu"),
    "empty": (None, "", True, "cpu"),
    "environment": (None, "cuda", True, "cuda"),
    "auto by environment": (None, "auto", True, "cuda"),
    "auto without a GPU": (None, "auto", False, "cpu"),
    "the call beats it": ("cpu", "cuda", True, "cpu"),
    "auto by call": ("auto", None, True, "cuda"),
    "auto by call, none": ("auto", "cuda", False, "cpu"),
}


@pytest.mark.parametrize("device, variable, there, expected", ASKED.values(), ids=ASKED)
def test_the_call_then_the_environment_then_the_processor(
    device, variable, there, expected, monkeypatch
):
    """For replicas and for walkers alike."""
    monkeypatch.delenv("DDT_DEVICE", raising=False)
    if variable is not None:
        monkeypatch.setenv("DDT_DEVICE", variable)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(cuda, "is_available", lambda: there)
    assert _devices.of_torch(device) == torch.device(expected)
    assert engine(device) is {"cpu": cpu.CPU, "cuda": cuda.CUDA}[expected]


def crowd(**options):
    model = networks.quadratic(np.eye(2))
    rule = GaussianSGD(0.1, np.eye(2))
    data = np.zeros((3, 2)), np.zeros(3)
    return Replicas(model, *data, rule, start=np.zeros(2), seed=1, **options)


def walkers(**options):
    well = catalog.quartic()
    (x,) = well.variables
    problem = simulate.Problem(well, noise.WhiteNoise(0.25), start=-1, exit=x > 1, step=0.01)
    return simulate.Run(problem, walkers=5, seed=1, **options)


@pytest.mark.parametrize("variable", ["gpu", "CUDA", "cuda:0", "1"])
def test_an_environment_that_names_no_device_is_refused(variable, monkeypatch):
    monkeypatch.setenv("DDT_DEVICE", variable)
    for make in (crowd, walkers):
        with pytest.raises(ValueError, match=f"DDT_DEVICE must be one of .*{variable}.*; unset"):
            make()
        make(device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_refused_with_the_remedy(monkeypatch):
    with pytest.raises(
        ValueError, match='got .cuda., and torch sees no GPU; take "cpu", or "auto"'
    ):
        crowd(device="cuda")
    monkeypatch.setenv("DDT_DEVICE", "cuda")
    with pytest.raises(ValueError, match="got 'cuda' from DDT_DEVICE, and torch sees no GPU"):
        crowd()
    if not cuda.is_available():
        with pytest.raises(RuntimeError, match="needs an NVIDIA GPU .*, or unset DDT_DEVICE"):
            walkers()
    monkeypatch.setenv("DDT_DEVICE", "auto")
    assert crowd().theta.device.type == "cpu"


@pytest.mark.parametrize(
    ("count", "there"),
    [(1, "sees 1 GPU; take cuda:0,"), (3, "sees 3 GPUs; take cuda:0 to cuda:2,")],
)
def test_a_gpu_beyond_those_that_are_there_is_refused(count, there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for device in (f"cuda:{count}", "cuda:7", torch.device("cuda", count)):
        with pytest.raises(ValueError, match=f"got 'cuda:[137]', and torch {there} or 'cuda'"):
            crowd(device=device)
    for device in ("cuda", f"cuda:{count - 1}"):
        assert _devices.of_torch(device) == torch.device(device)


@pytest.mark.parametrize("device", ["tpux", 3.5, ["cpu"]])
def test_a_device_that_is_none_is_refused(device):
    for make in (crowd, walkers):
        with pytest.raises(ValueError, match="device must be"):
            make(device=device)


def test_a_constant_is_brought_once_and_let_go():
    array, like = np.linspace(0, 1, 5), torch.zeros(1, dtype=torch.float32)
    one = _devices.held(array, like)
    assert _devices.held(array, like) is one and one.dtype == torch.float32
    assert _devices.held(array, like.double()) is not one
    np.testing.assert_allclose(one, array, rtol=1e-7)
    known = len(_devices._HELD)
    del array
    gc.collect()
    assert len(_devices._HELD) == known - 2
