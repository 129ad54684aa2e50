"""Networks of growing width on the digits with wrong labels, all layers trained; stored runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers.palette import FORWARD, HIGHLIGHT, MUTED, TEST, TRAIN
from trainlab.sweeps import stored_run
from trainlab.sweeps.double_descent_mlp import EPOCHS, GROUPS, NOISE, WATCHED, WIDTHS

Array = NDArray[np.float64]

_DASH_DOT = (0, (5, 1.5, 1, 1.5))


@dataclass(frozen=True)
class WidthsOfDigits:
    """Errors in percent and losses over WIDTHS, a column a seed; errors of one width over WATCHED.

    `stop` is the median epoch of the smallest validation loss, for each width.
    """

    width: int
    noise: float
    train: Array
    error: Array
    stopped: Array
    loss: Array
    stopped_loss: Array
    stop: Array
    train_path: Array
    path: Array


def _compute(width: int, noise: float) -> WidthsOfDigits:
    runs = [stored_run("double_descent_mlp", widths=list(g), noise=noise) for g in GROUPS]

    def all_of(key: str) -> Array:
        return np.concatenate([np.array(made[key], dtype=np.float64) for made in runs])

    at = WIDTHS.index(width)
    return WidthsOfDigits(
        width=width,
        noise=noise,
        train=100 * all_of("train_error"),
        error=100 * all_of("error"),
        stopped=100 * all_of("stopped_error"),
        loss=all_of("loss"),
        stopped_loss=all_of("stopped_loss"),
        stop=np.median(all_of("stop"), axis=1),
        train_path=100 * all_of("train_path")[at],
        path=100 * all_of("path")[at],
    )


def _readout(d: WidthsOfDigits) -> Readout:
    at = WIDTHS.index(d.width)
    error, stopped, train = (float(v[at].mean()) for v in (d.error, d.stopped, d.train))
    values: dict[str, float | Quantity] = {
        "Test error, last epoch": Quantity(error, "%"),
        "Standard deviation over seeds, last epoch": Quantity(float(d.error[at].std(ddof=1)), "%"),
        "Test error, best checkpoint": Quantity(stopped, "%"),
        "Training error, last epoch": Quantity(train, "%"),
        "Test loss, last epoch": Quantity(float(d.loss[at].mean()), "nats"),
        "Test loss, best checkpoint": Quantity(float(d.stopped_loss[at].mean()), "nats"),
        "Epoch of the best checkpoint (median)": float(d.stop[at]),
    }
    return Readout(
        values,
        f"{d.width} hidden units, {format_number(100 * d.noise)} % wrong labels: after "
        f"{EPOCHS} epochs {format_number(error, 3)} % of the test digits are classified wrong, and "
        f"{format_number(train, 3)} % of the training labels are not fitted; the checkpoint with "
        f"the smallest validation loss, near epoch {format_number(float(d.stop[at]))}, has "
        f"{format_number(stopped, 3)} % of the test digits wrong.",
    )


def _draw(left: Any, right: Any) -> dict[str, Any]:
    ax, below = left.subplots(2, 1, sharex=True, height_ratios=(5, 3))
    panel_label(ax, "Test error by hidden units, %")
    panel_label(below, "Test loss, nats")
    log_axis(below, "x", 2.7, 145)
    below.set_xticks([3, 6, 12, 32, 64, 128], ["3", "6", "12", "32", "64", "128"])
    ax.set_ylim(0, 98)
    below.set_ylim(0, 5)
    below.set_xlabel("hidden units")
    here = [axes.axvline(3, color=HIGHLIGHT, lw=1.4) for axes in (ax, below)]
    (train,) = ax.plot([], [], color=TRAIN, ls=":", label="training, last epoch")
    (last,) = ax.plot([], [], color=TEST, label="test, last epoch")
    (best,) = ax.plot([], [], color=FORWARD, ls=_DASH_DOT, label="test, best checkpoint")
    ax.legend(handles=[last, best, train], loc="upper right", borderpad=0, labelspacing=0.2)
    (seeds,) = ax.plot([], [], "o", color=TEST, ms=2.6, alpha=0.6)
    (last_loss,) = below.plot([], [], color=TEST)
    (best_loss,) = below.plot([], [], color=FORWARD, ls=_DASH_DOT)

    path = right.subplots()
    panel_label(path, "Error by epoch, %")
    log_axis(path, "x", 1, EPOCHS)
    path.set_ylim(0, 103)
    path.set_yticks([0, 20, 40, 60, 80])
    path.set_xlabel("epoch")
    stop = path.axvline(1, color=FORWARD, lw=1.4, ls=_DASH_DOT)
    (train_path,) = path.plot([], [], color=TRAIN, ls=":", label="training")
    (test_path,) = path.plot([], [], color=TEST, label="test")
    place = {"loc": "upper right", "bbox_to_anchor": (1, 0.91)}  # below the word
    path.legend(handles=[test_path, train_path], borderpad=0, labelspacing=0.2, **place)
    word = path.text(1, 97, "best checkpoint", color=FORWARD, va="center")
    (dot,) = path.plot([], [], "o", color=FORWARD, ms=7)
    label = path.text(1, 1.035, "", transform=path.transAxes, ha="right", color=MUTED)
    return {
        "here": here,
        "lines": [train, last, best, last_loss, best_loss],
        "seeds": seeds,
        "paths": [train_path, test_path],
        "stop": stop,
        "word": word,
        "dot": dot,
        "label": label,
    }


def _update(artists: dict[str, Any], d: WidthsOfDigits) -> None:
    at = WIDTHS.index(d.width)
    for line in artists["here"]:
        line.set_xdata([d.width, d.width])
    curves = (d.train, d.error, d.stopped, d.loss, d.stopped_loss)
    for line, values in zip(artists["lines"], curves, strict=True):
        line.set_data(WIDTHS, values.mean(axis=1))
    artists["seeds"].set_data(np.repeat(WIDTHS, d.error.shape[1]), d.error.ravel())
    for line, values in zip(artists["paths"], (d.train_path, d.path), strict=True):
        line.set_data(WATCHED, values)
    epoch = float(d.stop[at])
    artists["stop"].set_xdata([epoch, epoch])
    late = epoch > 14  # room for the word on its left
    artists["word"].set(x=epoch / 1.1 if late else epoch * 1.1, ha="right" if late else "left")
    artists["dot"].set_data([epoch], [float(d.stopped[at].mean())])
    artists["label"].set_text(f"{d.width} units")


digits_network = Explorer(
    name="double_descent.digits_network",
    title="Networks on digits, with wrong labels",
    caption=(
        "Networks with one hidden layer, all weights trained by Adam, on 500 digits of which a "
        "share has a wrong label; test labels are right. Lines are means of five seeds, dots "
        "single seeds. Left: after the last epoch, and at the checkpoint with the smallest loss "
        "on 300 validation digits, whose labels are as wrong. Right: the chosen width over time."
    ),
    controls=(
        Steps("width", "Hidden units", WIDTHS, 16),
        Steps("noise", "Wrong labels", NOISE, 0.4),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 370), (350, 370)),
)
