"""The four problems of the engine's benchmark, as numbers; every contestant writes its own step.

Each walker starts at ``start`` and is followed by Euler–Maruyama to the first step at which it has
left. Exponents ΔL/D are 2 to 4.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """What all contestants share: names, start, dt, D (its constant factor) and mean time."""

    name: str
    start: tuple[float, ...]
    step: float
    diffusion: float
    exit: str

    @property
    def dimension(self):
        return len(self.start)


PROBLEMS = {
    p.name: p
    for p in (
        Problem("quartic", (-1.0,), 0.005, 0.125, "x > 1"),
        Problem("multiplicative", (-1.0,), 0.005, 0.08, "x > 1, D = 0.08 (1 + x²)"),
        Problem("mueller_brown", (-0.558, 1.442), 0.001, 0.4, "y < 1/4, surface divided by 100"),
        Problem("styblinski_tang", (2.7468,) * 10, 0.001, 6.0, "any coordinate < 0"),
    )
}
NAMES = tuple(PROBLEMS)

# Müller–Brown divided by 100: amplitude, then exponent a u² + b u v + c v² about (x, y)
WELLS = (
    (-2.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-1.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-1.7, -6.5, 11.0, -6.5, -0.5, 1.5),
    (0.15, 0.7, 0.6, 0.7, -1.0, 1.0),
)
