"""Numbers and claims as they reach the page, and the colours of every figure."""

import io
import json
import re

import matplotlib
import nbformat
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from nbformat import v4
from scipy import stats

from ddt_utils import figures, ledger
from ddt_utils.ledger import Claim, claim, claims_in, number, with_error

NUMBER = dict(key="k", statement="It holds.", predicted=1.0, measured=1.2, stderr=0.1)


@pytest.fixture
def shown(monkeypatch):
    """What would be displayed in a notebook, in order."""
    outputs = []
    monkeypatch.setattr(ledger, "_display", lambda *output: outputs.append(output))
    return outputs


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (41.0224, 0.189, "41.02 ± 0.19"),
        (9.96, 0.1, "9.96 ± 0.10"),
        (9.996, 0.0123, "9.996 ± 0.012"),
        (99.96, 0.1, "99.96 ± 0.10"),
        (0.5, 0.95, "0.50 ± 0.95"),
        (0.0, 0.3, "0.00 ± 0.30"),
        (12345.6, 230, "12350 ± 230"),
        (12355.6, 1234.0, "12400 ± 1200"),
        (1.23, 100.0, "0 ± 100"),
        (7e6, 1.24e4, "7000000 ± 12000"),
        (1.2341e-7, 3.21e-9, "0.0000001234 ± 0.0000000032"),
        (-3.2, 0.11, "−3.20 ± 0.11"),
        (-5120.0, 77.0, "−5120 ± 77"),
    ],
)
def test_an_error_has_two_digits_and_decides_how_many_the_value_has(value, stderr, text):
    assert with_error(value, stderr) == text


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (9.96, 0.0996, "9.96 ± 0.10"),
        (0.5, 0.996, "0.5 ± 1.0"),
        (5.0, 9.96, "5 ± 10"),
        (5040.0, 996.0, "5000 ± 1000"),
    ],
)
def test_an_error_that_rounds_up_to_a_power_of_ten_keeps_two_digits(value, stderr, text):
    assert with_error(value, stderr) == text


def test_a_huge_number_is_written_as_a_power_of_ten():
    assert with_error(1.234e25, 9.9e22) == "(1.2340 ± 0.0099) × 10^25"


def test_zero_has_no_sign():
    assert with_error(-0.04, 2.0) == "0.0 ± 2.0"
    assert with_error(-0.001, digits=2) == "0.00"


@pytest.mark.parametrize("stderr", [1e-9, 0.00132, 0.5, 7.7, 88.0, 4321.0, 6.02e9])
def test_what_is_printed_is_within_half_a_digit_of_what_was_found(stderr):
    for value in np.random.default_rng(1).normal(0, 30 * stderr, 50):
        told, error = with_error(value, stderr).replace("−", "-").split(" ± ")
        unit = 10 ** (np.floor(np.log10(stderr)) - 1)
        assert abs(float(told) - value) <= 0.5001 * unit
        assert abs(float(error) - stderr) <= 0.5001 * unit
        assert len(error.replace(".", "").strip("0")) <= 2


def test_without_an_error_there_are_four_digits_or_as_many_decimals_as_asked():
    assert with_error(0.123456) == "0.1235"
    assert with_error(-12.0) == "−12"
    assert with_error(2.0, digits=2) == "2.00"
    assert with_error(-1.005, digits=1) == "−1.0"
    assert with_error(-3e-9) == "−3e−09"
    assert with_error(3.14159, 0.2, digits=3) == "3.142 ± 0.200"
    assert with_error(1234.0, 200, digits=-2) == "1200 ± 200"


