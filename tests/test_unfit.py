"""A notebook that is not fit to print, and a page that cannot be published, are noticed."""

import types
from pathlib import Path

import pages
import pytest
from nbformat import v4

import tests.test_notebooks as rules

ROOT = Path(__file__).resolve().parent.parent
GLUED = "application/papermill.record/text/plain"


def cell(source="1 + 1", *, count=1, outputs=(), **metadata):
    return v4.new_code_cell(source, execution_count=count, outputs=list(outputs), metadata=metadata)


def picture(count=1, **metadata):
    shown = v4.new_output("display_data", data={"image/svg+xml": "<svg/>"})
    told = {
        "figure": {"caption": "A caption that says in a sentence what was found.", "name": "fig-a"},
        "image": {"alt": "A line that falls from left to right."},
    }
    return cell(count=count, outputs=[shown], mystnb=told | metadata)


def stream(name, text="so it is"):
    return v4.new_output("stream", name=name, text=text)


ERROR = v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
RULES = {
    "never executed": (rules.test_every_cell_was_executed_in_order, cell(count=None)),
    "out of order": (rules.test_every_cell_was_executed_in_order, cell(count=7)),
    "an error": (rules.test_no_cell_failed_or_warned, cell(outputs=[ERROR])),
    "a warning": (rules.test_no_cell_failed_or_warned, cell(outputs=[stream("stderr")])),
    "a semicolon": (rules.test_cells_are_short_and_end_as_nbval_needs, cell("1 + 1;\n")),
    "too long": (rules.test_cells_are_short_and_end_as_nbval_needs, cell("1\n" * 31)),
    "too wide": (rules.test_cells_are_short_and_end_as_nbval_needs, cell("x" * 80)),
    "not compared": (rules.test_few_cells_escape_comparison, cell(tags=["nbval-ignore-output"])),
    "an address": (
        rules.test_outputs_hold_no_addresses_widgets_or_paths,
        cell(outputs=[stream("stdout", "<object at 0x7f2a91c04d90>")]),
    ),
    "no alternative text": (
        rules.test_every_figure_has_caption_name_and_description,
        picture(image={"alt": ""}),
    ),
    "no caption": (
        rules.test_every_figure_has_caption_name_and_description,
        picture(figure={"caption": "Figure", "name": "fig-a"}),
    ),
    "a caption and no figure": (
        rules.test_every_figure_has_caption_name_and_description,
        cell(mystnb=picture().metadata.mystnb),
    ),
    "a figure and no caption": (
        rules.test_every_figure_has_caption_name_and_description,
        cell(outputs=picture().outputs),
    ),
    "two figures": (
        rules.test_every_figure_has_caption_name_and_description,
        cell(outputs=picture().outputs * 2, mystnb=picture().metadata.mystnb),
    ),
}


@pytest.mark.parametrize("fault", RULES)
def test_a_notebook_that_is_not_fit_to_print_is_noticed(fault):
    rule, bad = RULES[fault]
    rule([cell(outputs=[stream("stdout")]), picture(count=2)])
    with pytest.raises(AssertionError):
        rule([bad])


@pytest.mark.parametrize("name, printed", [("a-b", "a-b = 3"), ("a-c", "a-b = 2")])
def test_a_number_in_prose_that_no_cell_printed_is_noticed(name, printed, tmp_path):
    record = {GLUED: "'2'"}
    stored = v4.new_output("display_data", record, metadata={"scrapbook": {"name": "a-b"}})
    text = tmp_path / "chapter.md"
    text.write_text("It is {glue:text}`a-b`.")
    rules.test_every_glued_number_is_known_and_printed(
        text, None, [cell(outputs=[stream("stdout", "a-b = 2"), stored])]
    )
    text.write_text(f"It is {{glue:text}}`{name}`.")
    with pytest.raises(AssertionError):
        rules.test_every_glued_number_is_known_and_printed(
            text, None, [cell(outputs=[stream("stdout", printed), stored])]
        )


# --- pages that cannot be published --------------------------------------------------------------

IMAGE = '<img src="_images/walker-1a2b.png" alt="{}">'
SEEN = "A noisy trace that jumps between two levels."


@pytest.fixture
def mend(monkeypatch, tmp_path):
    """The complaints about a page with this in its article."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import ddt_pages

    def complaints(article):
        path = tmp_path / "chapter.html"
        path.write_text(
            "<html><head><title>t</title></head><body><article><section><h1>A chapter</h1>"
            f"<p>A first paragraph.</p>{article}</section></article></body></html>",
            encoding="utf-8",
        )
        return ddt_pages.mended(types.SimpleNamespace(outdir=str(tmp_path)), path, {})[1]

    return complaints


def test_a_page_as_it_should_be_is_not_complained_about(mend):
    fine = r'<p>The <span class="math">\(\tau\)</span> of <code>\frac</code> costs 5 $.</p>'
    assert mend(fine + IMAGE.format(SEEN)) == []


@pytest.mark.parametrize(
    "text",
    [
        r"$$\tau = 1$$",
        r"the time \frac{1}{\gamma}",
        r"\begin{aligned}",
        r"the rate \gamma of",
        r"and \tau.",
        "the {glue:text}`kr-tau`",
        "equation {eq}`eq-kr-rate`",
        "by {cite:p}`kramers1940`",
        r"so \sqrt{D} is",
        r"with \eta small",
        "and $x$ too",
        "see {numref}`fig-kr-walker`",
        "see {doc}`measuring`",
    ],
)
def test_a_raw_formula_is_noticed(text, mend):
    (complaint,) = mend(f"<p>{text}</p>")
    assert complaint.startswith("chapter.html: raw markup on the page")


@pytest.mark.parametrize(
    "image",
    [
        '<img src="_images/walker-1a2b.png">',
        IMAGE.format(""),
        IMAGE.format("_images/walker-1a2b.png"),
        IMAGE.format("../../_images/a/long/way/to/walker-1a2b.png"),
        IMAGE.format("A noisy trace."),
    ],
    ids=["missing", "empty", "the file's name", "the file's path", "too short"],
)
def test_an_image_that_nobody_described_is_noticed(image, mend):
    (complaint,) = mend(image)
    assert "alternative text written by hand: _images/walker-1a2b.png" in complaint


@pytest.fixture
def built(tmp_path):
    """A built book, as far as the look at its pages goes."""
    contents = pages.yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = pages.listed(contents)
    assert len(names) >= 5
    for name in names:
        path = tmp_path / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<h1>A page</h1>" + "It says something. " * 400, encoding="utf-8")
    assert pages.problems(tmp_path) == []
    return tmp_path, names


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "is missing"),
        ("", "is empty"),
        ("<h1>A page</h1>", "is empty"),
        ("It says something. " * 400, "is empty"),
    ],
    ids=["missing", "empty", "only a heading", "no heading"],
)
def test_a_page_with_nothing_on_it_is_noticed(content, problem, built):
    folder, names = built
    path = folder / f"{names[-1]}.html"
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    assert pages.problems(folder) == [f"{names[-1]}.html {problem}"]
