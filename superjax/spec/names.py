"""Names that become files, and texts that are drawn."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from superjax.errors import refusal
from superjax.spec.sizes import TEXT

_BYTES = 230  # of a name: figures and the files that are being written have longer ones, of at most 255
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # what follows is shown in another order


def fault(name: str) -> str:
    """What forbids a name as that of a case's file, "" if nothing does."""
    if name != of_stem(name):
        return "is no file name"
    size = len(name.encode())
    return f"is no file name, of {size} bytes where {_BYTES} are allowed" if size > _BYTES else ""


def of_stem(stem: str) -> str:
    """The name of a sweep, and of the only case of a file without cases, by the stem of its file: itself, or with
    what no name may have replaced by "_"."""
    text = unicodedata.normalize("NFC", stem)
    last = len(text) - 1
    return "".join(c if _allowed(c) or c in " ." and 0 < k < last else "_" for k, c in enumerate(text)) or "_"


def _allowed(character: str) -> bool:
    """A letter of any script with its marks, a digit, or a sign that no shell, path or file system takes amiss."""
    return unicodedata.category(character)[0] in "LMN" or character in "_+=@~,()!#%&'^-"


def _drawable(text: str) -> str:
    if len(text) > TEXT:
        raise refusal(f"must have at most {TEXT} characters")
    for character in text:
        if character != "\n" and (unicodedata.category(character) in ("Cc", "Cs") or character in _TURNS):
            raise refusal(f"must have no control characters, has {ascii(character)[1:-1]}")
    return text


Text = Annotated[str, AfterValidator(_drawable)]
