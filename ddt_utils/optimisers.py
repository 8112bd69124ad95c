r"""Rules that draw minibatches: SGD, and what is built on it.

They train :mod:`ddt_utils.replicas`; what a rule is stands in :mod:`.updates`. All of them take
minibatches in the same ways, weigh samples, decay weights and have one learning rate or one per
replica.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ddt_utils import _checks, _minibatches
from ddt_utils.updates import Descent, direction, settle

ASCENTS = ("same", "independent", "full")


@dataclass(frozen=True)
class SGD(Descent):
    r"""Minibatch SGD: :math:`v' = \beta v - \eta\hat g,\ \theta' = \theta + v'`, v = 0 at first.

    With weights w and probabilities p, each divided by its sum, the minibatch :math:`i_1\dots i_B`
    has the loss

    .. math:: \hat L = \frac1B\sum_{b=1}^B \frac{w_{i_b}}{p_{i_b}}\,\ell_{i_b},

    of mean :math:`\sum_i w_i\ell_i` whatever p is. Weights alone reweight; probabilities equal to
    the weights resample (An, Ying and Zhu, ICLR 2021); probabilities alone are importance sampling
    of the plain mean.

    Args:
        learning_rate: η, one number, or one per replica.
        batch_size: B.
        momentum: β in [0, 1); 0 is plain SGD.
        sampling: ``"replacement"``: independent draws; ``"distinct"``: no sample twice in one
            minibatch; ``"epochs"``: all samples in a new order each epoch, the rest of m/B left
            out.
        weights: what each sample counts, m numbers from 0, up to a factor; all the same by default.
        probabilities: how often each is drawn, m numbers from 0, up to a factor; with replacement
            only.
        weight_decay: see :class:`.Descent`.
        normalised: see :class:`.Descent`.

    Raises:
        ValueError: a number out of its range, or an unknown sampling.

    Example:
        >>> rule = SGD(0.1, batch_size=32, momentum=0.9)
        >>> rule.sampling
        'replacement'
        >>> SGD((0.1, 0.2, 0.4), batch_size=32).learning_rate
        (0.1, 0.2, 0.4)
    """

    batch_size: int
    sampling: str = field(default="replacement", kw_only=True)
    weights: tuple | None = field(default=None, kw_only=True, repr=False)
    probabilities: tuple | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self):
        """Check the arguments."""
        super().__post_init__()
        settle(
            self,
            batch_size=_checks.whole("batch_size", self.batch_size, least=1),
            sampling=_checks.choice("sampling", self.sampling, _minibatches.SAMPLINGS),
            weights=_minibatches.shares("weights", self.weights),
            probabilities=_minibatches.shares("probabilities", self.probabilities),
        )
        if self.probabilities and self.sampling != "replacement":
            raise ValueError(
                f"probabilities must go with sampling='replacement', got {self.sampling!r}"
            )

    @property
    def on_device(self) -> bool:
        """Can a GPU draw the minibatches itself? A new order of all samples comes from the host."""
        return self.sampling != "epochs"

    def draws(self, samples: int, size: int) -> tuple[Callable, int]:
        """The minibatches, as indices of samples; see :meth:`ddt_utils.updates.Rule.draws`.

        Args:
            samples: m, of the data.
            size: n, the number of parameters.

        Returns:
            As of :meth:`ddt_utils.updates.Rule.draws`; a row has B indices under the name
            ``indices`` and, if samples do not count the same, B numbers under the name ``weights``.

        Raises:
            ValueError: more distinct samples than there are, or not one weight per sample.
        """
        return _minibatches.draws(self, samples)

    def step(self, gradient, theta, state, draw, iteration):
        """See :meth:`ddt_utils.updates.Rule.step`."""
        return self.descend(self._slope(gradient, theta, draw), theta, state)

    def _slope(self, gradient, theta, draw):
        """The gradient that the step takes."""
        return gradient(theta, **draw)


@dataclass(frozen=True)
class SAM(SGD):
    r"""Sharpness-aware minimisation (Foret et al., ICLR 2021): the slope of a place uphill.

    The gradient of the step is

    .. math:: \hat g = \nabla\hat L\Bigl(\theta + \rho\,\frac{g'}{|g'|}\Bigr).

    Args:
        learning_rate: η, one number, or one per replica.
        batch_size: B.
        radius: ρ, from 0.
        ascent: whose gradient g' is: of the ``"same"`` minibatch, of an ``"independent"`` one of
            the same size, or of all samples, ``"full"``.
        unit: divide g' by its length; without, the place uphill is θ + ρg' (USAM).
        momentum: and so on, see :class:`SGD`.

    Raises:
        ValueError: as :class:`SGD`, an unknown ascent, or one that cannot be drawn.

    Example:
        >>> SAM(0.1, 8, radius=0.05, ascent="full").radius
        0.05
    """

    radius: float = field(kw_only=True)
    ascent: str = field(default="same", kw_only=True)
    unit: bool = field(default=True, kw_only=True)

    def __post_init__(self):
        """Check the arguments."""
        super().__post_init__()
        settle(
            self,
            radius=_checks.number("radius", self.radius, least=0),
            ascent=_checks.choice("ascent", self.ascent, ASCENTS),
            unit=_checks.choice("unit", self.unit, (True, False)),
        )
        if self.ascent == "full" and self.weights:
            raise ValueError("weights must be left out with ascent='full', got some; take 'same'")
        if self.ascent == "independent" and self.sampling == "epochs":
            raise ValueError(
                "sampling must be 'replacement' or 'distinct' with ascent='independent', got "
                "'epochs'; an epoch has no second minibatch"
            )

    def draws(self, samples: int, size: int) -> tuple[Callable, int]:
        """See :meth:`SGD.draws`; with an independent ascent the row's second half is for it."""
        return _minibatches.draws(self, samples, 2 if self.ascent == "independent" else 1)

    def _slope(self, gradient, theta, draw):
        """That of the minibatch, uphill."""
        own = {name: part[:, : self.batch_size] for name, part in draw.items()}
        if self.ascent == "independent":
            draw = {name: part[:, self.batch_size :] for name, part in draw.items()}
        up = gradient(theta) if self.ascent == "full" else gradient(theta, **draw)
        return gradient(theta + self.radius * (direction(up) if self.unit else up), **own)


