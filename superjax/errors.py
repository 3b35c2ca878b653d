"""The error of a sweep file, and the small phrases of its message."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic_core import PydanticCustomError

_WIDTH = 600  # of a line of a message
_IN_PYTHON = {  # words of messages, and what a caller from Python knows by them
    "--fresh": "fresh=True",
    "--out": "out=",
    "--devices": "devices =",
    "(command line)": "(override)",
    "on the command line": "as an override",
}
_command_line = re.compile("|".join(rf"(?<!\S){re.escape(word)}(?![\w-])" for word in _IN_PYTHON))
_in_python = False


class SweepError(ValueError):
    """The user's input is wrong. At most 6 lines name the place, the key, what it got and what is allowed; those that
    are too long, since they repeat what the user wrote, lose their middle."""

    def __init__(self, text: str = ""):
        super().__init__("\n".join(map(shortened, text.split("\n"))))


class NoEffect(SweepError):
    """An override of the key `path`, or of its entry at `indices`, matters in no case of the sweep."""

    def __init__(self, text: str, path: tuple[str, ...], indices: list[int]):
        super().__init__(text)
        self.path, self.indices = path, indices


def refusal(text: str, *at: str | int) -> PydanticCustomError:
    """What a validator raises: `text` continues "KEY = GOT, "; `at` leads from the model to the key."""
    return PydanticCustomError("refused", "{text}", {"text": text, "at": at})


def near(word: Any, allowed: Iterable[str], within: str = "") -> str:
    """The end of a message about an unknown word, which is said to come after `within`."""
    close = difflib.get_close_matches(str(word), list(allowed), 1)
    return f"; did you mean {within}{close[0]}?" if close else ""


def shortened(line: str) -> str:
    """The line without its middle if it is long."""
    half = _WIDTH // 2 - 3
    return line if len(line) <= _WIDTH else f"{line[:half]} ... {line[-half:]}"


def clip(text: str, width: int = 60) -> str:
    """The text on one line, its end left out if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."


@contextmanager
def in_python() -> Iterator[None]:
    """Inside, messages have the words of a caller from Python, arguments in place of options of the command line; so
    has a SweepError that leaves."""
    global _in_python
    before, _in_python = _in_python, True
    try:
        yield
    except SweepError as error:
        error.args = (worded(str(error)),)
        raise
    finally:
        _in_python = before


def worded(text: str) -> str:
    """A message in the words of who called: from the command line, or inside `in_python`."""
    return _command_line.sub(lambda found: _IN_PYTHON[found[0]], text) if _in_python else text
