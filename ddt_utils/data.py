r"""Samples to learn from: bundled with scikit-learn, or generated. Nothing needs a network.

Every set is a :class:`Dataset` with inputs of mean 0 and variance 1 in each column, taken over all
m samples (divisor m). Columns that are constant are dropped, unless a function says otherwise. The
sets that must be fetched are in :mod:`.uci`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ddt_utils import streams


@dataclass(frozen=True, eq=False)
class Dataset:
    """m samples with d features.

    Args:
        name: for messages and captions.
        inputs: shape (m, d), float64; kept as a read-only copy.
        targets: shape (m,): classes, whole numbers from 0 (int64), or real numbers (float64).
        classes: the names of the classes, in the order of their numbers; empty for real targets.
        source: where the samples come from.
        truth: the weights w of shape (d,) from which the targets were drawn, if they are known;
            forgotten where inputs are rescaled or classes grouped.

    Raises:
        ValueError: shapes that do not match, a value that is not finite, an unknown class.
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...] = ()
    source: str = ""
    truth: np.ndarray | None = None

    def __post_init__(self):
        inputs = np.array(self.inputs, dtype=np.float64)
        targets = np.array(self.targets, dtype=np.int64 if self.classes else np.float64)
        truth = None if self.truth is None else np.array(self.truth, dtype=np.float64)
        if inputs.ndim != 2 or not inputs.size or targets.shape != inputs.shape[:1]:
            raise ValueError(
                f"{self.name} needs inputs of shape (m, d) and m targets, got {inputs.shape} and "
                f"{targets.shape}"
            )
        if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
            raise ValueError(f"{self.name} has a value that is not finite; drop that sample")
        if self.classes and not (targets.min() >= 0 and targets.max() < len(self.classes)):
            raise ValueError(
                f"{self.name} has classes from 0 to {len(self.classes) - 1}, got targets from "
                f"{targets.min()} to {targets.max()}"
            )
        for field, array in (("inputs", inputs), ("targets", targets), ("truth", truth)):
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, field, array)
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def features(self) -> int:
        """The number d of features."""
        return self.inputs.shape[1]

    @property
    def counts(self) -> np.ndarray:
        """How many samples each class has; shape (number of classes,)."""
        return np.bincount(self.targets, minlength=len(self.classes)) if self.classes else None

    def subset(self, indices) -> Dataset:
        """The samples at these indices, or where this mask is true; inputs are not rescaled."""
        return replace(self, inputs=self.inputs[indices], targets=self.targets[indices])

    def split(self, train_fraction: float, *, seed: int) -> tuple[Dataset, Dataset]:
        """Two parts without a common sample, drawn at random; inputs are not rescaled.

        Raises:
            ValueError: one of the parts would be empty.
        """
        count = round(train_fraction * len(self))
        if not 0 < count < len(self):
            raise ValueError(
                f"train_fraction must leave samples on both sides of {len(self)}, got "
                f"{train_fraction}; it is a number between 0 and 1"
            )
        order = streams.stream(seed, "split").permutation(len(self))
        return self.subset(order[:count]), self.subset(order[count:])

    def standardised(self, *, keep_constant: bool = False) -> Dataset:
        """Mean 0 and variance 1 in each column; constant columns dropped, or kept as zeros."""
        spread = np.ptp(self.inputs, axis=0)
        varies = spread > 1e-12 * np.abs(self.inputs).max(axis=0)
        keep = np.ones_like(varies) if keep_constant else varies
        inputs, varies = self.inputs[:, keep], varies[keep]
        centred = np.where(varies, inputs - inputs.mean(axis=0), 0.0)
        deviation = np.where(varies, centred.std(axis=0), 1.0)
        return replace(self, inputs=centred / deviation, truth=None)

    def grouped(self, binary) -> Dataset:
        """Two classes instead of many.

        Args:
            binary: the names of the classes that become class 1; or True: the second half of the
                classes, the larger half if their number is odd; or None or False: no change.

        Raises:
            ValueError: unknown names, all of them or none, or real targets.
        """
        if binary is None or binary is False:
            return self
        names = self.classes[len(self.classes) // 2 :] if binary is True else tuple(binary)
        if not names or not set(names) < set(self.classes):
            raise ValueError(
                f"binary must name some but not all of the classes {self.classes}, got {names}"
            )
        one = np.isin(np.array(self.classes)[self.targets], names)
        rest = (name for name in self.classes if name not in names)
        return replace(self, targets=one, classes=("+".join(rest), "+".join(names)), truth=None)

    def tensors(self, device: str = "cpu") -> tuple:
        """Inputs (float64) and targets (int64 or float64) as torch tensors of their own."""
        import torch

        return torch.tensor(self.inputs, device=device), torch.tensor(self.targets, device=device)


def breast_cancer(*, binary: Iterable[str] | bool | None = None) -> Dataset:
    """569 tumours, 30 features, malignant or benign (Wolberg, Mangasarian and Street 1993)."""
    return _bundled("breast_cancer", "UCI, doi 10.24432/C5DW2B, as in scikit-learn", binary)


def wine(*, binary: Iterable[str] | bool | None = None) -> Dataset:
    """178 wines, 13 features, three growers (Aeberhard and Forina 1992)."""
    return _bundled("wine", "UCI, doi 10.24432/C5PC7J, as in scikit-learn", binary)


def digits(*, binary: Iterable[str] | bool | None = None, keep_constant: bool = False) -> Dataset:
    """1797 pictures of handwritten digits, 8 × 8 grey values (Alpaydin and Kaynak 1998).

    Three pixels are always white: 61 features, or with ``keep_constant`` all 64, these three zero,
    so that a sample is still a picture.
    """
    source = "UCI, doi 10.24432/C50P49, the test part, as in scikit-learn"
    return _bundled("digits", source, binary, keep_constant)


def _bundled(name, source, binary, keep_constant=False):
    import sklearn.datasets

    found = getattr(sklearn.datasets, f"load_{name}")()
    classes = tuple(str(c) for c in found.target_names)
    whole = Dataset(name.replace("_", " "), found.data, found.target, classes, source)
    return whole.standardised(keep_constant=keep_constant).grouped(binary)


def gaussian_mixture(
    samples: int, features: int, *, classes: int = 2, separation: float = 3.0, seed: int
) -> Dataset:
    r"""Normal clouds around the corners of a regular simplex, one a class, equally probable.

    Before the columns are standardised every cloud has unit variance in every direction, and any
    two centres are ``separation`` apart. With two classes the best classifier is right with
    probability :math:`\Phi(\text{separation}/2)`.

    Raises:
        ValueError: fewer than two classes, or fewer than ``classes`` − 1 features.
    """
    from scipy.linalg import helmert

    _require_samples(samples, features)
    if not 2 <= classes <= features + 1:
        raise ValueError(
            f"classes must be from 2 to features + 1 = {features + 1}, got {classes}; a simplex "
            "of k corners needs k − 1 dimensions"
        )
    draw = streams.stream(seed, "data")
    targets = draw.integers(classes, size=samples)
    inputs = draw.standard_normal((samples, features))
    inputs[:, : classes - 1] += separation / 2**0.5 * helmert(classes).T[targets]
    names = tuple(str(c) for c in range(classes))
    return Dataset("Gaussian mixture", inputs, targets, names, "generated").standardised()


def teacher_logistic(
    samples: int, features: int, *, strength: float = 2.0, correlation: float = 0.0, seed: int
) -> Dataset:
    r"""Two classes drawn from a logistic model: well specified for :func:`.networks.logistic`.

    Class 1 has the probability :math:`1/(1 + e^{-w\cdot x})` with w, the ``truth``, uniform on the
    sphere of radius ``strength``, and x the standardised inputs of :func:`teacher_regression`.
    """
    draw = streams.stream(seed, "data")
    inputs, weights = _teacher(samples, features, correlation, draw)
    weights = strength * weights
    targets = draw.random(samples) < 1 / (1 + np.exp(-inputs @ weights))
    return Dataset("logistic teacher", inputs, targets, ("0", "1"), "generated", weights)


def teacher_regression(
    samples: int, features: int, *, noise: float = 0.5, correlation: float = 0.0, seed: int
) -> Dataset:
    r"""Real targets :math:`y = w\cdot x + \text{noise}\cdot\xi`, with :math:`\xi` standard normal.

    w, the ``truth``, is uniform on the unit sphere. The inputs are normal, neighbouring features
    have the correlation ρ and others :math:`\rho^{|i-j|}`, whose spectrum reaches from
    :math:`(1-\rho)/(1+\rho)` to :math:`(1+\rho)/(1-\rho)`; then they are standardised.

    Raises:
        ValueError: fewer than two samples, no features, or a correlation not between −1 and 1.
    """
    draw = streams.stream(seed, "data")
    inputs, weights = _teacher(samples, features, correlation, draw)
    targets = inputs @ weights + noise * draw.standard_normal(samples)
    return Dataset("regression teacher", inputs, targets, (), "generated", weights)


def _teacher(samples, features, correlation, draw):
    _require_samples(samples, features)
    if not -1 < correlation < 1:
        raise ValueError(f"correlation must be between −1 and 1, got {correlation}")
    inputs = draw.standard_normal((samples, features))
    for j in range(1, features):
        fresh = np.sqrt(1 - correlation**2) * inputs[:, j]
        inputs[:, j] = correlation * inputs[:, j - 1] + fresh
    weights = draw.standard_normal(features)
    inputs = Dataset("teacher", inputs, np.zeros(samples)).standardised().inputs
    return inputs, weights / np.linalg.norm(weights)


def signals(
    samples: int,
    *,
    classes: int = 10,
    length: int = 40,
    shift: float = 1.0,
    noise: float = 0.25,
    seed: int,
) -> Dataset:
    r"""Short signals of one dimension, told apart by shape, after MNIST-1D (Greydanus 2020).

    Not the templates of MNIST-1D. Class c is a tone of :math:`f = 2 + \lfloor c/2\rfloor` half
    waves, :math:`\sin(\pi f s^p)` for :math:`0 < s < 1`, of steady pitch (p = 1) for even and of
    rising pitch (p = 3/2) for odd c. It fills 3/5 of the signal, elsewhere zero. A sample has a
    random height (uniform, 0.8 to 1.2), a random place (uniform, over the share ``shift`` of the
    places that are free), and smooth and white noise of standard deviations ``noise`` and
    ``noise``/10; the smooth one is white noise averaged over a Gaussian window of 2 points.

    Raises:
        ValueError: classes not from 2 to 10, a length below 20, or a shift not from 0 to 1.
    """
    from scipy.ndimage import gaussian_filter1d

    _require_samples(samples, length)
    if not (2 <= classes <= 10 and length >= 20 and 0 <= shift <= 1):
        raise ValueError(
            "signals have 2 to 10 classes, a length from 20 on and a shift from 0 to 1, got "
            f"{classes}, {length} and {shift}"
        )
    draw = streams.stream(seed, "data")
    targets = draw.integers(classes, size=samples)[:, None]
    width = 3 * length / 5
    begin = (length - width) * (0.5 + shift * draw.uniform(-0.5, 0.5, (samples, 1)))
    s = np.clip((np.arange(length) + 0.5 - begin) / width, 0, 1)
    tones = np.sin(np.pi * (2 + targets // 2) * s ** np.where(targets % 2, 1.5, 1.0))
    smooth = gaussian_filter1d(draw.standard_normal((samples, length)), 2, mode="wrap")
    smooth *= noise * (4 * np.pi**0.5) ** 0.5  # a window of width σ leaves variance 1/(2√π σ)
    inputs = draw.uniform(0.8, 1.2, (samples, 1)) * tones + smooth
    inputs += noise / 10 * draw.standard_normal((samples, length))
    names = tuple(str(c) for c in range(classes))
    return Dataset("signals", inputs, targets[:, 0], names, "generated").standardised()


def _require_samples(samples, features):
    if not (samples >= 2 and features >= 1):
        raise ValueError(
            f"a set needs two samples and one feature at least, got {samples} and {features}"
        )
