"""Advice about combining techniques, beside what the stored runs say: the table of the page."""

from __future__ import annotations

from typing import NamedTuple

from explorables import format_number
from trainlab.combinations import Interval, verdict
from trainlab.sweeps.combination_strengths import NOISES
from trainlab.sweeps.combinations import over_best

__all__ = ["ADVICE", "Row", "advice_table"]


class Row(NamedTuple):
    """What is said about a set of techniques, and what that is measured against."""

    advice: str
    techniques: tuple[str, ...]
    rivals: tuple[tuple[str, ...], ...]
    words: str = ""


def _alone(advice: str, *techniques: str) -> Row:
    return Row(advice, techniques, tuple((name,) for name in techniques))


ADVICE = (
    _alone("works well", "dropout", "weight decay"),
    _alone("works well", "batch norm", "weight decay"),
    _alone("works well", "layer norm", "dropout"),
    _alone("works well", "layer norm", "weight decay"),
    _alone("works well", "Adam", "weight decay"),
    _alone("caution", "batch norm", "dropout"),
    Row(
        "caution",
        ("batch norm", "dropout"),
        (("batch norm", "dropout at the end"),),
        "batch norm + dropout, against dropout after the last norm only",
    ),
    Row("caution", ("Adam", "L2"), (("Adam", "weight decay"),), "L2 in Adam, against AdamW"),
    _alone("caution", "dropout", "mixup", "label smoothing"),
    _alone("avoid", "batch norm", "layer norm"),
    Row(
        "starter stack",
        ("layer norm", "dropout", "weight decay", "Adam"),
        (("layer norm",), ("dropout",), ("weight decay",), ("Adam",)),
        "layer norm, dropout, AdamW",
    ),
)


def _cell(gain: Interval) -> str:
    low, high = (format_number(v, 2) for v in (gain.low, gain.high))
    said = verdict(gain)
    mark = {"helps": "ins", "hurts": "del"}.get(said, "span")
    mean = format_number(gain.mean, 2)
    return f"<td>{mean} <small>({low} to {high})</small> <{mark}>{said}</{mark}></td>"


def advice_table(metric: str) -> str:
    """Return the table in HTML: a row for each advice, a column for each kind of labels."""
    heads = (
        "said",
        "combination",
        "labels right",
        "a quarter wrong",
        "a quarter wrong, half doses",
    )
    rows = []
    for row in ADVICE:
        gains = [
            over_best(row.techniques, row.rivals, noise=noise, metric=metric, halved=halved)
            for noise, halved in ((NOISES[0], False), (NOISES[1], False), (NOISES[1], True))
        ]
        words = row.words or " + ".join(row.techniques)
        cells = "".join(map(_cell, gains))
        rows.append(f'<tr><td>{row.advice}</td><th scope="row">{words}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        '<div class="xp-advice" role="region" aria-label="Advice and measurements" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
