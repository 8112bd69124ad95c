"""The compiled step without one of its guarantees: what that guarantee costs.

Each is taken out of the generated source, as text; what remains is compiled like the rest. A text
that is no longer there is an error, so a step that was rewritten is not measured against itself.
"""

import dataclasses
import re

# a product and a sum that the compiler may round as it likes
CONTRACTED = (
    "a, b, c = arguments\n        return builder.fadd(builder.fmul(a, b, flags=['fast']), c, "
    "flags=['fast'])"
)
# of the exponential: its upper end, the second half of log₂e, the term of sixth degree; the lower
# end stays, as in C++, since a walker of the Müller–Brown surface would otherwise be lost there
END = "    a = select(np.float32(88) < a, np.float32(88), a)\n", ""
REMAINDER = "fma(a, LOG2_E_LOW, fma(a, LOG2_E, -k))", "fma(a, LOG2_E, -k)"
DEGREE = "fma(fma(e0, f, e1), f, e2)", "fma(e1, f, e2)"


def replaced(text, old, new):
    """The text with a passage replaced that must be there."""
    if old not in text:
        raise ValueError(f"the generated source must contain {old!r}; adapt benchmarks/guarantees")
    return text.replace(old, new)


def any_bits(source):
    """Rounding and order as the compiler likes."""
    source = replaced(source, "return builder.fma(*arguments)", CONTRACTED)
    source = replaced(source, "njit(forceinline=True)", "njit(forceinline=True, fastmath=True)")
    return replaced(source, "fastmath=False", "fastmath=True")


def unwatched(source):
    """Nobody looks whether a walker is still within the bound."""
    return replaced(source, " | ~finite", "")


def short_exponential(source):
    """An exponential for arguments of moderate size, to as many digits as the C++ program's."""
    return replaced(replaced(replaced(source, *END), *REMAINDER), *DEGREE)


GUARANTEES = {
    "the same bits": any_bits,
    "the watch": unwatched,
    "the whole exponential": short_exponential,
}


def without(program, names):
    """A program that lacks these guarantees.

    Raises:
        ValueError: it has nothing to do with any of them.
    """
    if not re.search(r"\bexp\(", program.statements):
        names = [name for name in names if name != "the whole exponential"]
    if not names:
        raise ValueError("a step without an exponential has nothing to leave out here")
    source = program.source
    for name in names:
        source = GUARANTEES[name](source)
    return dataclasses.replace(program, source=source)
