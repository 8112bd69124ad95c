"""The primitives of the generated step on NumPy scalars, for numba's CUDA simulator.

The simulator runs a kernel as plain Python. These give the bits that the hardware would give, so
CUDA code is tested on machines without a GPU.
"""

from __future__ import annotations

import numpy as np


def fma(a, b, c):
    """a·b + c of float32, rounded once.

    The product of two float32 is exact in float64; the sum is rounded to odd there, after which
    rounding to float32 is right (Boldo and Melquiond, IEEE Trans. Computers 57, 462, 2008).

    Args:
        a: a float32.
        b: another.
        c: what is added to their product.

    Returns:
        The sum, float32.
    """
    with np.errstate(all="ignore"):
        product, c = np.float64(a) * np.float64(b), np.float64(c)
        total = product + c
        back = total - product
        error = (product - (total - back)) + (c - back)
        if error and np.isfinite(total):
            digits = total.view(np.int64)
            if not digits & 1:
                digits += np.int64(1 if (error > 0) == (total > 0) else -1)
                total = digits.view(np.float64)
        return np.float32(total)


def mul(a, b):
    """a·b, rounded."""
    with np.errstate(all="ignore"):
        return np.float32(a) * np.float32(b)


def div(a, b):
    """a/b, rounded."""
    with np.errstate(all="ignore"):
        return np.float32(a) / np.float32(b)


def root(a):
    """√a, rounded."""
    with np.errstate(all="ignore"):
        return np.sqrt(np.float32(a))


def integer(a):
    """A float32 that is a whole number as an int32."""
    return np.int32(a) if abs(a) < 2**31 else np.int32(-(2**31))


def select(condition, a, b):
    """The first where the condition holds, else the second."""
    return a if condition else b


def bits(a):
    """The bits of a float32."""
    return np.float32(a).view(np.int32)


def unbits(a):
    """The float32 of 32 bits."""
    return np.int32(a).view(np.float32)