@dataclass(frozen=True)
class LabelNoise(SGD):
    r"""SGD whose labels are blurred anew in every iteration.

    Real targets y become :math:`y + \sigma\xi` with a standard normal ξ for each sample of the
    minibatch. A class is replaced, with probability σ, by one of the k classes drawn evenly, its
    own among them.

    Args:
        learning_rate: η, one number, or one per replica.
        batch_size: B.
        strength: σ; of classes a probability.
        classes: k, if the targets are classes.
        momentum: and so on, see :class:`SGD`.

    Raises:
        ValueError: as :class:`SGD`, or a strength out of its range.

    Example:
        >>> LabelNoise(0.1, 8, strength=0.3).strength
        0.3
    """

    strength: float = field(kw_only=True)
    classes: int = field(default=0, kw_only=True)

    def __post_init__(self):
        """Check the arguments."""
        super().__post_init__()
        classes = _checks.whole("classes", self.classes)
        strength = _checks.number("strength", self.strength, least=0, most=1 if classes else None)
        settle(self, classes=classes, strength=strength)

    def suits(self, model, samples: int, size: int) -> None:
        """Refuse a model with other targets.

        Args:
            model: the model.
            samples: m, of the data.
            size: n, the number of parameters.

        Raises:
            ValueError: targets of another kind.
        """
        if model.target_shape:
            raise ValueError(
                f"targets must be one number a sample for label noise, got {model.target_shape}; "
                "write a rule for them, see updates.Rule"
            )
        if model.classes != self.classes:
            raise ValueError(
                f"classes must be {model.classes}, as the targets of {model.name} are, got "
                f"{self.classes}; 0 is for real targets"
            )

    def draws(self, samples: int, size: int) -> tuple[Callable, int]:
        """See :meth:`SGD.draws`; and the noise of each label, under the name ``noise``."""
        minibatch, length = _minibatches.draws(self, samples)
        shape = (length, self.batch_size)

        def draw(g):
            drawn = minibatch(g)
            return drawn | dict(noise=g.random(shape) if self.classes else g.standard_normal(shape))

        return draw, length

    def _slope(self, gradient, theta, draw):
        """With other labels."""
        noise = draw["noise"]
        rest = {name: part for name, part in draw.items() if name != "noise"}

        def blurred(y):
            if not self.classes:
                return y + self.strength * noise
            other = (noise / self.strength * self.classes).floor().to(y.dtype)
            return other.where(noise < self.strength, y)

        return gradient(theta, targets=blurred, **rest)


