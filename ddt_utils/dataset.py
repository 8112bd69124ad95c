"""What a set of samples is; the sets themselves are in :mod:`.data` and :mod:`.uci`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ddt_utils import _checks, _devices, streams


@dataclass(frozen=True, eq=False)
class Dataset:
    """m samples with d features each, in a row or in whatever shape a sample has.

    Args:
        name: for messages and captions.
        inputs: shape (m, d), or (m, channels, height, width) and the like, float64; kept as a
            read-only copy.
        targets: shape (m,), or (m, ...): classes, whole numbers from 0 (int64), or real numbers
            (float64).
        classes: the names of the classes, in the order of their numbers; empty for real targets.
        source: where the samples come from.
        truth: the weights w of shape (d,) from which the targets were drawn, if they are known;
            forgotten where inputs are rescaled or classes grouped.

    Raises:
        ValueError: shapes that do not match, a value that is not finite or is masked, an unknown
            class, or names that are none, the same twice, or in no order.

    Example:
        >>> import numpy as np
        >>> flips = Dataset("coins", np.ones((4, 1)), np.array([0, 1, 1, 0]))
        >>> len(flips), flips.features
        (4, 1)
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...] = ()
    source: str = ""
    truth: np.ndarray | None = None

    def __post_init__(self):
        """Check and copy the arrays."""
        drop = f"drop that sample of {self.name}"
        inputs = _checks.array("inputs", self.inputs, remedy=drop).copy()
        targets = _checks.array("targets", _checks.as_numbers(self.targets), remedy=drop).copy()
        truth = None if self.truth is None else _checks.array("truth", self.truth).copy()
        if inputs.ndim < 2 or not inputs.size or targets.shape[:1] != inputs.shape[:1]:
            raise ValueError(
                f"{self.name} needs inputs of shape (m, d), or (m, ...), and m targets, got "
                f"{inputs.shape} and {targets.shape}"
            )
        if truth is not None and truth.shape != inputs.shape[1:]:
            raise ValueError(f"truth must have {inputs.shape[1]} weights, got shape {truth.shape}")
        names = _names(self.classes)
        if names:
            targets = _checks.classes("targets", targets, len(names))
        for field, array in (("inputs", inputs), ("targets", targets), ("truth", truth)):
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, field, array)
        object.__setattr__(self, "classes", names)

    def __len__(self) -> int:
        """The number m of samples."""
        return len(self.inputs)

    @property
    def features(self) -> int:
        """The number d of features, or of numbers in a sample."""
        return self.inputs[0].size

    @property
    def counts(self) -> np.ndarray:
        """How many samples each class has; shape (number of classes,)."""
        return np.bincount(self.targets, minlength=len(self.classes)) if self.classes else None

    def subset(self, indices) -> Dataset:
        """Some of the samples; inputs are not rescaled.

        Args:
            indices: of samples, or a mask of shape (m,).

        Returns:
            The smaller set.

        Raises:
            ValueError: indices that are none, or no sample.
        """
        if hasattr(indices, "detach"):
            indices = indices.detach().cpu().numpy()
        indices = indices if isinstance(indices, slice) else np.asarray(indices)
        try:
            count = self.targets[indices].shape[:1]
        except IndexError as error:
            count, problem = (), str(error)
        else:
            problem = "none" if count else "one number"
        if count in ((), (0,)) or np.ndim(indices) > 1:
            raise ValueError(
                f"indices must be a list of whole numbers below {len(self)}, or a mask of as many "
                f"truth values, got: {problem}"
            )
        return replace(self, inputs=self.inputs[indices], targets=self.targets[indices])

    def split(self, train_fraction: float, *, seed: int) -> tuple[Dataset, Dataset]:
        """Two parts without a common sample, drawn at random; inputs are not rescaled.

        Args:
            train_fraction: the first part's share of the samples, between 0 and 1.
            seed: a whole number from 0 to 2⁶⁴ − 1.

        Returns:
            Both parts.

        Raises:
            ValueError: one of the parts would be empty.
        """
        share = _checks.number("train_fraction", train_fraction)
        count = round(share * len(self))
        if not 0 < count < len(self):
            raise ValueError(
                f"train_fraction must leave samples on both sides of {len(self)}, got "
                f"{train_fraction}; it is a number between 0 and 1"
            )
        order = streams.stream(seed, "split").permutation(len(self))
        return self.subset(order[:count]), self.subset(order[count:])

    def standardised(self, *, keep_constant: bool = False) -> Dataset:
        """Mean 0 and variance 1 in each column.

        Args:
            keep_constant: keep columns that are constant, as zeros, or drop them?

        Returns:
            The rescaled set.

        Raises:
            ValueError: constant columns are to be dropped from samples that are no rows.
        """
        with np.errstate(over="ignore"):
            spread = np.ptp(self.inputs, axis=0)
        varies = spread > 1e-12 * np.abs(self.inputs).max(axis=0)
        if self.inputs.ndim > 2 and not keep_constant and not varies.all():
            raise ValueError(
                f"only rows can lose a column, got constants in samples of shape {varies.shape}; "
                "say keep_constant=True"
            )
        inputs = self.inputs
        if inputs.ndim == 2:
            keep = np.ones_like(varies) if keep_constant else varies
            inputs, varies = inputs[:, keep], varies[keep]
        size = np.abs(inputs).max(axis=0, initial=0.0)
        far = varies & ((size > 1e150) | (size < 1e-150))  # squares beyond double precision
        inputs = inputs / np.where(far, size, 1.0)
        centred = np.where(varies, inputs - inputs.mean(axis=0), 0.0)
        deviation = np.where(varies, centred.std(axis=0), 1.0)
        return replace(self, inputs=centred / deviation, truth=None)

    def grouped(self, binary) -> Dataset:
        """Two classes instead of many.

        Args:
            binary: the name or the names of the classes that become class 1; or True: the second
                half of the classes, the larger half if their number is odd; or None or False: no
                change.

        Returns:
            The set with two classes.

        Raises:
            ValueError: unknown names, all of them or none, or real targets.
        """
        if binary is None or (isinstance(binary, (bool, np.bool_)) and not binary):
            return self
        if isinstance(binary, (bool, np.bool_)):
            names = self.classes[len(self.classes) // 2 :]
        elif isinstance(binary, str):
            names = (binary,)
        elif hasattr(binary, "__iter__"):
            names = tuple(str(name) for name in binary)
        else:
            names = ()
        if not names or not set(names) < set(self.classes):
            raise ValueError(
                f"binary must name some but not all of the classes {self.classes}, or be True, got "
                f"{names or binary!r}"
            )
        one = np.isin(np.array(self.classes)[self.targets], names)
        rest = (name for name in self.classes if name not in names)
        return replace(self, targets=one, classes=("+".join(rest), "+".join(names)), truth=None)

    def tensors(self, device: str = "cpu") -> tuple:
        """Inputs (float64) and targets (int64 or float64) as torch tensors of their own.

        Args:
            device: of torch.

        Returns:
            Inputs, shape (m, d), and targets, shape (m,).

        Raises:
            ValueError: torch knows no such device, or cannot use it here.
        """
        import torch

        device = _devices.of_torch(device)
        return torch.tensor(self.inputs, device=device), torch.tensor(self.targets, device=device)


def _names(classes):
    """Names of classes as texts; refused if they are none, in no order, or the same twice."""
    ordered = np.iterable(classes) and not isinstance(classes, (set, frozenset))
    given = tuple(classes) if ordered else ()
    if not ordered or any(np.iterable(n) and not isinstance(n, (str, bytes)) for n in given):
        raise ValueError(
            f"classes must be names in the order of their numbers, such as ('no', 'yes'), got "
            f"{classes!r:.80}; give a tuple, empty for real targets"
        )
    names = tuple(str(name) for name in given)
    if len({*names}) < len(names):
        raise ValueError(f"classes must have names of their own, got {names}")
    return names
