"""The escape lab: its JavaScript against the book's rooms, and the page that a reader plays with.

The formulas are compared to 1e-9 at random settings, the normal numbers and the walkers by
distribution with fixed seeds (false alarms at 1e-5), the quadrature with ``exact``, the counted
times with ``discrete``. What needs no page runs in the JavaScript engine that sets the formulas.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from py_mini_racer import MiniRacer
from scipy import stats

from ddt_utils import discrete, exact, simulate, theory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import lab  # noqa: E402

PAGE = ROOT / "_build" / "html" / "book" / "lab.html"
RARE = stats.norm.isf(0.5e-5)  # standard errors that are passed once in 1e5


@pytest.fixture(scope="module")
def engine():
    running = MiniRacer()
    running.eval(lab.source())
    running.eval("const {formulas, Normals, Walk, truth} = escapeLab; 0")
    yield lambda code: json.loads(running.eval(f"JSON.stringify((() => {{{code}}})())"))
    running.close()


def settings(seed, count):
    """Random positions of the sliders."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        ends = {name: (low, high) for name, (_, low, high, *_) in lab.SLIDERS.items()}
        drawn = {name: rng.uniform(*ends[name]) for name in lab.START if name in ends}
        yield {k: float(f"{v:.4f}") for k, v in drawn.items()} | lab.FIXED


@pytest.mark.parametrize("noise", lab.NOISES)
def test_the_formulas_are_those_of_the_book(engine, noise):
    for given in settings(11, 12):
        well, driven, left, right = lab.book_problem(noise, given)
        x = np.random.default_rng(5).uniform(-1.2, 1.4, 60)
        kick = np.random.default_rng(6).normal(size=60)
        js = engine(
            f"const f = formulas({json.dumps(given)}), x = {x.tolist()}, z = {kick.tolist()};"
            f"return [x.map(f.loss), x.map(f.slope), x.map(f.bend), x.map(f.{noise}Diffusion),"
            f"x.map((y, i) => f.{noise}Step(y, z[i])), f.{noise}LogSharp, f.{noise}LogFlat,"
            "f.sharpMinimum, f.flatMinimum, f.sharpJunction, f.flatJunction]"
        )
        spread = driven.diffusion(well, x)[:, 0, 0]
        slope, eta = well.gradient(x)[:, 0], given["learningRate"]
        book = [well.value(x), slope, well.hessian(x)[:, 0, 0], spread]
        book.append(x - eta * slope + np.sqrt(2 * spread * eta) * kick)
        for found, wanted in zip(js, book, strict=False):
            assert np.allclose(found, wanted, rtol=1e-9, atol=1e-12)
        for valley, found in zip(("sharp", "flat"), js[5:7], strict=True):
            common = {
                "curvature_minimum": given[valley],
                "curvature_saddle": -given["saddle"],
                "barrier": given["barrier"],
            }
            share = given["saddle"] / (given[valley] + given["saddle"])
            if noise == "sgd":
                common |= {"learning_rate": eta, "batch_size": given["batchSize"]}
                told = theory.sgd_escape_time(**common, path_fraction=share, convention="ito")
            else:
                told = theory.kramers_time(**common, diffusion=spread[0])
            assert np.isclose(found, told.logarithm, rtol=1e-9)
        assert np.allclose(js[7:9], [left, right], rtol=1e-12)
        assert np.allclose(sorted([-js[9], js[10]]), well.breaks, rtol=1e-9)
        assert np.allclose(well.gradient(np.array([-left, right])), 0, atol=1e-12)


def test_the_normal_numbers_are_normal_and_independent(engine):
    n, edges = 20_000_000, np.linspace(-5, 5, 201)
    counts, tail, sums = engine(
        f"const z = new Float64Array({n // 10}), bins = Array(202).fill(0), N = new Normals(20);"
        "let far = 0, a = 0, b = 0, c = 0;"
        "for (let turn = 0; turn < 10; turn++) { N.fill(z); for (let i = 0; i < z.length; i++) {"
        "  bins[Math.max(0, Math.min(201, Math.floor((z[i] + 5) * 20) + 1))]++;"
        "  if (Math.abs(z[i]) > 4) far++;"
        "  if (i) { a += z[i] * z[i - 1]; b += (z[i] ** 2 - 1) * (z[i - 1] ** 2 - 1);"
        "    c += z[i] * (z[i - 1] ** 2 - 1); }"
        "}} return [bins, far, [a, b / 2, c / Math.SQRT2]]"
    )
    expected = n * np.diff(np.concatenate([[0], stats.norm.cdf(edges), [1]]))
    seldom = expected < 20
    observed = np.append(np.array(counts)[~seldom], np.array(counts)[seldom].sum())
    wanted = np.append(expected[~seldom], expected[seldom].sum())
    assert stats.chi2.sf(np.sum((observed - wanted) ** 2 / wanted), len(wanted) - 1) > 1e-5
    far = n * 2 * stats.norm.sf(4)
    assert abs(tail - far) < RARE * np.sqrt(far)
    assert np.max(np.abs(sums)) < stats.norm.isf(1e-5 / 6) * np.sqrt(n)


