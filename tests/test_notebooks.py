"""Hygiene of the chapters: what is stored is what the text says, executed, and fit to print."""

import re
from ast import literal_eval

import jupytext
import nbformat
import notebooks
import pytest
import yaml

from ddt_utils.ledger import claims_in

CHAPTERS = notebooks.chapters()
NAMES = [p.relative_to(notebooks.BOOK).as_posix() for p in CHAPTERS]


@pytest.fixture(params=CHAPTERS, ids=NAMES)
def chapter(request):
    return request.param


@pytest.fixture
def notebook(chapter):
    return nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)


@pytest.fixture
def code(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def test_there_are_chapters():
    assert len(CHAPTERS) >= 3


def test_text_and_notebook_say_the_same(chapter, notebook):
    assert notebooks.same_text(chapter, notebook)


def test_the_fingerprint_matches(chapter, notebook):
    stored = notebook.metadata["ddt"]["fingerprint"]
    assert stored == notebooks.fingerprint(chapter), "stale: run make notebooks"


def test_every_cell_was_executed_in_order(code):
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))


def test_no_cell_failed_or_warned(code):
    kinds = [(o.output_type, o.get("name")) for c in code for o in c.outputs]
    assert not any(kind == "error" or name == "stderr" for kind, name in kinds)


def test_cells_are_short_and_end_as_nbval_needs(code):
    for cell in code:
        lines = cell.source.splitlines()
        assert len(lines) <= 30, cell.source
        assert not cell.source.rstrip().endswith(";"), cell.source
        assert max((len(line) for line in lines), default=0) <= 75, cell.source


def test_few_cells_escape_comparison(code):
    ignored = [c for c in code if "nbval-ignore-output" in c.metadata.get("tags", [])]
    assert len(ignored) <= len(code) / 10


def test_outputs_hold_no_addresses_widgets_or_paths(code):
    for cell in code:
        for output in cell.outputs:
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"\bat 0x[0-9a-f]{6,}|/(home|tmp|root)/", text), text[:200]
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def test_every_figure_has_caption_name_and_description(code):
    for cell in code:
        pictures = [o for o in cell.outputs if "image/svg+xml" in o.get("data", {})]
        pictures += [
            o for o in cell.outputs if "image/png" in o.get("data", {}) and o not in pictures
        ]
        assert len(pictures) <= 1, "one figure a cell"
        promised = "figure" in cell.metadata.get("mystnb", {})
        assert bool(pictures) == promised, (
            "a cell with a caption has a figure, and no other has; was the chapter executed with "
            "MPLBACKEND set, under which nothing is shown?"
        )
        if pictures:
            told = cell.metadata["mystnb"]
            assert len(told["figure"]["caption"]) >= 40
            assert told["figure"]["name"].startswith("fig-")
            assert len(told["image"]["alt"]) >= 30


def test_every_glued_number_is_known_and_printed(chapter, notebook, code):
    stored = {
        o.metadata["scrapbook"]["name"]: o.data["application/papermill.record/text/plain"]
        for c in code
        for o in c.outputs
        if "scrapbook" in o.get("metadata", {})
    }
    printed = "".join(o.get("text", "") for c in code for o in c.outputs)
    for name, text in stored.items():
        assert f"{name} = {literal_eval(text)}" in printed
    used = set(re.findall(r"\{glue:text\}`([\w-]+)`", chapter.read_text(encoding="utf-8")))
    assert used <= set(stored)


def test_chapter_has_its_parts(chapter, notebook):
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert len(re.findall(r"(?m)^# ", text)) == 1
    assert re.search(r"(?m)^> ", text), "opens with its question"
    if chapter.stem != "index":
        assert re.search(r"(?m)^## Summary", text)
        assert len(re.findall(r"\{exercise-start\}|\{exercise\}", text)) >= 3
        assert len(re.findall(r"\{solution-start\}|\{solution\}", text)) >= 3
        assert "{cite:" in text


def test_glued_names_and_labels_are_unique():
    names, labels = [], []
    for chapter in CHAPTERS:
        for cell in nbformat.read(chapter.with_suffix(".ipynb"), as_version=4).cells:
            labels += re.findall(r"(?m)^\$\$ ?\(([\w-]+)\)|^\((?!#)([\w-]+)\)=$", cell.source)
            for output in cell.get("outputs", []):
                names += [output.get("metadata", {}).get("scrapbook", {}).get("name")]
    names = [n for n in names if n]
    assert len(names) == len(set(names))
    assert len(labels) == len(set(labels))


def test_every_claim_is_listed():
    parts = yaml.safe_load((notebooks.BOOK / "claims.yml").read_text(encoding="utf-8"))
    listed = [key for part in parts for key in part["claims"]]
    for listing in (one for part in parts for one in part["claims"].values()):
        assert set(listing) == {"origin", "claim"}, listing
        assert listing["origin"] in ("paper", "folklore", "book"), listing
        assert listing["claim"].endswith("."), listing
    made = [row.key for c in CHAPTERS for row in claims_in(c.with_suffix(".ipynb"))]
    assert len(listed) == len(set(listed)) and len(made) == len(set(made))
    assert set(made) <= set(listed)
    assert made, "no chapter makes a claim"


def test_texts_are_chapters_or_plain_pages():
    for path in notebooks.BOOK.rglob("*.ipynb"):
        assert path.with_suffix(".md") in CHAPTERS
        assert jupytext.read(path.with_suffix(".md")).cells


def test_a_chapter_has_at_most_four_thousand_words_and_opens_with_its_result():
    """Without code, captions and formulas; a chapter is one sitting."""
    long_, closed = {}, []
    for chapter in CHAPTERS:
        text = re.sub(r"\A---.*?\n---\n", "", chapter.read_text(encoding="utf-8"), flags=re.S)
        text = re.sub(r"```\{code-cell\}.*?\n```|\$\$.*?\$\$(?: \([\w-]+\))?", "", text, flags=re.S)
        text = re.sub(r"\$[^$]*\$", "x", text)
        text = re.sub(r"(?m)^(?::{3,}|`{3,}).*$|^:\w+:.*$", "", text)
        if len(text.split()) > 4000:
            long_[chapter.stem] = len(text.split())
        if ":::{result}" not in chapter.read_text(encoding="utf-8"):
            closed.append(chapter.stem)
    assert not long_
    assert not closed
