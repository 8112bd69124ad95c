"""One hand for every figure: one palette, one face, one way to draw theory and measurement.

Colours mean the same thing on every page. The sharp valley is warm and the flat valley cool; the
noise of SGD and white noise have two further hues; theory is always a thin dark line and a
measurement always points with error bars; the alarm colour marks a deviation and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from ddt_utils import _checks

#: What a colour means, with its value on a light page and on a dark page. A figure is drawn with
#: the light values; the built book exchanges each for the value of the reader's theme.
PALETTE = {
    "sharp": ("#c4501b", "#f08a52"),
    "flat": ("#1f6fb2", "#6cb4ee"),
    "sgd": ("#7a3e9d", "#c792ea"),
    "white": ("#3f7d3a", "#86c67c"),
    "theory": ("#1d2733", "#e9eef4"),
    "measurement": ("#2b5d73", "#8ec7dd"),
    "deviation": ("#b3123f", "#ff7a9a"),
    "ink": ("#20262e", "#e4e8ed"),
    "muted": ("#66707c", "#9aa5b1"),
    "faint": ("#c3cad2", "#4a535e"),
    "band": ("#e6ebf0", "#2c343d"),
    "ground": ("#fdfcf9", "#14181d"),
}

#: What each colour is called and its value on a light page.
COLORS = {name: light for name, (light, dark) in PALETTE.items()}

_FONTS = Path(__file__).parent / "fonts"
_WIDTH = {"text": 5.8, "narrow": 4.0}  # inches; small, so that text is legible on a phone


def use_style() -> None:
    """Draw the figures of this notebook in the book's style, as SVG that is the same every time.

    Example:
        >>> use_style()
    """
    import matplotlib
    from matplotlib import font_manager

    for path in sorted(_FONTS.glob("*.ttf")):
        font_manager.fontManager.addfont(str(path))
    ink, muted, ground = COLORS["ink"], COLORS["muted"], COLORS["ground"]
    cycle = [COLORS[name] for name in ("measurement", "sharp", "flat", "sgd", "white", "muted")]
    matplotlib.rcParams.update(
        {
            "font.family": ["Escape Sans", "DejaVu Sans"],
            "font.size": 10.5,
            "axes.labelsize": 10.5,
            "xtick.labelsize": 10.5,
            "ytick.labelsize": 10.5,
            "legend.fontsize": 10.5,
            "mathtext.fontset": "stixsans",
            "figure.facecolor": ground,
            "savefig.facecolor": ground,
            "axes.facecolor": "none",
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.edgecolor": muted,
            "xtick.color": muted,
            "ytick.color": muted,
            "xtick.labelcolor": ink,
            "ytick.labelcolor": ink,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": matplotlib.cycler(color=cycle),
            "axes.unicode_minus": True,
            "lines.linewidth": 1.6,
            "legend.frameon": False,
            "grid.color": COLORS["faint"],
            "grid.linewidth": 0.6,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "svg.fonttype": "path",
            "svg.hashsalt": "escape",
            "image.cmap": "ddt",
        }
        if register_colormap()
        else {}
    )
    _store_svg()


def _store_svg():
    """Ask the notebook for SVG without a date; outside a notebook there is nothing to ask."""
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None}, bbox_inches=None)


def register_colormap() -> bool:
    """Register the colormap ``ddt``, from the page's ground to deep blue, for densities.

    Returns:
        True, so that a setting can ask for it in passing.

    Example:
        >>> register_colormap()
        True
    """
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    if "ddt" not in matplotlib.colormaps:
        stops = ["#f4f1ea", "#cfe0ea", "#86b6d4", "#3f82b4", "#1c4d80", "#12294a"]
        matplotlib.colormaps.register(LinearSegmentedColormap.from_list("ddt", stops))
    return True


def figure(*, width: str = "text", height: float = 3.1, rows: int = 1, columns: int = 1, **options):
    """A figure of the book's width.

    Args:
        width: ``text`` (the whole column) or ``narrow``.
        height: in inches.
        rows: rows of axes.
        columns: columns of axes.
        options: passed on to ``matplotlib.pyplot.subplots``, for example ``sharey``.

    Returns:
        The figure and its axes, as ``matplotlib.pyplot.subplots`` returns them.

    Raises:
        ValueError: an unknown width, a height that is not positive, or no axes.

    Example:
        >>> from matplotlib import pyplot as plt
        >>> fig, (left, right) = figure(columns=2)
        >>> plt.close(fig)
    """
    import matplotlib.pyplot as plt

    _checks.choice("width", width, _WIDTH)
    height = _checks.number("height", height, above=0, remedy="give it in inches")
    rows, columns = (
        _checks.whole(n, v, least=1) for n, v in (("rows", rows), ("columns", columns))
    )
    return plt.subplots(rows, columns, figsize=(_WIDTH[width], height), **options)


def measured(axes, x, y, stderr=None, *, color=COLORS["measurement"], label=None, marker="o"):
    """Draw a measurement: points with bars.

    Args:
        axes: where.
        x: of the points.
        y: of the points.
        stderr: half of a bar's length, one standard error; without one there are only points.
        color: of points and bars, one of :data:`COLORS`.
        label: in the legend.
        marker: the shape of a point.

    Returns:
        What ``matplotlib.axes.Axes.errorbar`` returns.

    Example:
        >>> from matplotlib import pyplot as plt
        >>> fig, axes = figure()
        >>> bars = measured(axes, [1, 2], [1.0, 2.1], [0.1, 0.1])
        >>> plt.close(fig)
    """
    return axes.errorbar(
        x,
        y,
        yerr=stderr,
        fmt=marker,
        color=color,
        label=label,
        markersize=5,
        capsize=0,
        elinewidth=1.4,
        zorder=3,
    )


def theory(axes, x, y, *, color=COLORS["theory"], label=None, style="-"):
    """Draw a prediction: a thin dark line, behind the points.

    Args:
        axes: where.
        x: along the line.
        y: along the line.
        color: one of :data:`COLORS`.
        label: in the legend.
        style: of the line, dashed for example.

    Returns:
        What ``matplotlib.axes.Axes.plot`` returns.

    Example:
        >>> from matplotlib import pyplot as plt
        >>> fig, axes = figure()
        >>> line = theory(axes, [1, 2], [1.0, 2.0], label="Kramers")
        >>> plt.close(fig)
    """
    return axes.plot(x, y, style, color=color, linewidth=1.1, label=label, zorder=2)
