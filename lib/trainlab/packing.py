"""Packing documents of any length into rows of one length, so that no computation is padding.

A batch is a rectangle. Filling each row with one document and padding wastes most of it. Rows are
filled with several documents instead: cut from one long stream, or chosen so that they fit. Then
attention, positions and the loss have to know where one document ends and the next begins.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import integer, one_of
from ._text_checks import sequences, whole_numbers

__all__ = ["Packed", "best_fit", "document_mask", "pack", "pack_stream", "useful_share"]

Ints = NDArray[np.int64]


class Packed(NamedTuple):
    """Rows to train on, all arrays of shape (rows, length).

    Attributes
    ----------
    tokens : array of int64
        The model's input; padding is end_of_text.
    targets : array of int64
        The token after each one.
    loss_mask : array of bool
        False where the target means nothing.
    document_ids : array of int64
        Which document a token is of; -1 for padding.
    positions : array of int64
        Counted from 0 in every piece of a document.
    """

    tokens: Ints
    targets: Ints
    loss_mask: NDArray[np.bool_]
    document_ids: Ints
    positions: Ints


def pack(documents: Sequence[Any], *, length: int, end_of_text: int) -> Packed:
    """Pack whole documents into rows, each where it fits best.

    Parameters
    ----------
    documents : list or tuple of sequences of int
        The tokens of each document; empty ones are allowed.
    length : int
        Of a row, in tokens; >= 1. Longer documents are cut into pieces of it.
    end_of_text : int
        Token that is to be predicted after the last one of a document; >= 0. Also the padding.

    Returns
    -------
    Packed
        Every token of every document is an input once and, but for the first of a document, a
        target once; end_of_text is a target once a document and never an input. An empty document
        has no input, so it leaves no trace.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    Best fit, longest first: a piece goes into the row whose room it leaves least of. With
    `document_mask` and the positions a row then gives the same losses as its pieces one by one;
    without the mask, tokens also attend to documents that have nothing to do with them. A document
    that was cut loses the text before the cut as context.

    References
    ----------
    Krell, Kosec, Perez, Fitzgibbon (2021), Efficient Sequence Packing without Cross-contamination:
    Accelerating Large Language Models without Impacting Performance.
    Ding, Wang, Paolini, Kumar, Deoras, Roth, Soatto (2024), Fewer Truncations Improve Language
    Modeling.

    Examples
    --------
    >>> packed = pack([[1, 2, 3], [4, 5], [6]], length=4, end_of_text=0)
    >>> packed.tokens.tolist()
    [[1, 2, 3, 6], [4, 5, 0, 0]]
    >>> packed.targets.tolist()
    [[2, 3, 0, 0], [5, 0, 0, 0]]
    >>> packed.loss_mask.astype(int).tolist()
    [[1, 1, 1, 1], [1, 1, 0, 0]]
    """
    texts = sequences(documents, "documents")
    length = integer(length, "length", low=1)
    end_of_text = integer(end_of_text, "end_of_text", low=0)
    pieces = [
        (i, start, min(length, len(text) - start))
        for i, text in enumerate(texts)
        for start in range(0, len(text), length)
    ]
    sizes = np.array([size for _, _, size in pieces], np.int64)
    row_of = best_fit(sizes, length=length)
    packed = _empty(int(row_of.max(initial=-1)) + 1, length, end_of_text)
    filled = np.zeros(len(packed.tokens), np.int64)
    # Longest first, as they were placed, so that a row begins with its longest piece.
    for k in np.argsort(-sizes, kind="stable"):
        (i, start, size), row = pieces[k], row_of[k]
        place = (row, slice(filled[row], filled[row] + size))
        following = np.append(texts[i][start + 1 : start + 1 + size], end_of_text)
        packed.tokens[place] = texts[i][start : start + size]
        packed.targets[place] = following[:size]
        packed.loss_mask[place] = True
        packed.document_ids[place] = i
        packed.positions[place] = np.arange(size)
        filled[row] += size
    return packed


def pack_stream(documents: Sequence[Any], *, length: int, end_of_text: int) -> Packed:
    """Put all documents one after the other, end_of_text after each, and cut into rows.

    Parameters
    ----------
    documents : list or tuple of sequences of int
        The tokens of each document.
    length : int
        Of a row, in tokens; >= 1.
    end_of_text : int
        Token between documents; >= 0.

    Returns
    -------
    Packed
        Every token of the stream but the last is an input once, every one but the first a target
        once. Only the last row can have padding.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    The target of a row's last token is the first token of the next row. Where the input is
    end_of_text the target is the first token of the next document: the loss counts it, as usual
    with this way of packing. Nothing is wasted, but documents are cut wherever a row ends.

    References
    ----------
    Brown et al. (2020), Language Models are Few-Shot Learners.

    Examples
    --------
    >>> packed = pack_stream([[1, 2, 3], [4, 5], [6]], length=4, end_of_text=0)
    >>> packed.tokens.tolist()
    [[1, 2, 3, 0], [4, 5, 0, 6]]
    >>> packed.targets.tolist()
    [[2, 3, 0, 4], [5, 0, 6, 0]]
    >>> packed.positions.tolist()
    [[0, 1, 2, 3], [0, 1, 2, 0]]
    """
    texts = sequences(documents, "documents")
    length = integer(length, "length", low=1)
    end_of_text = integer(end_of_text, "end_of_text", low=0)
    ended = [np.append(text, end_of_text) for text in texts]
    stream = np.concatenate([np.zeros(0, np.int64), *ended])
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in ended])
    count = max(len(stream) - 1, 0)
    packed = _empty(-(-count // length), length, end_of_text)
    packed.tokens.flat[:count] = stream[:count]
    packed.targets.flat[:count] = stream[1:]
    packed.loss_mask.flat[:count] = True
    packed.document_ids.flat[:count] = owner[:count]
    # Each place minus the place where its piece begins, at a new row or a new document.
    place = np.arange(packed.tokens.size).reshape(-1, length)  # (rows, length)
    ids = packed.document_ids
    begins = np.ones(ids.shape, bool)
    begins[:, 1:] = ids[:, 1:] != ids[:, :-1]
    start = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    packed.positions[:] = np.where(ids >= 0, place - start, 0)
    return packed


def _empty(rows: int, length: int, end_of_text: int) -> Packed:
    shape = (rows, length)
    return Packed(
        np.full(shape, end_of_text, np.int64),
        np.full(shape, end_of_text, np.int64),
        np.zeros(shape, bool),
        np.full(shape, -1, np.int64),
        np.zeros(shape, np.int64),
    )


def best_fit(lengths: Any, *, length: int) -> Ints:
    """Assign documents to rows: longest first, each to the row that it fills best.

    Parameters
    ----------
    lengths : sequence of int, shape (documents,)
        Tokens of each document, in [0, length].
    length : int
        Tokens of a row, >= 1.

    Returns
    -------
    array of int64, shape (documents,)
        The row of each document; rows are numbered from 0 without a gap.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    This is "best-fit decreasing". It need not find the fewest rows, but is rarely far from them.
    Rows are kept by the room they have left, so that no document has to look at all of them.

    Examples
    --------
    >>> best_fit([3, 7, 5, 2, 3], length=10).tolist()
    [0, 0, 1, 1, 1]
    """
    sizes = whole_numbers(lengths, "lengths")
    length = integer(length, "length", low=1)
    if sizes.max(initial=0) > length:
        raise ValueError(
            f"best_fit: lengths must be at most length, {length}; got {sizes.max(initial=0)}"
        )
    row_of = np.zeros(len(sizes), np.int64)
    rows = 0
    rooms: list[int] = []  # the different rooms that are left, sorted
    with_room: dict[int, list[int]] = {}
    for k in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[k])
        at = bisect_left(rooms, size)
        if at < len(rooms):
            room = rooms[at]
            row = with_room[room].pop()
            if not with_room[room]:
                del with_room[room], rooms[at]
        else:
            room, row = length, rows
            rows += 1
        row_of[k] = row
        left = room - size
        if left not in with_room:
            with_room[left] = []
            insort(rooms, left)
        with_room[left].append(row)
    return row_of


def document_mask(document_ids: Any) -> NDArray[np.bool_]:
    """Tell which tokens each token may attend to: earlier ones of its own document, and itself.

    Parameters
    ----------
    document_ids : array of int, shape (rows, length)
        From `pack`; -1 for padding.

    Returns
    -------
    array of bool, shape (rows, length, length)
        [row, query, key], True where the query attends to the key. Padding attends to padding, so
        that no query is without a key; the loss mask keeps it out of the loss.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Examples
    --------
    >>> document_mask([[0, 0, 1, -1]]).astype(int).tolist()
    [[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]
    """
    ids = whole_numbers(document_ids, "document_ids", ndim=2, low=-1)
    same = ids[:, :, np.newaxis] == ids[:, np.newaxis, :]  # (rows, length, length)
    return np.tril(same)


def useful_share(
    lengths: Any, *, length: int, method: str = "best_fit", batch_size: int = 32
) -> float:
    """Measure how much of what a model computes is text, the rest being padding.

    Parameters
    ----------
    lengths : sequence of int, shape (documents,)
        Tokens of each document, in [1, length]; not empty.
    length : int
        The longest row, >= 1.
    method : {"best_fit", "stream", "pad_to_length", "pad_to_batch", "sorted_batches"}
        Packing as in `pack` or `pack_stream`; or one document a row, padded to `length`, or to the
        longest of its batch, taken in the given order or sorted by length.
    batch_size : int
        Rows of a batch for the last two methods, >= 1.

    Returns
    -------
    float
        In (0, 1]. The stream's separators count as text.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Examples
    --------
    >>> [useful_share([8, 2, 1, 1], length=8, method=m, batch_size=2)
    ...  for m in ("pad_to_length", "pad_to_batch", "best_fit")]
    [0.375, 0.6666666666666666, 0.75]
    """
    sizes = whole_numbers(lengths, "lengths", low=1)
    length = integer(length, "length", low=1)
    if not 0 < sizes.max(initial=0) <= length:
        raise ValueError(
            f"useful_share: lengths must be from 1 to length, {length}, and not empty; "
            f"got a largest of {sizes.max(initial=0)}"
        )
    methods = ("best_fit", "stream", "pad_to_length", "pad_to_batch", "sorted_batches")
    method = one_of(method, "method", methods)
    batch_size = integer(batch_size, "batch_size", low=1)
    text = int(sizes.sum())
    if method == "best_fit":
        return text / (length * (int(best_fit(sizes, length=length).max()) + 1))
    if method == "stream":
        count = text + len(sizes) - 1
        return count / (-(-count // length) * length)
    if method == "pad_to_length":
        return text / (length * len(sizes))
    if method == "sorted_batches":
        sizes = np.sort(sizes)
    starts = range(0, len(sizes), batch_size)
    batches = [sizes[start : start + batch_size] for start in starts]
    return text / sum(len(batch) * int(batch.max()) for batch in batches)