@pytest.mark.parametrize("stderr", [0, -0.1, float("nan")])
def test_an_error_must_be_positive(stderr):
    message = f"standard error must be a finite real number, above 0, got {stderr}; leave it out"
    with pytest.raises(ValueError, match=message):
        with_error(1.0, stderr)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(value=41.0224, stderr=0.189), "41.02 ± 0.19"),
        (dict(value=-0.5, digits=1), "−0.5"),
        (dict(value="three of four"), "three of four"),
        (dict(value=np.float32(0.25)), "0.25"),
    ],
)
def test_a_number_prints_what_it_stores(options, text, shown, capsys):
    number("xx-name", **options)
    assert capsys.readouterr().out == f"xx-name = {text}\n"
    ((bundle, metadata),) = shown
    assert bundle == {"application/papermill.record/text/plain": repr(text)}  # 0.100 stays 0.100
    assert metadata["scrapbook"] == {
        "name": "xx-name",
        "mime_prefix": "application/papermill.record/",
    }


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("utf-8", "τ₂ = −1.50 ± 0.20; ½ Δℓ ≤ ∞ “so” 猫"),
        ("cp1252", "tau2 = -1.50 ± 0.20; ½ Deltal <= inf “so” ?"),
        ("latin-1", 'tau2 = -1.50 ± 0.20; ½ Deltal <= inf "so" ?'),
        ("ascii", 'tau2 = -1.50 +/- 0.20; 1/2 Deltal <= inf "so" ?'),
    ],
)
def test_what_an_output_cannot_show_is_said_in_other_words(encoding, printed, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr("sys.stdout", stream)
    number("τ₂", f"{with_error(-1.5, 0.2)}; ½ Δℓ ≤ ∞ “so” 猫")
    claim("−", statement="“×”", status="derived")
    stream.flush()
    first, second = stream.buffer.getvalue().decode(encoding).splitlines()
    assert first == printed
    assert second.encode(encoding)


@pytest.mark.parametrize("value", [None, 1 + 2j, [1.0, 2.0], np.ones(2), True, object()])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="value must be a finite real number, got .*; find out"):
        number("xx-name", value)
    with pytest.raises(ValueError, match="standard error must be a finite real number, above 0"):
        with_error(1.0, "0.1" if value is None else value)
    with pytest.raises(ValueError, match="digits must be a"):
        with_error(1.0, digits="two" if value is None else value)
    with pytest.raises(ValueError, match="measured must be|needs predicted"):
        claim(**NUMBER | dict(measured=value, status="measured"))


def test_outside_a_notebook_a_number_is_only_printed(capsys):
    number("xx-name", 2, digits=1)
    assert capsys.readouterr().out == "xx-name = 2.0\n"


def test_the_limit_is_passed_once_in_1e5():
    assert 2 * stats.norm.sf(ledger.LIMIT) == pytest.approx(1e-5, rel=0.02)


WHY = dict(why="The limit is not reached.")


@pytest.mark.parametrize("status", ["simulated", "measured", "in the limit", "another constant"])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("held_to", ["predicted", "exact"])
def test_beyond_the_limit_a_claim_deviates(status, side, held_to, shown):
    sides = dict(predicted=None) | {held_to: 1.0}
    for distance, verdict in ((0, status), (4.41, status), (4.43, "deviates"), (50, "deviates")):
        found = dict(measured=1 + 0.1 * side * distance, status=status)
        row = claim(**NUMBER | sides | found | WHY)
        assert row.status == verdict
        told = row.distance if held_to == "predicted" else row.exact_distance
        assert told == pytest.approx(side * distance, abs=0.051)


@pytest.mark.parametrize("status", ["simulated", "measured"])
def test_agreement_with_the_exact_solution_alone_is_not_agreement_with_the_claim(status, shown):
    far = NUMBER | dict(predicted=3.0, exact=1.25, status=status)
    row = claim(**far | WHY)
    assert (row.status, row.distance, row.exact_distance) == ("deviates", -18.0, -0.5)
    for told in ("in the limit", "another constant"):
        assert claim(**far | WHY | dict(status=told)).status == told
    assert claim(**far | dict(predicted=1.1)).status == status


