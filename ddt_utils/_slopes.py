"""Are the derivatives that torch takes of a function those of the function?"""

from __future__ import annotations

from contextlib import suppress


def untrue(level, t) -> str:
    """What torch says of a function's slope and curvature, if that is not so.

    Args:
        level: a function of one number, a tensor without dimensions.
        t: where.

    Returns:
        What it says, and what is so; nothing where both agree, or where there is a kink.
    """
    import torch
    from torch.func import grad, jvp

    one, slope = torch.ones_like(t), grad(level)

    def forward(f):
        return jvp(f, (t,), (one,))[1]

    ways = (("slope", level, lambda: slope(t)), ("curvature", slope, lambda: grad(slope)(t)))
    for name, f, back in ways:
        found = [float(forward(f))]
        with suppress(RuntimeError):  # some layers have their second derivative forward only
            found.append(float(back()))
        rises = [float(f(t + far) - f(t - far)) / (2 * far) for far in (1e-5, 5e-6)]
        for told in found:
            scale = abs(told) + abs(rises[1]) + 1e-3 * abs(float(f(t)))
            smooth = abs(rises[0] - rises[1]) < 1e-3 * scale
            if smooth and abs(told - rises[1]) > 0.01 * scale:
                what = "output" if name == "slope" else "slope"
                return f"the {name} {told:.4g} where the {what} changes by {rises[1]:.4g}"
    return ""
