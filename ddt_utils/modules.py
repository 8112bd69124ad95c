r"""A ``torch.nn.Module`` of one's own as a :class:`~ddt_utils.model.Model`: :func:`from_module`.

The module becomes a pure function of one flat vector :math:`\theta`, through
``torch.func.functional_call``, and all that takes a model takes it: replicas, Hessians, sample
gradients, records. Layers that drop out are switched off. Buffers and frozen parameters
(``requires_grad`` is False) are constants; shared parameters are in :math:`\theta` once. All is in
double precision, or in that of :math:`\theta`.

From a module to an escape time, predicted and measured: its Hessian and its noise are in
:mod:`.curvature`, what compares them in :mod:`.spectrum`, the formulas in :mod:`.theory`, and
:mod:`.replicas` trains copies until a criterion of :mod:`.criterion` lets them go. The chapter
*Your own network* does all of it.

Example:
    The whole way in one piece, for a module of one weight that has two minima.

    >>> import numpy as np, torch
    >>> from ddt_utils import criterion, exponents, networks, passes
    >>> from ddt_utils import replicas, theory
    >>> class Bend(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = torch.nn.Parameter(torch.ones(1))
    ...     def forward(self, x):
    ...         return self.w**2 + self.w * x / 2
    >>> rng, net = np.random.default_rng(3), Bend()  # train it first
    >>> x, y = rng.normal(size=(40, 1)), 1 + rng.normal(size=40)
    >>> model = networks.from_module(net, "squared", inputs=(1,))

    The minimum near its weights, and the ways out that a search from places around it meets:

    >>> start = model.theta(net)
    >>> [a] = passes.critical_points(model, start, x, y, index=0)
    >>> near = a.location + [[-0.3], [-0.7]]
    >>> [way] = passes.exits(model, a, x, y, starts=near)
    >>> way
    Pass(barrier=0.232908, from a loss of 0.638049 to 0.637742)

    With white noise of a strength D the time to the minimum beyond, as Eyring and Kramers have it
    and as replicas do, both in units of t = learning rate × iterations:

    >>> D = way.barrier / 4
    >>> told = theory.eyring_kramers_time(
    ...     hessian_minimum=a.hessian, hessian_saddle=way.saddle.hessian,
    ...     barrier=way.barrier, diffusion=D).value
    >>> there = criterion.Beyond(way.beyond.location, way.direction)
    >>> crowd = replicas.Replicas(
    ...     model, x, y, replicas.sgld(0.1, D, model.size),
    ...     start=a.location, replicas=100, seed=2)
    >>> found = crowd.escape(there, max_iterations=1000, every=10)
    >>> round(told), bool(abs(found.mean - told) < 3 * found.stderr)
    (178, True)

    The formula is the limit of weak noise. In many soft directions four D are no high barrier, and
    found may be several times told: ask at two strengths whether the ratio settles.

    With SGD theories differ in the exponent S of ln τ ≈ S; ``replicas.SGD`` in the place of
    ``sgld`` measures it, as the slope of ln τ in the batch size:

    >>> cost = exponents.exponents(model, way, x, y, learning_rate=0.1,
    ...                            batch_size=4, actions=False)
    >>> [round(end, 1) for end in cost.theorem]  # s = 1 and s = 0
    [6.8, 13.6]
    >>> round(cost.lowest_path, 1)
    16.9
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ddt_utils import _checks, _module, _own_loss, _probe, losses, streams
from ddt_utils.model import Model, alone, differentiable

_LOSSES = ("cross entropy", "squared")


@dataclass(frozen=True)
class ModuleModel(Model):
    """A model made of a module; made by :func:`from_module`.

    Args:
        whole_inputs: are inputs whole numbers, as of an embedding?

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.GELU())
        >>> model = from_module(net, "squared")
        >>> theta = model.theta(net)
        >>> back = model.module(theta)
        >>> theta.shape, torch.equal(back[0].bias, net[0].bias.double())
        (torch.Size([8]), True)
    """

    whole_inputs: bool = False

    def inputs(self, x) -> np.ndarray:
        """Inputs, checked; see :meth:`ddt_utils.model.Model.inputs`.

        Args:
            x: shape ``(m, *input_shape)``.

        Returns:
            An array of the same shape; int64, if the module takes whole numbers.

        Raises:
            ValueError: another shape, or numbers that are not finite, or not whole.
        """
        found = super().inputs(x)
        if not self.whole_inputs:
            return found
        if (found != np.floor(found)).any():
            bad = found[found != np.floor(found)][0]
            raise ValueError(f"x must be whole numbers, as {self.name} takes them, got {bad:g}")
        return found.astype(np.int64)

    def losses_of(self, out, y, shape):
        """The losses of outputs; see :meth:`ddt_utils.model.Model.losses_of`.

        Args:
            out: outputs, shape (..., B, k).
            y: targets, shape (..., B); whole numbers that are no classes are made real for a loss
                of one's own.
            shape: of the losses.

        Returns:
            A tensor of that shape.
        """
        own = getattr(self.output_loss, "own", False)
        if own and not self.classes and not y.is_floating_point():
            y = y.to(out.dtype)
        return super().losses_of(out, y, shape)

    def theta(self, module):
        """The parameters of a module of this kind, as one vector.

        Args:
            module: with the names and shapes of the one that was wrapped, trained or not.

        Returns:
            θ, a tensor of shape (n,) in double precision.

        Raises:
            ValueError: other names or shapes.
        """
        import torch

        _, values = _module.template(module)
        found = tuple((name, tuple(part.shape)) for name, part in values.items())
        if found != self.shapes:
            other = next(iter(set(found) ^ set(self.shapes)), found)
            raise ValueError(
                f"module must have the parameters of {self.name}, in their order, got a "
                f"difference at {other}; wrap it with from_module"
            )
        return torch.cat([part.flatten() for part in values.values()])

    def module(self, theta):
        """A module with given parameters, in evaluation mode and double precision.

        Args:
            theta: one parameter vector, shape (n,).

        Returns:
            A copy of the module that was wrapped.

        Raises:
            ValueError: another shape, or numbers that are not finite.
        """
        import torch

        found = torch.from_numpy(_checks.array("theta", theta, shape=(self.size,)))
        made = copy.deepcopy(self.forward.module)
        with torch.no_grad():
            for name, block in self.blocks(found).items():
                made.get_parameter(name).copy_(block)
        return made

    def initial(self, replicas: int, *, seed: int):
        """Random parameters, drawn as the module's layers draw them, by ``reset_parameters``.

        Replica i of a seed is the same for any number of replicas.

        Args:
            replicas: R, how many.
            seed: a whole number from 0 to 2⁶⁴ − 1.

        Returns:
            A tensor of shape (R, n).

        Raises:
            ValueError: no such numbers, or a layer with parameters that cannot draw them.
        """
        import torch

        count = _checks.whole("replicas", replicas, least=1)
        made, draws = copy.deepcopy(self.forward.module), []
        with alone(), torch.random.fork_rng(devices=[]):
            for i in range(count):
                key = streams.stream(seed, "initial", i).integers(2**63 - 1)
                torch.manual_seed(int(key))
                made.apply(self._reset)
                parts = [made.get_parameter(name) for name, _ in self.shapes]
                draws.append(torch.cat([part.detach().flatten() for part in parts]))
        return torch.stack(draws)

    def _reset(self, layer):
        own = [name for name, part in layer.named_parameters(recurse=False) if part.requires_grad]
        reset = getattr(layer, "reset_parameters", getattr(layer, "_reset_parameters", None))
        if callable(reset):
            reset()
        elif own:
            raise ValueError(
                f"initial needs a layer that draws its own parameters, got {own[0]!r} of "
                f"{type(layer).__name__}; give it a method reset_parameters, or start from "
                "theta(module)"
            )


def from_module(
    module,
    loss: str | Callable = "cross entropy",
    *,
    inputs: tuple[int, ...] | None = None,
    targets: tuple[int, ...] | None = None,
    classes: int = 0,
    weight_decay: float = 0.0,
    name: str = "",
) -> ModuleModel:
    r"""A model of any ``torch.nn.Module`` whose forward takes a batch of samples.

    The module is copied, and tried on a few samples: what is no smooth function of its parameters
    for each sample by itself is refused by name, such as batch norm, random numbers in forward, or
    a step function. The digest of the model (see :mod:`.provenance`) is that of the module's code,
    buffers and constants, not of its weights, which :meth:`ModuleModel.theta` reads; a module under
    ``torch.nn.utils.parametrize`` has none, so that it trains, but is not saved or recorded.

    Args:
        module: takes ``(B, *inputs)``, returns (B, k), or (B,), or (B, ..., k).
        loss: ``"cross entropy"``, of scores of classes, which are the last axis, averaged over
            other axes; of one output it is the log-odds of class 1. Or ``"squared"``, half the
            squared distance from the target, see :mod:`.losses`. Or a function of one sample's
            output and target that returns one number, such as torch's ``smooth_l1_loss``.
        inputs: shape of one sample, such as (1, 28, 28); by default (d,), with d from the first
            linear layer.
        targets: shape of one target, for a loss of one's own; by default (), a number. Torch's
            losses take targets of the shape of the output: of one output that is (1,).
        classes: how many classes the targets number, for a loss of one's own; 0 for real numbers.
        weight_decay: λ; the loss has the term :math:`\frac\lambda2|\theta|^2`.
        name: for messages and captions; by default the class and the number of parameters.

    Returns:
        The model.

    Raises:
        ValueError: what is no such module, loss or shape, with what to do about it; a loss that is
            not finite for every class, or divides each sample by the weight of its class.

    Example:
        >>> import numpy as np, torch
        >>> from torch import nn
        >>> from ddt_utils import curvature
        >>> net = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 8), nn.GELU(),
        ...                     nn.Linear(8, 3))
        >>> model = from_module(net, weight_decay=0.01)
        >>> model.size, model.classes
        (75, 3)
        >>> x, y = np.ones((6, 4)), np.arange(6) % 3
        >>> curvature.hessian(model, model.theta(net), x, y).shape
        (75, 75)
    """
    with differentiable(), alone():
        return _made(module, loss, inputs, targets, classes, weight_decay, name)


def _made(module, loss, inputs, targets, classes, weight_decay, name):
    """The model."""
    kept, values = _module.template(module)
    asked = inputs
    if inputs is None:
        linear = (m.in_features for m in module.modules() if hasattr(m, "in_features"))
        inputs = next(((count,) for count in linear), None)
        if inputs is None:
            raise ValueError(
                "inputs must be the shape of one sample, got None and a module without a linear "
                "layer; give, for example, inputs=(1, 28, 28)"
            )
    forward = _module.Forward(kept, _shape("inputs", inputs))
    shape, whole = _tried(forward, values, asked)
    forward = replace(forward, lifted=_probe.needs_lift(forward, values, whole))
    output_loss, target_shape, count = _loss(loss, shape, targets, classes)
    decay = _checks.number("weight_decay", weight_decay, least=0)
    size = sum(part.numel() for part in values.values())
    model = ModuleModel(
        name=name or f"{type(module).__name__} of {size} parameters",
        shapes=tuple((key, tuple(part.shape)) for key, part in values.items()),
        forward=forward,
        output_loss=output_loss,
        scales=(),
        classes=count,
        input_shape=forward.sample,
        target_shape=target_shape,
        weight_decay=decay,
        whole_inputs=whole,
    )
    if callable(loss):
        _own_loss.tried(model, values, whole)
    return model


def _shape(name, given):
    """A shape of one sample."""
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        given = (given,)
    if not isinstance(given, (tuple, list)):
        raise ValueError(f"{name} must be a shape, such as (1, 28, 28), got {given!r}")
    return tuple(_checks.whole(name, size, least=1) for size in given)


def _tried(forward, values, asked):
    """The shape of an output, and whether inputs are whole numbers, by trying."""
    kinds, refusal = (False, True), None
    fresh = replace(forward, module=copy.deepcopy(forward.module))
    began = {name: part.clone() for name, part in values.items()}
    for whole in kinds:
        x = _probe.inputs(forward.sample, whole)
        try:
            forward.once(values, x.clone())
        except Exception as error:  # noqa: BLE001 - whatever a forward of one's own raises
            refusal = refusal or error
            continue
        return _probe.output_shape(forward, values, x, fresh, began), whole
    guess = " (the width of the first linear layer)" if asked is None else ""
    first = (str(refusal).strip() or type(refusal).__name__).splitlines()[0][:160]
    raise ValueError(
        f"module must take a batch of samples of shape {forward.sample}{guess}, got {first}; give "
        "inputs= as the shape of one sample, and make new tensors in forward with the dtype of x"
    ) from refusal


def _loss(loss, shape, targets, classes):
    """The loss of an output of that shape, the shape of its targets, and how many classes."""
    if callable(loss):
        _own_loss.refuse(loss)
        found = _shape("targets", () if targets is None else targets)
        count = _checks.whole("classes", classes)
        return _module.OutputLoss(loss, len(shape), len(found), own=True), found, count
    _checks.choice("loss", loss, _LOSSES, remedy="or give a function of one output and one target")
    if loss == "squared":
        found, count = () if math.prod(shape) == 1 else shape, 0
        made = _module.OutputLoss(losses.squared, len(shape), len(found), flat=True)
    else:
        found, count = shape[:-1], max(2, shape[-1])
        kind = losses.binary_cross_entropy if shape[-1] == 1 else losses.cross_entropy
        made = _module.OutputLoss(kind, len(shape), len(found))
    asked = found if targets is None else _shape("targets", targets)
    if asked != found or _checks.whole("classes", classes) not in (0, count):
        raise ValueError(
            f"targets and classes must be left out for {loss!r}, which knows them: {found} and "
            f"{count} for outputs of shape {shape}, got {targets} and {classes}"
        )
    return made, found, count