@pytest.mark.parametrize("noise", lab.NOISES)
def test_walkers_are_where_those_of_simulate_are(engine, noise):
    given = lab.START | {"batchSize": 3, "sharp": 3.25}
    well, driven, left, _ = lab.book_problem(noise, given)
    eta, n, times = given["learningRate"], 20_000, (40, 400)
    found = engine(
        f"const w = new Walk(formulas({json.dumps(given)}), {{noise: '{noise}', walkers: {n},"
        f" seed: 3}}); return [{times[0]}, {times[1] - times[0]}].map(k => {{w.advance(k);"
        " let a = 0, b = 0, c = 0; for (const x of w.places) {a += x; b += x * x; c += x > 0;}"
        " return [a, b, c].map(v => v / w.walkers)})"
    )
    book = simulate.ensemble(
        well, driven, start=-left, step=eta, times=[eta * k for k in times], walkers=400_000, seed=8
    )[..., 0].astype(float)
    for (mean, second, share), places in zip(found, book, strict=True):
        told = ((mean, places), (second, places**2), (share, places > 0))
        for value, sample in told:
            error = sample.std() * np.sqrt(1 / n + 1 / places.size)
            assert abs(value - sample.mean()) < RARE * error


@pytest.mark.parametrize("noise", lab.NOISES)
def test_counted_times_are_those_of_the_discrete_walk(engine, noise):
    given = lab.START | {"batchSize": 3}
    well, driven, left, right = lab.book_problem(noise, given)
    counts = {}
    for way, walkers in (("one", 4000), ("two", 4000)):
        counts[way] = engine(
            f"const w = new Walk(formulas({json.dumps(given)}), {{noise: '{noise}', seed: 4,"
            f" walkers: {walkers}, oneWay: {json.dumps(way == 'one')}}}); w.advance(400);"
            "const e = [...w.escapes], t = [...w.waited]; w.advance(2600);"
            "return [0, 1].map(k => [w.escapes[k] - e[k], w.waited[k] - t[k]])"
        )
    walk = {"step": given["learningRate"], "rtol": 1e-5}
    sharp = discrete.mean_first_passage_time(well, driven, start=-left, upper=right, **walk)
    flat = discrete.mean_first_passage_time(well, driven, start=right, lower=-left, **walk)
    # walkers come to the other valley a little beyond its bottom: a few tenths of a per cent
    cases = ((counts["one"][0], sharp, 0), (counts["two"][0], sharp, 0.005))
    for (escapes, waited), wanted, beyond in (*cases, (counts["two"][1], flat, 0.005)):
        found = given["learningRate"] * waited / escapes
        assert escapes > 500
        assert abs(np.log(found / wanted)) < RARE / np.sqrt(escapes) + beyond


@pytest.mark.parametrize("noise", lab.NOISES)
def test_quadrature_agrees_with_exact(engine, noise):
    for given in [lab.START, *settings(23, 3), lab.START | {"learningRate": 0.01, "barrier": 0.08}]:
        well, driven, left, right = lab.book_problem(noise, given)
        called = f"truth(formulas({json.dumps(given)}), {{noise: '{noise}'"
        found = engine(f"return {called}}})")
        if max(found["log"]) < 600:
            told = (
                exact.mean_first_passage_time(well, driven, start=-left, upper=right),
                exact.mean_first_passage_time(well, driven, start=right, lower=-left),
            )
            assert np.allclose(found["log"], np.log(told), rtol=0, atol=1e-4)
        rest = exact.stationary_density(well, driven, np.array(found["x"]))
        assert np.allclose(found["density"], rest, rtol=0, atol=1e-4 * rest.max())
    one = engine(f"return {called}, oneWay: true}})")
    x, kept = np.array(one["x"]), np.array(one["density"])
    assert np.all(kept[x > right] == 0) and np.trapezoid(kept, x) == pytest.approx(1, abs=1e-3)


