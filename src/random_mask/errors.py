"""The one kind of error that a user can fix."""

from __future__ import annotations

from collections.abc import Collection


class InputError(Exception):
    """Bad input, explained in one line a mistake: the file or key, what is wrong, and the remedy."""


def named(names: Collection[str], most: int = 3) -> str:
    """Return the first of some names, and how many more there are, in one line of text.

    Bytes of file names that are not UTF-8, and characters that would break the line, are written as escapes.
    """
    shown = [
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _as_text(name))
        for name in list(names)[:most]
    ]
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*shown, *more])


def _as_text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
