"""The cards of the landing page say what the chapters say."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import cards  # noqa: E402


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (
            "# T\n\n> Why is it so?\n> And when not?\n\nBecause.\n\n> More.",
            "Why is it so? And when not?",
        ),
        (
            f"# T\n\n:::{{result}} fig-a\n> {'Long. ' * 30}Where\n> now?\n\nThere.\n:::",
            "Where now?",
        ),
        ("# T\n\nNothing.", ""),
    ],
)
def test_a_card_asks_what_its_chapter_asks(text, question):
    assert cards.title_and_question(text) == ("T", question)


def test_a_card_has_the_number_and_the_title_of_its_chapter():
    number = cards.numbers()["theory/sgd-noise"]
    lines = cards.card("theory/sgd-noise", "Two valleys.", number)
    assert lines[1] == "![Two valleys.](/book/_static/thumbs/sgd-noise.svg)"
    assert (
        lines[3] == f"{number} · [SGD prefers flat minima exponentially](/book/theory/sgd-noise.md)"
    )
    assert lines[5].endswith(" {minutes}`theory/sgd-noise`")


def test_every_numbered_chapter_has_a_card_and_a_picture():
    text = (ROOT / "book/index.md").read_text(encoding="utf-8")
    listed = text.split(":::{chapter-cards}\n")[1].split("\n:::")[0].splitlines()
    pages = [line.partition(": ")[0] for line in listed]
    assert [p for p in pages if cards.numbers()[p]] == [p for p, n in cards.numbers().items() if n]
    for page in pages:
        assert (ROOT / f"book/_static/thumbs/{Path(page).name}.svg").is_file()
