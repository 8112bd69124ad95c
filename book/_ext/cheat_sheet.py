"""The cheat sheet: the theory's formulas with what each assumes, on one page.

A formula is what ``ddt_utils.theory`` computes: its LaTeX is made of the expression that gives the
number, and its assumptions and source are those that the function returns with it.
"""

from __future__ import annotations

import inspect
import re

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from ddt_utils import theory
from ddt_utils.theory import diffusion, sgd

_WELL = {"curvature_minimum": 2.0, "curvature_saddle": 1.0}
_SGD = {**_WELL, "barrier": 0.5, "learning_rate": 0.1, "batch_size": 1}
# name: its title, and a call that gives a prediction (its numbers do not matter) or, where the
# function returns a number, the formula and when it holds
FORMULAS = {
    "kramers_time": ("Kramers, one dimension", {**_WELL, "barrier": 0.25, "diffusion": 0.05}),
    "kramers_correction": (
        "Its next order in D, 1 + κD",
        (diffusion._CORRECTION, (diffusion.WHITE, "the target lies well beyond the saddle")),
    ),
    "eyring_kramers_time": (
        "Eyring and Kramers, many dimensions",
        {
            "hessian_minimum": [[2.0, 0.0], [0.0, 1.0]],
            "hessian_saddle": [[-1.0, 0.0], [0.0, 4.0]],
            "barrier": 0.25,
            "diffusion": 0.05,
        },
    ),
    "state_dependent_time": (
        "Noise that depends on the place",
        {**_WELL, "exponent": 5, "diffusion_minimum": 0.1, "diffusion_saddle": 0.2},
    ),
    "sgd_escape_time": ("SGD, the theorem of the paper", {**_SGD, "path_fraction": 0.5}),
    "path_fraction": (
        "The share of the way that gives an exponent",
        (sgd._FRACTION, ("as for the theorem",)),
    ),
    "step_factor": (
        "The finite step of SGD, over its diffusion",
        (sgd._STEP, ("the batch size is fixed and the learning rate small",
                     "the noise is Gaussian, smooth and positive on the way")),
    ),
    "occupation": (
        "Which valley",
        (None, ("the noise is low", "walkers swap two valleys, or enter all equally often")),
    ),
}  # fmt: skip


def formula(name: str) -> tuple[str, tuple[str, ...], str]:
    """A formula's LaTeX, its assumptions and its source, as the room of theory has them."""
    _, made_of = FORMULAS[name]
    function = getattr(theory, name)
    if isinstance(made_of, dict):
        found = function(**made_of)
        return found.formula, found.assumptions, found.source
    expression, assumptions = made_of
    if expression is None:  # the formula of its first line
        return re.search(r":math:`([^`]*)`", inspect.getdoc(function))[1], assumptions, ""
    return re.sub(r"^R =", r"f_{\\rm step} =", expression.latex), assumptions, ""


def typeset(assumption: str) -> str:
    """An assumption with its symbols and names as the text of the book has them."""
    text = assumption.replace(" ito ", " Ito ")
    return re.sub(r"\(eta/2B\) (\S+)", r"$\\tfrac{\\eta}{2B}\1$", text)


class CheatSheet(SphinxDirective):
    """Every formula with its assumptions, one block each."""

    def run(self):
        sheet = nodes.container("", classes=["sheet"])
        for name, (title, _) in FORMULAS.items():
            tex, assumptions, source = formula(name)
            lines = [f"**{title}**", "", f"$${tex}$$", ""]
            lines += [f"* {typeset(assumption)}" for assumption in assumptions]
            lines += ["", f"{source + '. ' if source else ''}[`theory.{name}`](/book/api/theory)"]
            block = nodes.container("", classes=["sheet-formula"])
            place = StringList(lines, source=self.env.docname)
            self.state.nested_parse(place, self.content_offset, block)
            sheet += block
        return [sheet]
