"""Checks of texts and token numbers, with the messages of `_checks`."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ._checks import _show, _where

__all__ = [
    "documents",
    "flag",
    "hashes",
    "sequences",
    "string",
    "text_or_bytes",
    "token_ids",
    "whole_numbers",
]


def _refuse(where: str, value: Any, name: str, allowed: str, kind: type[Exception]) -> NoReturn:
    raise kind(f"{where}: {name} must be {allowed}; got {_show(value)}")


def flag(value: Any, name: str) -> bool:
    """Check a truth value: 0 and 1 are numbers, not answers."""
    if not isinstance(value, (bool, np.bool_)):
        _refuse(_where(), value, name, "True or False", TypeError)
    return bool(value)


def string(value: Any, name: str) -> str:
    """Check a string."""
    if not isinstance(value, str):
        _refuse(_where(), value, name, "a str", TypeError)
    return value


def text_or_bytes(value: Any, name: str) -> str | bytes:
    """Check a string that has an encoding in UTF-8, or bytes of any kind."""
    allowed = "a str without lone surrogates, or bytes"
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        _refuse(_where(), value, name, allowed, TypeError)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        _refuse(_where(), value[error.start : error.end], name, allowed, ValueError)
    return value


def documents(value: Any, name: str) -> list[str]:
    """Check a sequence of strings: a single string is none, though Python thinks so."""
    allowed = "a list or tuple of str"
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        _refuse(_where(), value, name, allowed, TypeError)
    return list(value)


def hashes(value: Any, name: str, *, ndim: int | None = None) -> NDArray[np.uint64]:
    """Check an array of 64-bit hashes; other integers are not hashes but perhaps a mistake."""
    allowed = "an array of uint64" + ("" if ndim is None else f" of {ndim} dimension(s)")
    if not isinstance(value, np.ndarray) or value.dtype != np.uint64:
        _refuse(_where(), value, name, allowed, TypeError)
    if ndim is not None and value.ndim != ndim:
        _refuse(_where(), value, name, allowed, ValueError)
    return value


def whole_numbers(value: Any, name: str, *, ndim: int = 1, low: int = 0) -> NDArray[np.int64]:
    """Check an array of whole numbers >= low."""
    allowed = f"whole numbers >= {low} in {ndim} dimension(s)"
    try:
        a = np.asarray(value)
    except ValueError:
        _refuse(_where(), value, name, allowed, TypeError)
    if a.size == 0 and a.ndim == ndim:
        return np.zeros(a.shape, np.int64)
    if a.dtype.kind not in "iu":
        _refuse(_where(), value, name, allowed, TypeError)
    if a.ndim != ndim or a.min() < low:
        _refuse(_where(), value, name, allowed, ValueError)
    return a.astype(np.int64)


def sequences(value: Any, name: str) -> list[NDArray[np.int64]]:
    """Check a list of sequences of token numbers."""
    allowed = "a list or tuple of sequences of whole numbers >= 0"
    if not isinstance(value, (list, tuple)):
        _refuse(_where(), value, name, allowed, TypeError)
    checked = []
    for item in value:
        try:
            a = np.asarray(item)
        except ValueError:
            _refuse(_where(), item, name, allowed, TypeError)
        if a.ndim != 1 or (a.size and a.dtype.kind not in "iu"):
            _refuse(_where(), item, name, allowed, TypeError)
        if a.size and a.min() < 0:
            _refuse(_where(), item, name, allowed, ValueError)
        checked.append(a.astype(np.int64))
    return checked


def token_ids(value: Any, name: str, *, vocab_size: int) -> NDArray[np.int64]:
    """Check a sequence of token numbers in [0, vocab_size)."""
    allowed = f"a sequence of whole numbers in [0, {vocab_size})"
    try:
        a = np.asarray(value)
    except ValueError:
        _refuse(_where(), value, name, allowed, TypeError)
    if a.size == 0 and a.ndim == 1:
        return np.zeros(0, np.int64)
    if a.dtype.kind not in "iu":
        _refuse(_where(), value, name, allowed, TypeError)
    if a.ndim != 1 or a.min() < 0 or a.max() >= vocab_size:
        _refuse(_where(), value, name, allowed, ValueError)
    return a.astype(np.int64)
