"""The escape lab: walkers in the reader's browser, on the book's own formulas.

The loss, its derivatives, the noise, the step and the theory of the lab are JavaScript that is
written here, when the book is built, from the SymPy expressions of ``ddt_utils``: the catalogue's
two valleys, ``HessianNoise``, the step of ``simulate`` and the formulas of ``theory``, with the
reader's sliders as symbols. What draws, counts and integrates is ``book/_static/lab.js``.
"""

from __future__ import annotations

import html
import json
import re
from functools import cache
from pathlib import Path
from types import FunctionType

import numpy as np
import sympy as sp
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective
from tidy import typeset_number

from ddt_utils import catalog, discrete, exact
from ddt_utils.landscape import Landscape
from ddt_utils.noise import HessianNoise, WhiteNoise
from ddt_utils.simulate.rules import euler_maruyama
from ddt_utils.theory import diffusion as white_theory
from ddt_utils.theory import sgd as sgd_theory

STATIC = Path(__file__).resolve().parents[1] / "_static"

#: What a reader may set: what it is called, lowest and highest value, a slider's step, first value.
SLIDERS = {
    "learningRate": ("learning rate <i>η</i>", 0.01, 0.1, 0.005, 0.05),
    "batchSize": ("batch size <i>B</i>", 2, 20, 1, 5),
    "sharp": ("sharpness <i>H</i>", 1, 6, 0.25, 3),
    "barrier": ("barrier Δ<i>L</i>", 0.01, 0.08, 0.005, 0.04),
    "pace": ("iterations a frame", 1, 100, 1, 20),
}
FIXED = {"flat": 1.0, "saddle": 2.0}  # curvature of the right valley, and |H_b| of the crest
START = {name: first for name, (*_, first) in SLIDERS.items() if name != "pace"} | FIXED
NOISES = {"sgd": "noise of SGD", "white": "white noise"}
SYMBOLS = {name: sp.Symbol(name, positive=True) for name in START}
X, XI = sp.Symbol("x", real=True), sp.Symbol("xi", real=True)


def _on_symbols(cls, **fields):
    """An object of the book whose parameters are symbols, which its own checks would refuse."""
    made = object.__new__(cls)
    for name, given in fields.items():
        object.__setattr__(made, name, given)
    return made


@cache
def expressions() -> dict[str, sp.Expr]:
    """Everything that the lab computes, in x, ξ and the symbols of the sliders.

    Returns:
        Losses, steps and diffusions by place; the four landmarks; the logarithms of the times.
    """
    eta, batch, sharp, barrier, flat, saddle = SYMBOLS.values()
    stand_ins = {
        "_positive": lambda **given: given.values(),
        "_x": X,
        "float": lambda number: number,
        "Landscape": lambda loss, variables, **about: loss,
    }
    symbolic = FunctionType(
        catalog.two_valleys.__code__, {**catalog.two_valleys.__globals__, **stand_ins}
    )
    loss = symbolic(sharp=sharp, flat=flat, saddle=saddle, barrier=barrier)
    well = _on_symbols(Landscape, expression=loss, variables=(X,), name="lab", box=((-1, 1),))
    sgd = _on_symbols(HessianNoise, learning_rate=eta, batch_size=batch, floor=0.0)
    white = _on_symbols(WhiteNoise, diffusion_constant=sgd.temperature * saddle)
    found = {
        "loss": loss,
        "slope": well.gradient_expression[0],
        "bend": well.hessian_expression[0],
    }
    valleys = {
        name: (bend, *catalog._flank(bend, saddle, barrier))
        for name, bend in (("sharp", sharp), ("flat", flat))
    }
    for name, (_, junction, minimum) in valleys.items():
        found[f"{name}Junction"], found[f"{name}Minimum"] = junction, minimum
    for name, noise in (("sgd", sgd), ("white", white)):
        step = euler_maruyama(well, noise, eta)
        found[f"{name}Diffusion"] = noise.diffusion_matrix(well)[0]
        found[f"{name}Step"] = step.update[0].subs(step.normals[0], XI)
        for valley, (bend, junction, minimum) in valleys.items():
            formula = white_theory._KRAMERS if name == "white" else sgd_theory._SGD[sp.S.Zero]
            given = {
                "curvature_minimum": bend,
                "curvature_saddle": saddle,
                "barrier": barrier,
                "diffusion": sgd.temperature * saddle,
                "learning_rate": eta,
                "batch_size": batch,
                "path_fraction": bend * (minimum - junction) ** 2 / 2 / barrier,
            }
            log = sp.expand_log(sp.log(formula.factor), force=True) + formula.exponent
            found[f"{name}Log{valley.title()}"] = log.subs(given)
    return found


