r"""Samples to learn from: bundled with scikit-learn, or generated. Nothing needs a network.

Every set is a :class:`Dataset` with inputs of mean 0 and variance 1 in each column, taken over all
m samples (divisor m). Columns that are constant are dropped, unless a function says otherwise. The
sets that must be fetched are in :mod:`.uci`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ddt_utils import _checks, streams
from ddt_utils.dataset import Dataset

__all__ = [
    "Dataset", "breast_cancer", "digits", "gaussian_mixture", "signals", "teacher_logistic",
    "teacher_regression", "wine",
]  # fmt: skip


def breast_cancer(*, binary: Iterable[str] | bool | None = None) -> Dataset:
    """569 tumours, 30 features, malignant or benign (Wolberg, Mangasarian and Street 1993).

    Args:
        binary: two groups of classes instead, see :meth:`Dataset.grouped`.

    Returns:
        The set.

    Example:
        >>> breast_cancer().inputs.shape
        (569, 30)
    """
    return _bundled("breast_cancer", "UCI, doi 10.24432/C5DW2B, as in scikit-learn", binary)


def wine(*, binary: Iterable[str] | bool | None = None) -> Dataset:
    """178 wines, 13 features, three growers (Aeberhard and Forina 1992).

    Args:
        binary: two groups of classes instead, see :meth:`Dataset.grouped`.

    Returns:
        The set.

    Example:
        >>> wine().classes
        ('class_0', 'class_1', 'class_2')
    """
    return _bundled("wine", "UCI, doi 10.24432/C5PC7J, as in scikit-learn", binary)


def digits(*, binary: Iterable[str] | bool | None = None, keep_constant: bool = False) -> Dataset:
    """1797 pictures of handwritten digits, 8 × 8 grey values (Alpaydin and Kaynak 1998).

    Three pixels are always white: 61 features, or with ``keep_constant`` all 64, these three zero,
    so that a sample is still a picture.

    Args:
        binary: two groups of classes instead, see :meth:`Dataset.grouped`.
        keep_constant: keep the white pixels.

    Returns:
        The set.

    Example:
        >>> digits().inputs.shape
        (1797, 61)
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

    Args:
        samples: m.
        features: d.
        classes: k, from 2 to d + 1.
        separation: of any two centres, in standard deviations.
        seed: a whole number from 0 to 2⁶⁴ − 1.

    Returns:
        The set.

    Raises:
        ValueError: fewer than two classes, or fewer than ``classes`` − 1 features.

    Example:
        >>> clouds = gaussian_mixture(90, 2, classes=3, separation=4.0, seed=1)
        >>> clouds.inputs.shape
        (90, 2)
    """
    from scipy.linalg import helmert

    samples, features = _counts(samples, features)
    remedy = "a simplex of k corners needs k − 1 dimensions"
    classes = _checks.whole("classes", classes, least=2, most=features + 1, remedy=remedy)
    separation = _checks.number("separation", separation, least=0)
    draw = streams.samples(seed)
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

    Args:
        samples: m.
        features: d.
        strength: the length of w.
        correlation: ρ of neighbouring features, between −1 and 1.
        seed: a whole number from 0 to 2⁶⁴ − 1.

    Returns:
        The set.

    Example:
        >>> coins = teacher_logistic(200, 5, seed=1)
        >>> coins.truth.shape
        (5,)
    """
    strength = _checks.number("strength", strength, least=0)
    draw = streams.samples(seed)
    samples, features = _counts(samples, features)
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

    Args:
        samples: m.
        features: d.
        noise: the standard deviation of what is added to the targets.
        correlation: ρ.
        seed: a whole number from 0 to 2⁶⁴ − 1.

    Returns:
        The set.

    Raises:
        ValueError: fewer than two samples, no features, or a correlation not between −1 and 1.

    Example:
        >>> line = teacher_regression(200, 5, noise=0.1, seed=1)
        >>> line.targets.shape
        (200,)
    """
    noise = _checks.number("noise", noise, least=0)
    draw = streams.samples(seed)
    samples, features = _counts(samples, features)
    inputs, weights = _teacher(samples, features, correlation, draw)
    targets = inputs @ weights + noise * draw.standard_normal(samples)
    return Dataset("regression teacher", inputs, targets, (), "generated", weights)


def _teacher(samples, features, correlation, draw):
    correlation = _checks.number("correlation", correlation, above=-1, below=1)
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

    Args:
        samples: m.
        classes: how many, from 2 to 10.
        length: of a signal, from 20.
        shift: from 0 to 1.
        noise: standard deviation of the smooth noise.
        seed: a whole number from 0 to 2⁶⁴ − 1.

    Returns:
        The set.

    Example:
        >>> signals(50, length=40, seed=1).inputs.shape
        (50, 40)
    """
    from scipy.ndimage import gaussian_filter1d

    classes = _checks.whole("classes", classes, least=2, most=10)
    samples, length = _counts(samples, _checks.whole("length", length, least=20))
    shift = _checks.number("shift", shift, least=0, most=1)
    noise = _checks.number("noise", noise, least=0)
    draw = streams.samples(seed)
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


def _counts(samples, features):
    return (
        _checks.whole("samples", samples, least=2), _checks.whole("features", features, least=1)
    )  # fmt: skip
