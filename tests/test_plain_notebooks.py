"""The notebooks for Colab and GitHub: plain Markdown that says what the built pages say."""

import re

import nbformat
import notebooks
import plain_notebooks
import pytest
from bs4 import BeautifulSoup

HTML = notebooks.ROOT / "_build" / "html"
CHAPTERS = notebooks.chapters()
KINDS = {"Theorem": "prf:theorem", "Exercise": "exercise", "Figure": "figure"}


def stored(chapter):
    path = plain_notebooks.COLAB / chapter.relative_to(notebooks.BOOK).with_suffix(".ipynb")
    return nbformat.read(path, as_version=4)


def prose(notebook):
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def test_every_chapter_has_its_plain_notebook_and_nothing_else_lies_there():
    for path, text in plain_notebooks.wanted().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make notebooks"
    assert {*plain_notebooks.COLAB.rglob("*.ipynb")} == plain_notebooks.wanted().keys()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_nothing_is_left_that_only_the_book_understands(chapter):
    text = re.sub(r"`[^`{}\n]*`", "", prose(stored(chapter)))
    assert not re.findall(r"\{[a-z]+(?::[a-z]+)*\}`.*", text)
    assert not re.findall(r"(?m)^\s*(?:`{3,}|:{3,})(?:\{.*)?$", text)
    assert not re.findall(r"\((?:eq|fig|thm|ex)-[\w-]+\)", text)
    assert "{glue" not in text and "nan" not in text.split()
    assert text.count("$$") % 2 == 0
    links = re.findall(r"\]\(([^)\s]+)", text)
    assert links and all(link.startswith("https://") for link in links)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_code_and_results_are_the_chapters(chapter):
    here, there = stored(chapter), nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)
    of_here = [c for c in here.cells if c.cell_type == "code"]
    of_there = [c for c in there.cells if c.cell_type == "code"]
    assert notebooks.is_setup(here.cells[1]), "the set-up cell comes first, after a word about it"
    assert sorted(c.source for c in of_here) == sorted(c.source for c in of_there)

    def shown(cells):
        kinds = ("text/plain", "image/svg+xml", "image/png", "text/latex")
        outputs = [o for c in cells if not notebooks.is_setup(c) for o in c.outputs]
        said = [o.text for o in outputs if "text" in o]
        return said, [o.data[k] for o in outputs for k in kinds if k in o.get("data", {})]

    assert shown(of_here) == shown(of_there)


def test_every_number_of_the_prose_is_filled_in():
    text = "The barrier is {glue:text}`kr-barrier`, see {eq}`eq-kr-rate` and {cite:p}`kramers1940`."
    chapter = next(c for c in CHAPTERS if c.stem == "kramers")
    values = plain_notebooks.glued(chapter.with_suffix(".ipynb"))
    plain = plain_notebooks.Chapter(chapter).plain(text)
    assert f"The barrier is {values['kr-barrier']}, see [(3." in plain
    assert "([Kramers, 1940](https://doi.org/10.1016/S0031-8914(40)90098-2))" in plain


@pytest.mark.skipif(not HTML.is_dir(), reason="the pages are not built: run make book")
def test_numbers_are_those_of_the_built_pages():
    seen = dict.fromkeys(("Equation", "Figure", "Theorem", "Proposition", "Exercise"), 0)
    pages = {}
    for place, kind, number in plain_notebooks.labels().values():
        if kind == "Section":
            continue
        name, _, anchor = place.removeprefix(plain_notebooks.site() + "/").partition("#")
        if name not in pages:
            page = BeautifulSoup((HTML / name).read_text(encoding="utf-8"), "html.parser")
            pages[name] = {part["id"]: part for part in page.find_all(id=True)}
        target = pages[name].get(anchor)
        assert target is not None, f"no place {place}"
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", told(target, kind)), place
        seen[kind] += 1
    assert seen["Equation"] > 250 and min(seen.values()) > 1, seen


def told(target, kind):
    """What the page says of a labelled place: its number is in it."""
    if kind == "Equation":
        return target.select_one(".eqno").get_text()
    return target.get_text(" ")[:200] if kind != "Figure" else target.find("figcaption").get_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```{danger} Beware\nof this\n```", "a directive 'danger' that no plain Markdown"),
        ("a {kbd}`key`", "a role 'kbd' that no plain Markdown"),
    ],
)
def test_what_has_no_plain_form_is_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message):
        plain_notebooks.Chapter(CHAPTERS[-1]).plain(text)


def test_a_result_box_and_a_dropdown_become_text():
    figures = (item for item in plain_notebooks.labels().items() if item[1][1] == "Figure")
    label, (place, _, number) = next(figures)
    plain = plain_notebooks.Chapter(CHAPTERS[-1]).plain
    text = plain(f":::{{result}} {label}\n> Why?\n\nBecause.\n:::")
    assert text == f"> Why?\n\nBecause.\n\n[Figure {number}]({place}) shows it."
    assert plain(":::{result}\nBecause.\n:::") == "Because."
    assert plain(":::{dropdown} The proof\nLong.\n:::") == "**The proof**\n\nLong."


def test_the_escape_lab_becomes_a_link_to_its_page():
    text = plain_notebooks.Chapter(CHAPTERS[-1]).plain(":::{escape-lab}\n:noise: white\n:::")
    assert f"]({plain_notebooks.site()}/book/lab.html)" in text and "noise" not in text