def script() -> str:
    """The formulas as JavaScript: from the sliders' values to functions and numbers.

    Returns:
        A declaration of ``formulas``. What does not depend on the place is computed once.
    """
    constants, members = {}, []

    def hoisted(e):
        """The expression with a name for every largest part that does not contain x or ξ."""
        if not e.has(X, XI):
            plain = e.is_Number or e.is_Symbol or e.is_Boolean
            return e if plain else constants.setdefault(e, sp.Symbol(f"c{len(constants)}"))
        if isinstance(e, sp.Piecewise):
            return sp.Piecewise(*((hoisted(piece), hoisted(where)) for piece, where in e.args))
        if isinstance(e, (sp.Add, sp.Mul)):
            rest, here = e.as_independent(X, XI)
            if rest not in (0, 1):
                return e.func(hoisted(rest), hoisted(here), evaluate=False)
        return e.func(*map(hoisted, e.args)) if e.args else e

    for name, expression in expressions().items():
        code = " ".join(sp.jscode(hoisted(expression)).split())
        function = re.search(r"(loss|slope|bend|Diffusion|Step)$", name)
        places = "(x, xi) => " if name.endswith("Step") else "(x) => " if function else ""
        members.append(f"    {name}: {places}{code},")
    lines = ["// Written by book/_ext/lab.py from the expressions of ddt_utils."]
    lines += [f"const formulas = ({{{', '.join(SYMBOLS)}}}) => {{"]
    lines += [f"  const {name} = {sp.jscode(e)};" for e, name in constants.items()]
    return "\n".join([*lines, "  return {", *members, "  };", "};", ""])


def source() -> str:
    """All of the lab's JavaScript, as it is served: one function, so that no name leaks."""
    view = (STATIC / "lab.js").read_text(encoding="utf-8")
    return f'(() => {{\n"use strict";\n{script()}{view}}})();\n'


def predicted(noise: str, given: dict) -> tuple[float, float]:
    """The mean times to leave the sharp and the flat valley, by the low-noise formulas.

    Args:
        noise: a name of :data:`NOISES`.
        given: the sliders' values, those of :data:`FIXED` among them.

    Returns:
        Two times, in units of t.
    """
    at = {SYMBOLS[name]: value for name, value in given.items()}
    logs = (expressions()[f"{noise}Log{valley}"].subs(at) for valley in ("Sharp", "Flat"))
    return tuple(float(sp.exp(log)) for log in logs)


def book_problem(noise: str, given: dict):
    """The lab's problem as the rooms of ``ddt_utils`` have it.

    Args:
        noise: a name of :data:`NOISES`.
        given: the sliders' values, those of :data:`FIXED` among them.

    Returns:
        The landscape, the noise, and the places of the two minima.
    """
    bends = {name: given[name] for name in ("sharp", "flat", "saddle", "barrier")}
    well = catalog.two_valleys(**bends)
    eta, batch = given["learningRate"], given["batchSize"]
    white = WhiteNoise(eta / (2 * batch) * given["saddle"])
    at = {SYMBOLS[name]: value for name, value in given.items()}
    ends = (float(expressions()[f"{v}Minimum"].subs(at)) for v in ("sharp", "flat"))
    return well, HessianNoise(eta, batch) if noise == "sgd" else white, *ends


def written(time: float) -> str:
    """A time with three digits, grouped as all numbers are."""
    return typeset_number(f"{float(f'{time:.3g}'):.0f}" if time >= 100 else f"{time:.3g}")


# --- on the page ---------------------------------------------------------------------------------

_PLACES = (
    "Above, the loss: a narrow valley on the left and a wide one on the right, with walkers as "
    "dots in the colour of the valley they belong to. Below, bars for where the walkers are, and a "
    "thin line for the resting density of the theory."
)
_TIMES = "The counted mean time to leave each valley against time, with the theory as a thin line."
_SHARES = "The share of walkers in the flat valley against time, with the theory as a thin line."