@pytest.mark.parametrize("side", [-1, 1])
def test_a_computed_number_is_held_to_its_own_error(side, shown):
    held = NUMBER | dict(status="computed", stderr=None, error=0.3)
    assert claim(**held | dict(measured=1 + side * 0.29)).status == "computed"
    row = claim(**held | dict(measured=1 + side * 0.31) | WHY)
    assert (row.status, row.distance) == ("deviates", None)  # no standard errors are told


@pytest.mark.parametrize("status", ["in the limit", "another constant", "deviates"])
def test_what_does_not_hold_as_claimed_needs_a_reason(status, shown, capsys):
    row = claim(**NUMBER | dict(status=status, why="The prefactor is Ito's."))
    assert row.status == status and row.why == "The prefactor is Ito's."
    assert capsys.readouterr().out.endswith(". The prefactor is Ito's.\n")
    with pytest.raises(ValueError, match="find out why and say why="):
        claim(**NUMBER | dict(status=status))
    with pytest.raises(ValueError, match="k deviates: predicted 1.0, exact None, found 50"):
        claim(**NUMBER | dict(status="measured", measured=50))


def test_a_derivation_does_not_deviate(shown):
    assert claim(**NUMBER | dict(measured=9, status="derived")).status == "derived"
    assert claim("k", statement="By SymPy.", status="derived") == Claim("k", "By SymPy.", "derived")
    (_, (bundle, _)) = shown
    assert (
        bundle[ledger.MIME_TYPE]["predicted"] == "" and bundle[ledger.MIME_TYPE]["distance"] is None
    )


def test_a_claim_prints_what_it_stores(shown, capsys):
    row = claim(**NUMBER | dict(predicted=1.25, exact=1.17, status="measured"))
    assert capsys.readouterr().out == (
        "k: measured. It holds.; predicted 1.25 (found at −0.5 standard errors), exact for this "
        "noise and step 1.17 (found at +0.3 standard errors), found 1.20 ± 0.10\n"
    )
    ((bundle, metadata),) = shown
    stored = bundle[ledger.MIME_TYPE]
    assert Claim(**json.loads(json.dumps(stored))) == row
    assert stored == dict(
        key="k",
        statement="It holds.",
        status="measured",
        predicted="1.25",
        exact="1.17",
        measured="1.20 ± 0.10",
        distance=-0.5,
        exact_distance=0.3,
        why="",
    )


def test_texts_are_taken_as_they_are(shown, capsys):
    row = claim("k", statement="S.", status="measured", predicted="a third", measured="none")
    assert (row.predicted, row.measured, row.distance) == ("a third", "none", None)
    assert "standard errors" not in capsys.readouterr().out


def test_no_difference_has_no_sign(shown, capsys):
    claim(**NUMBER | dict(measured=0.999, status="simulated"))
    assert "(found at +0.0 standard errors)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(status="proved"), "status must be one of .*'derived'.*got 'proved'"),
        (dict(status="simulated", stderr=None), r"a simulated claim needs predicted \(or exact\)"),
        (
            dict(status="measured", predicted=None),
            r"got None \(None\), 1.2 and 0.1 .*; status='der",
        ),
        (dict(status="measured", measured=None), r"got 1.0 \(None\), None and 0.1"),
        (dict(status="computed"), "needs its numerical error, got stderr=0.1; use error="),
        (dict(status="simulated", stderr=None, error=0.1), "got error=0.1; use stderr="),
        (
            dict(status="measured", error=0.2),
            r"standard error \(0.1\) or a numerical error \(0.2\)",
        ),
        (
            dict(status="measured", stderr=0.0),
            "stderr must be a finite real number, above 0, got 0.0",
        ),
        (dict(status="measured", stderr="0.1"), "stderr must be a finite real number, got '0.1'"),
        (dict(status=None), "status must be one of"),
    ],
)
def test_a_claim_without_its_numbers_is_refused(changes, message, shown):
    with pytest.raises(ValueError, match=message):
        claim(**NUMBER | changes)
    assert shown == []