@dataclass(frozen=True)
class Adam(SGD):
    r"""Adam (Kingma and Ba, ICLR 2015), with decoupled decay of weights as in AdamW.

    .. math::

        m' &= \beta_1 m + (1-\beta_1)\hat g \\
        s' &= \beta_2 s + (1-\beta_2)\hat g^2 \\
        \theta' &= (1-\eta\lambda)\theta - \eta\frac{\hat m}{\sqrt{\hat s} + \epsilon}

    with :math:`\hat m = m'/(1-\beta_1^t)` and :math:`\hat s = s'/(1-\beta_2^t)` in iteration t = 1,
    2 and so on.

    Args:
        learning_rate: η, one number, or one per replica.
        batch_size: B.
        momentum: β₁ in [0, 1).
        memory: β₂ in [0, 1).
        epsilon: ε > 0.
        corrected: divide m and s by what they lack at first; without, they begin too small.
        weight_decay: λ.
        sampling: and so on, see :class:`SGD`.
        normalised: take each replica's gradient by its direction.

    Raises:
        ValueError: as :class:`SGD`, or a number out of its range.

    Example:
        >>> Adam(1e-3, 32).memory
        0.999
    """

    momentum: float = field(default=0.9, kw_only=True)
    memory: float = field(default=0.999, kw_only=True)
    epsilon: float = field(default=1e-8, kw_only=True)
    corrected: bool = field(default=True, kw_only=True)

    def __post_init__(self):
        """Check the arguments."""
        super().__post_init__()
        settle(
            self,
            memory=_checks.number("memory", self.memory, least=0, below=1),
            epsilon=_checks.number("epsilon", self.epsilon, above=0),
            corrected=_checks.choice("corrected", self.corrected, (True, False)),
        )

    def initial_state(self, theta) -> dict:
        """The means of the gradient and of its square; see ``Rule.initial_state``."""
        import torch

        means = {name: torch.zeros_like(theta) for name in ("mean", "square")}
        rates = {k: v for k, v in super().initial_state(theta).items() if k != "velocity"}
        return rates | means

    def step(self, gradient, theta, state, draw, iteration):
        """See :meth:`ddt_utils.updates.Rule.step`."""
        slope = self._slope(gradient, theta, draw)
        slope = direction(slope) if self.normalised else slope
        mean = self.momentum * state["mean"] + (1 - self.momentum) * slope
        square = self.memory * state["square"] + (1 - self.memory) * slope**2
        ahead, size = mean, square
        if self.corrected:
            ahead = mean / (1 - self.momentum ** (iteration + 1))
            size = square / (1 - self.memory ** (iteration + 1))
        rate = state.get("learning_rate", self.learning_rate)
        theta = (
            theta - rate * self.weight_decay * theta - rate * ahead / (size.sqrt() + self.epsilon)
        )
        return theta, state | dict(mean=mean, square=square)