class EscapeLab(SphinxDirective):
    """The lab, with the noise and the valleys that it starts with."""

    option_spec = {
        "noise": lambda text: directives.choice(text, tuple(NOISES)),
        "valleys": lambda text: directives.choice(text, ("two", "one")),
        "size": lambda text: directives.choice(text, ("full", "small")),
        "share": directives.flag,
    }

    def run(self):
        noise, size = self.options.get("noise", "sgd"), self.options.get("size", "full")
        valleys = self.options.get("valleys", "two")
        share = " data-share" if "share" in self.options else ""
        fixed, number = html.escape(json.dumps(FIXED)), self.env.new_serialno("lab")
        script = "" if number else f'<script defer src="{self.up()}_static/lab.js"></script>'
        return [
            nodes.raw(
                "",
                f'<div class="escape-lab {size} {valleys}-way" data-valleys="{valleys}"'
                f' data-fixed="{fixed}"{share}>{self.live(noise, valleys, number)}'
                f'<div class="lab-still">{self.still(noise)}</div></div>{script}',
                format="html",
            )
        ]

    def up(self):
        return "../" * self.env.docname.count("/")

    def live(self, noise, valleys, number):
        """Everything that needs the script."""
        radios = "".join(
            f'<label><input type="radio" name="lab-noise-{number}" value="{name}"'
            f"{' checked' * (name == noise)}> {words}</label>"
            for name, words in NOISES.items()
        )
        sliders = "".join(
            f'<label><span>{label}</span><output>{first}</output><input type="range" name="{name}"'
            f' min="{low}" max="{high}" step="{step}" value="{first}"></label>'
            for name, (label, low, high, step, first) in SLIDERS.items()
        )
        rows = "".join(
            f'<tr><th scope="row">{name}</th><td></td><td></td><td></td></tr>'
            for name in (("sharp", "flat") if valleys == "two" else ("sharp",))
        )
        return (
            '<div class="lab-live"><div class="lab-bar">'
            '<button type="button" class="lab-run">Pause</button>'
            '<button type="button" class="lab-again">Start again</button>'
            f"<fieldset><legend>driven by</legend>{radios}</fieldset></div>"
            f'<canvas class="lab-places" role="img" aria-label="{_PLACES}"></canvas>'
            f'<div class="lab-sliders">{sliders}</div><div class="lab-curves">'
            f'<canvas class="lab-times" role="img" aria-label="{_TIMES}"></canvas>'
            f'<canvas class="lab-shares" role="img" aria-label="{_SHARES}"></canvas></div>'
            '<table class="lab-numbers"><thead><tr><th scope="col">mean time to leave</th>'
            '<th scope="col">theory, low noise</th><th scope="col">exact, small steps</th>'
            f'<th scope="col">counted here</th></tr></thead><tbody>{rows}</tbody></table>'
            '<p class="lab-status" role="status" aria-live="polite"></p></div>'
        )

    @staticmethod
    @cache
    def still(noise):
        """The lab where no script runs, and in print: the resting density, and what theory says."""
        well, driven, left, right = book_problem(noise, START)
        x = np.linspace(-0.6, 0.75, 241)
        loss, rest = well.value(x), exact.stationary_density(well, driven, x)
        across = 600 * (x - x[0]) / (x[-1] - x[0])

        def path(heights, base, kind):
            points = zip(across, heights, strict=True)
            shown = " ".join(f"{a:.1f},{base - h:.1f}" for a, h in points if h <= 105)
            return f'<polyline points="{shown}" class="lab-{kind}"/>'

        drawn = path(loss / 0.08 * 100, 110, "loss")
        drawn += path(np.sqrt(rest / rest.max()) * 90, 215, "theory")
        sharp, flat = map(written, predicted(noise, START))
        return (
            '<svg viewBox="0 0 600 220" role="img" aria-label="Above, the loss with a narrow and a '
            'wide valley; below, the resting density of the theory, on a square-root scale.">'
            f"{drawn}</svg><p>The escape lab runs in the reader's browser, with JavaScript. As it "
            f"starts ({NOISES[noise]}, η = {START['learningRate']}, B = {START['batchSize']}, "
            f"sharpness {START['sharp']} against {FIXED['flat']:g}, barrier {START['barrier']}), "
            f"theory lets a walker leave the sharp valley after {sharp} and the flat one after "
            f"{flat} units of time.</p>"
        )


TRIALS = {
    "As it starts": {},
    "Twice the learning rate": {"learningRate": 0.1},
    "… and twice the batch size": {"learningRate": 0.1, "batchSize": 10},
    "Two equal valleys": {"sharp": 1},
    "Twice the sharpness": {"sharp": 6},
    "White noise": {"noise": "white"},
    "White noise, twice the sharpness": {"noise": "white", "sharp": 6},
}


class LabTrials(SphinxDirective):
    """What to try, what theory says before, and what is exact for this step; each with a button."""

    def run(self):
        rows = "".join(self.row(name, changes) for name, changes in TRIALS.items())
        return [
            nodes.raw(
                "",
                '<table class="lab-trials"><thead><tr><th scope="col">setting</th>'
                '<th scope="col">theory: sharp, flat</th><th scope="col">this step, exact: sharp, '
                f"flat</th></tr></thead><tbody>{rows}</tbody></table>",
                format="html",
            )
        ]

    @staticmethod
    def row(name, changes):
        noise = changes.get("noise", "sgd")
        given = START | {k: v for k, v in changes.items() if k != "noise"}
        well, driven, left, right = book_problem(noise, given)
        step = {"step": given["learningRate"], "rtol": 1e-4}
        walk = (
            discrete.mean_first_passage_time(well, driven, start=-left, upper=right, **step),
            discrete.mean_first_passage_time(well, driven, start=right, lower=-left, **step),
        )
        state = {k: given[k] for k in START if k in SLIDERS} | {"noise": noise}
        setting = "&amp;".join(f"{key}={value}" for key, value in state.items())
        cells = "".join(
            f"<td>{', '.join(map(written, pair))}</td>" for pair in (predicted(noise, given), walk)
        )
        button = f'<button type="button" data-lab="{setting}">{name}</button>'
        return f'<tr><th scope="row">{button}</th>{cells}</tr>'


def write_script(app, exception):
    """Put the generated formulas in front of the served copy of the script."""
    if exception is None and app.builder.name == "html":
        (Path(app.outdir) / "_static" / "lab.js").write_text(source(), encoding="utf-8")


def setup(app):
    app.add_directive("escape-lab", EscapeLab)
    app.add_directive("lab-trials", LabTrials)
    app.add_css_file("lab.css")
    app.connect("build-finished", write_script, priority=800)
    return {"parallel_read_safe": True, "version": "1"}