@pytest.mark.parametrize("name", ["measured", "predicted"])
def test_a_claim_about_nothing_is_refused(name, shown):
    with pytest.raises(ValueError, match="nan"):
        claim(**NUMBER | {name: float("nan"), "status": "measured"})


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_a_number_of_numpy_is_a_number(kind, shown):
    assert claim(**NUMBER | WHY | dict(measured=kind(2), status="measured")).status == "deviates"


def test_claims_come_back_from_an_executed_notebook(shown, tmp_path):
    made = [
        claim(**NUMBER | dict(status="simulated")),
        claim("other", statement="“−½” holds.", status="derived"),
        claim(**NUMBER | WHY | dict(key="far", measured=-7, status="measured")),
    ]
    number("xx-name", 1)
    outputs = [v4.new_output("display_data", data=data, metadata=meta) for data, meta in shown]
    outputs[1].data[ledger.MIME_TYPE] = json.dumps(outputs[1].data[ledger.MIME_TYPE])
    book = v4.new_notebook()
    book.cells = [
        v4.new_markdown_cell("# A chapter"),
        v4.new_code_cell("a", outputs=[v4.new_output("stream", text="k: …"), *outputs[:2]]),
        v4.new_code_cell("b"),
        v4.new_code_cell("c", outputs=outputs[2:]),
    ]
    nbformat.write(book, tmp_path / "chapter.ipynb")
    assert claims_in(tmp_path / "chapter.ipynb") == made
    assert [row.status for row in made] == ["simulated", "derived", "deviates"]
    nbformat.write(v4.new_notebook(), tmp_path / "empty.ipynb")
    assert claims_in(tmp_path / "empty.ipynb") == []


# --- figures -------------------------------------------------------------------------------------

BACKGROUNDS = {"ground", "band"}
DECORATION = {"faint"}  # grid lines, which say nothing
THEMES = {"light": 0, "dark": 1}


def contrast(one, other):
    """The ratio of the Web Content Accessibility Guidelines 2.1."""
    lights = []
    for colour in (one, other):
        share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ (0.2126, 0.7152, 0.0722) + 0.05)
    return max(lights) / min(lights)


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", sorted(set(figures.PALETTE) - BACKGROUNDS - DECORATION))
def test_a_colour_stands_out_from_its_ground(name, theme):
    colours = {key: pair[THEMES[theme]] for key, pair in figures.PALETTE.items()}
    assert contrast(colours[name], colours["ground"]) >= (4.5 if name in ("ink", "muted") else 3)
    assert contrast(colours[name], colours["band"]) >= (4.5 if name == "ink" else 3)


def test_the_book_can_swap_colours_by_their_hex():
    light, dark = zip(*figures.PALETTE.values(), strict=True)
    assert len(set(light)) == len(set(dark)) == len(figures.PALETTE)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in light + dark)
    assert figures.COLORS == dict(zip(figures.PALETTE, light, strict=True))


@pytest.fixture
def style():
    with matplotlib.rc_context():
        figures.use_style()
        yield matplotlib.rcParams
        plt.close("all")


def test_the_style_is_that_of_the_palette(style):
    colours = set(figures.COLORS.values())
    for key in ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"):
        assert style[key] == figures.COLORS["ink"]
    for key in ("axes.edgecolor", "xtick.color", "ytick.color"):
        assert style[key] == figures.COLORS["muted"]
    cycle = style["axes.prop_cycle"].by_key()["color"]
    assert len(cycle) == len(set(cycle)) and set(cycle) <= colours
    assert not {"deviation", "ground", "faint"} & {
        n for n, c in figures.COLORS.items() if c in cycle
    }
    assert style["figure.facecolor"] == style["savefig.facecolor"] == figures.COLORS["ground"]
    assert (style["svg.hashsalt"], style["svg.fonttype"]) == ("escape", "path")