def test_the_lab_is_small_and_leaks_no_name():
    css = (ROOT / "book" / "_static" / "lab.css").read_text(encoding="utf-8")
    assert len(lab.source().encode()) + len(css.encode()) < 40_000
    assert lab.source().startswith("(() => {") and lab.source().endswith("})();\n")
    assert "http" not in lab.source()


def test_the_page_says_what_the_lab_does(engine):
    text = (ROOT / "book" / "lab.md").read_text(encoding="utf-8")
    assert f"with curvature {lab.FIXED['flat']:g}." in text
    assert f"has curvature $-{lab.FIXED['saddle']:g}$." in text
    assert (
        engine(f"return new Walk(formulas({json.dumps(lab.START)}), {{noise: 'sgd'}}).walkers")
        == 5000
    )
    assert "Five thousand walkers" in text and "less than a tenth as the lab starts" in text
    well, driven, left, right = lab.book_problem("sgd", lab.START)
    for ends in ({"start": -left, "upper": right}, {"start": right, "lower": -left}):
        walk = discrete.mean_first_passage_time(
            well, driven, step=lab.START["learningRate"], rtol=1e-4, **ends
        )
        assert 0.02 < abs(walk / exact.mean_first_passage_time(well, driven, **ends) - 1) < 0.1


# --- in a browser, from disk --------------------------------------------------------------------

in_browser = pytest.mark.skipif(
    not (os.environ.get("DDT_CHROMIUM") and PAGE.is_file()),
    reason="no Chromium (DDT_CHROMIUM) or no built page",
)


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 390, "height": 844}, offline=True)
    page = context.new_page()
    page.troubles = []
    page.on("pageerror", lambda e: page.troubles.append(str(e)))
    page.on("request", lambda r: r.url.startswith("file:") or page.troubles.append(r.url))
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach(e =>"
        " window.moved += e.value)).observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(f"file://{PAGE}")
    page.locator(".lab-places").scroll_into_view_if_needed()
    yield page
    assert page.troubles == []
    context.close()


COUNTED = ".lab-numbers tbody tr:first-child td:last-child"
GOES_ON = "document.querySelector('.lab-times').toDataURL()"


def resting(page):
    """Does the picture stay as it is?"""
    before = page.evaluate(GOES_ON)
    page.wait_for_timeout(900)
    return page.evaluate(GOES_ON) == before


@in_browser
def test_a_reader_counts_escapes_and_can_stop(page):
    page.wait_for_function(f"document.querySelector('{COUNTED}').textContent.includes('±')")
    assert not resting(page)
    page.locator(".lab-run").focus()
    page.keyboard.press("Enter")
    assert page.locator(".lab-run").text_content() == "Run"
    assert page.locator(".lab-status").text_content().startswith("Paused")
    assert resting(page)
    assert page.evaluate("window.moved") < 0.02
    sizes = page.evaluate(
        "[...document.querySelectorAll('.lab-live button, .lab-live input[type=range]')]"
        ".map(e => Math.min(e.offsetWidth, e.offsetHeight))"
    )
    assert min(sizes) >= 24


@in_browser
def test_keys_move_the_sliders_and_a_button_sets_the_lab(page):
    slider = page.locator("input[name=sharp]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.evaluate("e => e.parentNode.querySelector('output').textContent") == "3.25"
    page.locator("button[data-lab*=white]").first.click()
    assert page.locator("input[value=white]").is_checked()
    assert slider.input_value() == "3"
    assert "noise=white" in page.url
    page.reload()
    assert page.locator("input[value=white]").is_checked()


@in_browser
def test_out_of_sight_it_rests(page):
    page.wait_for_function(f"document.querySelector('{COUNTED}').textContent.includes('±')")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    assert resting(page)


@in_browser
def test_reduced_motion_starts_at_rest_and_paper_has_a_still_picture(browser):
    context = browser.new_context(reduced_motion="reduce", offline=True)
    page = context.new_page()
    page.goto(f"file://{PAGE}")
    page.locator(".lab-places").scroll_into_view_if_needed()
    assert page.locator(".lab-run").text_content() == "Run" and resting(page)
    page.emulate_media(media="print")
    assert page.locator(".lab-still svg").is_visible() and not page.locator(".lab-run").is_visible()
    context.close()
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(f"file://{PAGE}")
    assert page.locator(".lab-still").is_visible() and not page.locator(".lab-live").is_visible()
    context.close()
