"""What all figures share: size, colours for light and dark themes, error bars, and the conversion to a data URI."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.rcsetup import cycler

from rm.report.text import visible
from rm.stats.finding import Finding

INK, SOFT, BLUE, ORANGE = "#1f2328", "#818b98", "#0969da", "#bc4c00"
GREEN, RED, BAND = "#1a7f37", "#cf222e", "#d7e6f8"
_DARK = {
    INK: "#d1d7e0",
    SOFT: "#7d8590",
    BLUE: "#58a6ff",
    ORANGE: "#f0883e",
    GREEN: "#3fb950",
    RED: "#f85149",
    BAND: "#22344f",
}
NARROW, WIDE = 4.2, 6.5
"""Inches: on the screen of a phone, or as one of two side by side, and as wide as a column of text. A figure has both,
so that letters keep a size."""
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "rmflow",  # the same figure gives the same bytes
    "text.parse_math": False,  # a dollar sign in a name does not start a formula
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, SOFT, INK]),
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "font.family": "sans-serif",
    "font.size": 9,
}
_LONGEST_LABEL = 26


class Drawn(NamedTuple):
    """A figure in both widths, as data URIs."""

    narrow: str
    wide: str

    def svg(self) -> str:
        """The narrow one, as the text of a file."""
        return base64.b64decode(self.narrow.partition(",")[2]).decode("utf-8")


def draw(height: float, paint: Callable[[Any], None], wide: float = WIDE) -> Drawn:
    """A figure in both widths.

    Parameters
    ----------
    height : float
        Inches.
    paint : callable
        Draws on the axes that it gets; called once, before the axes have their size.
    wide : float
        Inches; default: for a column of the audit's page.
    """
    return Drawn(*_images(height, paint, wide))


def _images(height: float, paint: Callable[[Any], None], wide: float) -> Iterator[str]:
    """The data URIs of a figure, painted once and laid out for each width."""
    with mpl.rc_context(_STYLE):
        figure = Figure(dpi=FigureCanvasSVG.fixed_dpi)
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        for width in (NARROW, wide):
            figure.set_size_inches(width, height)
            yield _image(figure)


def _image(figure: Figure) -> str:
    """The data URI of a figure in its size."""
    ConstrainedLayoutEngine().execute(figure)  # savefig draws a figure that has an engine twice
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue().replace(b"<defs>", f"<style>{_dark_rules()}</style>\n <defs>".encode("ascii"), 1)
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def _dark_rules() -> str:
    """Colours of the dark theme: an image follows the reader's theme, but not the page's style sheet."""
    rules = [
        f'[style*="{what}: {light}"] {{ {what}: {dark} !important }}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
    ]
    return f"@media (prefers-color-scheme: dark) {{ {' '.join(rules)} }}"


def label(text: str, longest: int = _LONGEST_LABEL) -> str:
    """A name for an axis: characters that the font may lack become question marks, and a long name is cut."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in visible(text))
    return plain if len(plain) <= longest else f"{plain[: longest - 2]}.."


def whiskers(findings: Iterable[Finding]) -> Any:
    """Lengths of the error bars below and above each estimate, shape (2, N); 0 if a bound is undefined."""
    bars = [(one.estimate - one.ci_low, one.ci_high - one.estimate) for one in findings]
    return np.maximum(np.nan_to_num(np.array(bars, dtype=np.float64).reshape(-1, 2).T, posinf=0.0, neginf=0.0), 0.0)


def across(axes: Any, xs: Sequence[float], findings: Sequence[Finding], **look: Any) -> None:
    """Estimates from left to right, with their intervals."""
    estimates = [finding.estimate for finding in findings]
    axes.errorbar(list(xs), estimates, yerr=whiskers(findings), **{"fmt": "o", "capsize": 2, **look})


def down(axes: Any, ys: Sequence[float], findings: Sequence[Finding], **look: Any) -> None:
    """Estimates from top to bottom, with their intervals."""
    estimates = [finding.estimate for finding in findings]
    axes.errorbar(estimates, list(ys), xerr=whiskers(findings), **{"fmt": "o", "capsize": 2, **look})


def mark(axes: Any, *, x: float | None = None, y: float | None = None) -> None:
    """A dashed line at the reference value, such as a coin's accuracy or no correlation."""
    if x is not None:
        axes.axvline(x, color=SOFT, linestyle="--", linewidth=1, zorder=0)
    if y is not None:
        axes.axhline(y, color=SOFT, linestyle="--", linewidth=1, zorder=0)
