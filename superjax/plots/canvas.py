"""The one way in which figures are made and saved: the same pixels whatever the user's matplotlib is set to.

Importing this module imports matplotlib, also where MPLBACKEND or a matplotlibrc would make that fail.
"""

import importlib
import importlib.util
import io
import math
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MIN_DPI = 12.0  # below, small letters have less than a pixel, which is an error
MAX_PIXELS = 100_000_000  # of a figure; drawing takes some 12 bytes each
MAX_SIDE = 30_000  # pixels; most viewers show no more
LEAST, PAGE = 8, 1000  # points that letters have at least, where a figure is shown in a page of so many pixels


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Environment variables changed for a while; None removes one."""
    before = {name: os.environ.get(name) for name in values}

    def put(wanted: dict[str, str | None]) -> None:
        for name, value in wanted.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    put(values)
    try:
        yield
    finally:
        put(before)


def _import_matplotlib() -> None:
    """Import matplotlib without MPLBACKEND, and if a matplotlibrc cannot be read with the one that it brings.

    Each of both makes the import fail if matplotlib does not know it; a backend that it knows is set afterwards, for
    the user's own figures. Raises ImportError.
    """
    if "matplotlib" in sys.modules:
        return
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise ImportError("it is not installed")
    own = Path(found.origin).with_name("mpl-data") / "matplotlibrc"
    backend = os.environ.get("MPLBACKEND")
    with _environment(MPLBACKEND=None):
        try:
            matplotlib = importlib.import_module("matplotlib")
        except (ValueError, OSError):
            for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
                del sys.modules[name]  # half imported
            with _environment(MATPLOTLIBRC=str(own)):
                matplotlib = importlib.import_module("matplotlib")
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


_import_matplotlib()

import matplotlib  # noqa: E402
from matplotlib.axis import Axis  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.font_manager import FontProperties  # noqa: E402
from matplotlib.text import Text  # noqa: E402
from matplotlib.textpath import text_to_path  # noqa: E402


@contextmanager
def plain() -> Iterator[None]:
    """Within it, figures look as matplotlib's own defaults make them, in the font that it brings. Make and save them in
    the same one; afterwards all settings are the user's again.

    A character that the font has not is drawn as an empty box, without a warning.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams["font.family"] = ["DejaVu Sans"]  # alone: others depend on the machine
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        warnings.filterwarnings("ignore", "Attempting to set identical")  # ends of an axis of one point: it is widened
        yield


def try_out() -> None:
    """Make and save a small figure; whatever goes wrong in matplotlib is raised."""
    with plain():
        figure = Figure(figsize=(1, 1))
        figure.suptitle("a")
        png(figure, 20.0)


def resolution(figure: Figure, dpi: float) -> float:
    """The dots per inch nearest to `dpi` with which letters have a size and a figure keeps within MAX_PIXELS and
    MAX_SIDE."""
    width, height = figure.get_size_inches()
    return min(max(dpi, MIN_DPI), math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / max(width, height))


# What a file would say of itself, left out: the same figure gives the same bytes.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def png(figure: Figure, dpi: float) -> bytes:
    """The figure as a PNG file."""
    return image(figure, dpi, "png")


def image(figure: Figure, dpi: float, kind: str) -> bytes:
    """The figure as a file of a kind, png, svg or pdf, that holds nothing but the picture: the same figure gives the
    same bytes. Maps are pixels in all of them."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "superjax"}):
        FigureCanvasAgg(figure).print_figure(file, format=kind, dpi=dpi, metadata=_METADATA[kind])
    return file.getvalue()


def literal(text: str) -> str:
    """A text of the user's, to be drawn as it is: a dollar begins no mathematics, what has no shape is a question."""
    return _printable(text).replace("$", r"\$")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def fitted(text: str, inches: int | float, size: int | float = 10, lines: int = 1) -> str:
    """A text of the user's (`literal`) in at most so many lines of a width at a font size in points; what has no room
    is cut off, with an ellipsis."""
    text = _printable("".join(" " if c.isspace() else c for c in text[: 1000 * lines + 1])).strip()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of characters that the font has not
        font = FontProperties(family=["DejaVu Sans"], size=size)
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, False) if text else (0, 0, 0)
    characters = max(8, int(len(text) * 72 * inches / width)) if width > 72 * inches else max(1, len(text))
    wrapped = textwrap.wrap(text, characters, max_lines=lines, placeholder="…", break_on_hyphens=False)
    return "\n".join(map(literal, wrapped))


def least(figure: Figure) -> float:
    """The smallest size of letters, in points of the figure. A point of a page is 96/72 pixels."""
    return LEAST * 96 * figure.get_figwidth() / PAGE


def legible(figure: Figure) -> None:
    """Raise all smaller letters of a figure to the least size."""
    size = least(figure)
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), size))
    for axis in figure.findobj(Axis):
        at = axis.get_tick_params().get("labelsize", "medium")
        axis.set_tick_params(labelsize=max(FontProperties(size=at).get_size_in_points(), size))


def heading(figure: Figure, text: str, size: int | float = 14) -> None:
    """The title of a figure, in up to three lines of its width; lines of `text` are begun anew."""
    inches, size = 0.97 * figure.get_figwidth(), max(size, least(figure))
    figure.suptitle("\n".join(fitted(line, inches, size, 3) for line in text.split("\n")), fontsize=size)
