"""Whether two drawings look alike: what a reader cannot see counts for nothing, the rest does."""

import io
import re

import drawings
import pytest
from matplotlib import pyplot as plt
from svg import look_alike, parts

STORED = drawings.STATIC / "replica-gain.svg"


@pytest.fixture(scope="module")
def chart():
    return STORED.read_text(encoding="utf-8")


def test_a_chart_has_names_that_depend_on_its_coordinates(chart):
    """Else nothing here would be tried."""
    assert len(set(re.findall(r"clip-path=\"url\(#(p[0-9a-f]{10})\)", chart))) > 1
    assert len(parts(chart)[1]) > 1000


def test_other_names_are_not_seen(chart):
    other = re.sub(r"\bp([0-9a-f]{10})\b", lambda m: "p" + m[1][::-1], chart)
    assert other != chart and look_alike(chart, other)


def test_the_last_bits_of_a_coordinate_are_not_seen():
    def drawn(shift):
        figure, axes = plt.subplots(figsize=(2.37 + shift, 1.61))
        axes.plot([0.3, 1.7], [2.1, 5.9], "o")
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        plt.close(figure)
        return stream.getvalue()

    with plt.rc_context({"svg.hashsalt": "x"}):
        plain, near, far = drawn(0), drawn(1e-9), drawn(0.1)
    assert plain != near and look_alike(plain, near)
    assert not look_alike(plain, far)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (r"#1f6fb2", "#1f6fb3"),
        (r"stroke-dasharray: 1\.", "stroke-dasharray: 2."),
        (r'd="M (\d+)\.', r'd="M 1\1.'),
        (r"<path ", "<g/><path "),
        (r'clip-path="url\(#p[0-9a-f]{10}\)"', 'clip-path="url(#p0123456789)"'),
        (r"<use ", "<use opacity='.5' "),
    ],
    ids=["colour", "dashes", "a point", "an element", "another clip path", "an attribute"],
)
def test_what_a_reader_sees_is_seen(chart, right, wrong):
    other = re.sub(right, wrong, chart, count=1)
    assert other != chart and not look_alike(chart, other)


def test_a_missing_or_changed_drawing_is_drawn_again(tmp_path, monkeypatch, chart):
    inside = {"seen.svg": chart.replace("#1f6fb2", "#1f6fb3"), "same.svg": chart}
    for name, text in inside.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    wanted = {tmp_path / name: chart for name in (*inside, "missing.svg")}
    monkeypatch.setattr(drawings, "drawings", lambda: wanted)
    monkeypatch.setattr(drawings, "STATIC", tmp_path)
    monkeypatch.setattr("sys.argv", ["drawings.py", "--check"])
    assert drawings.main() == 1
    monkeypatch.setattr("sys.argv", ["drawings.py"])
    assert {p.name for p in drawings.changed()} == {"seen.svg", "missing.svg"}
    assert drawings.main() == 0 and drawings.changed() == {}