def test_a_figure_has_the_book_s_width_and_as_many_axes_as_asked(style):
    fig, axes = figures.figure(rows=2, columns=3, height=4, sharey=True)
    assert axes.shape == (2, 3) and axes[0, 0].get_shared_y_axes().joined(axes[0, 0], axes[1, 2])
    assert tuple(fig.get_size_inches()) == (5.8, 4)
    assert figures.figure(width="narrow")[0].get_figwidth() == 4.0
    with pytest.raises(ValueError, match="height must be .*above 0, got -1; give it in inches"):
        figures.figure(height=-1)
    with pytest.raises(ValueError, match="columns must be a whole number, 1 or more, got 0"):
        figures.figure(columns=0)
    with pytest.raises(ValueError, match="width must be one of 'text', 'narrow', got 'wide'"):
        figures.figure(width="wide")


def test_theory_is_a_line_and_a_measurement_is_points_with_bars(style):
    _, axes = figures.figure()
    (line,) = figures.theory(axes, [0, 1], [0, 1], label="theory")
    points, _, (bars,) = figures.measured(axes, [0, 1], [0, 1], [0.1, 0.2], label="measured")
    assert line.get_linestyle() == "-" and line.get_marker() == "None"
    assert points.get_linestyle() == "None" and points.get_marker() == "o"
    assert line.get_color() == figures.COLORS["theory"]
    assert points.get_color() == to_hex(bars.get_color()[0]) == figures.COLORS["measurement"]
    assert line.get_zorder() < points.get_zorder()
    low, high = bars.get_segments()[1][:, 1]
    assert (low, high) == pytest.approx((0.8, 1.2))


def drawn():
    fig, axes = figures.figure()
    figures.theory(axes, [0, 1, 2], [0, 1, 4], label="theory")
    figures.measured(axes, [0, 1, 2], [0.1, 1, 4.2], 0.2, label="measured")
    axes.plot([0, 2], [1, 2], label="next")
    axes.set(xlabel="$D$", ylabel=r"$\tau$")
    axes.grid()
    axes.legend()
    file = io.StringIO()
    fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def test_a_drawing_has_no_colour_that_the_dark_page_would_keep(style):
    used = set(re.findall(r"#[0-9a-fA-F]{6}\b", drawn()))
    assert used <= set(figures.COLORS.values()), used
    assert {figures.COLORS["theory"], figures.COLORS["measurement"], figures.COLORS["ink"]} <= used


def test_a_drawing_is_the_same_every_time(style):
    assert drawn() == drawn()


def test_the_colormap_runs_from_the_page_to_dark_without_a_colour_that_is_swapped(style):
    colours = plt.get_cmap("ddt")(np.linspace(0, 1, 256))[:, :3]
    light = colours @ (0.2126, 0.7152, 0.0722)
    assert np.all(np.diff(light) < 0) and light[0] > 0.85 and light[-1] < 0.2
    assert not {to_hex(c) for c in colours} & set(figures.COLORS.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"cells": null}',
        '{"cells": [{"outputs": [{"data": {"application/vnd.ddt.claim+json": {"row": 1}}}]}]}',
        '{"cells": [{"outputs": [{"data": {"application/vnd.ddt.claim+json": "{"}}]}]}',
    ],
)
def test_a_damaged_notebook_is_told(text, tmp_path):
    (tmp_path / "page.ipynb").write_text(text)
    with pytest.raises(ValueError, match="page.ipynb is damaged .*; execute the chapter again"):
        ledger.claims_in(tmp_path / "page.ipynb")


def test_names_and_sentences_have_words_and_zero_no_sign():
    for wrong in (None, "", "  ", 3):
        with pytest.raises(ValueError, match="name must be a text with words"):
            ledger.number(wrong, 1.5)
        with pytest.raises(ValueError, match="key must be a text with words"):
            ledger.claim(wrong, statement="It is.", status="derived")
        with pytest.raises(ValueError, match="statement must be a text with words"):
            ledger.claim("key", statement=wrong, status="derived")
    assert ledger.with_error(-0.0) == "0"
    assert ledger.with_error(12345.0, digits=-3) == "12000"
