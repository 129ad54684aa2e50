"""Training in a format, with a loss scale or without, from a stored sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.numbers import superscript
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.mixed_precision_training import EVERY, INTERVAL, SHRINKS, STEPS, scales

__all__ = ["training"]

Array = NDArray[Any]

AT = np.arange(0, STEPS + 1, EVERY)
LOWEST, HIGHEST = 0, 46  # log2 of the scale


@dataclass(frozen=True)
class Data:
    """Losses of one run and of FP32, and log2 of the scale at each step."""

    format: str
    k: int
    scaler: str
    loss: Array
    reference: Array
    powers: Array
    skipped: Array
    zero: float
    accuracy: float


def _compute(format: str, k: int, scaler: str) -> Data:
    made = stored_run("mixed_precision_training", format=format, k=k, scaler=scaler)
    exact = stored_run("mixed_precision_training", format="FP32")
    return Data(
        format=format,
        k=k,
        scaler=scaler,
        loss=np.array(made["loss"]),
        reference=np.array(exact["loss"]),
        powers=np.array(scales(scaler, made["skipped"])),
        skipped=np.array(made["skipped"], int),
        zero=made["zero"],
        accuracy=made["accuracy"],
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Training loss")
    ax.set(xlim=(0, STEPS), xlabel="step")
    ax.set_xticks(range(0, STEPS + 1, 50))
    log_axis(ax, "y", 1e-3, 20)
    (reference,) = ax.plot([], [], color=palette.THEORY, lw=1.2)
    (loss,) = ax.plot([], [], color=palette.TRAIN, marker="o", ms=3.6, lw=1.6)
    name = ax.text(110, 11.5, "", color=palette.TRAIN, weight="bold")
    ax.text(110, 6.6, "thin line: FP32", color=palette.INK)
    ax = right.subplots()
    panel_label(ax, "Scale S")
    ax.set(xlim=(0, STEPS), ylim=(LOWEST - 2, HIGHEST), xlabel="step")
    ax.set_xticks(range(0, STEPS + 1, 50))
    ticks = (0, 8, 16, 24, 32, 40)
    ax.set_yticks(ticks, [f"2{superscript(t)}" if t else "1" for t in ticks])
    (scale,) = ax.plot([], [], color=palette.BACKWARD, lw=2, drawstyle="steps-post")
    (lost,) = ax.plot([], [], color=palette.WRONG, marker="x", mew=2, ms=6, ls="")
    key = ax.text(STEPS, -0.5, "", color=palette.WRONG, weight="bold", ha="right")
    return {
        "reference": reference,
        "loss": loss,
        "name": name,
        "scale": scale,
        "lost": lost,
        "key": key,
    }


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["reference"].set_data(AT, data.reference)
    artists["loss"].set_data(AT, data.loss)
    artists["name"].set_text(f"dots: {data.format}")
    artists["scale"].set_data(np.arange(STEPS), data.powers)
    artists["lost"].set_data(data.skipped, data.powers[data.skipped])
    artists["key"].set_text("×  overflow, step skipped" if len(data.skipped) else "")


def _words(data: Data) -> str:
    loss, exact = data.loss[-1], data.reference[-1]
    if bool(np.all(data.loss == data.loss[0])):
        return "every gradient is zero, and nothing moves"
    if loss > 1.5 * exact:
        return (
            f"the loss ends at {format_number(loss, 2)} instead of {format_number(exact, 2)}, "
            "because small gradients have become zero"
        )
    close = "as in FP32" if abs(loss / exact - 1) < 0.05 else "not far from that of FP32"
    same = f"the loss ends at {format_number(loss, 2)}, {close}"
    if not len(data.skipped):
        return same
    are = "overflow and are" if len(data.skipped) > 1 else "overflows and is"
    return f"{len(data.skipped)} of {STEPS} steps {are} skipped, and {same}"


SCALERS: dict[str | int | float, str] = {
    "none": "none, S = 1",
    "8": "static, S = 2⁸",
    "16": "static, S = 2¹⁶",
    "dynamic": "dynamic",
}
HOW = {
    "none": "no scale",
    "8": "a static scale of 2⁸",
    "16": "a static scale of 2¹⁶",
    "dynamic": "a dynamic scale",
}


def _readout(data: Data) -> Readout:
    how = HOW[data.scaler]
    small = f"gradients × 2{superscript(-data.k)}" if data.k else "gradients as they are"
    return Readout(
        {
            "Loss at the end": Quantity(float(data.loss[-1]), digits=2),
            "The same in FP32": Quantity(float(data.reference[-1]), digits=2),
            "Zero gradients at first": Quantity(100 * data.zero, "%", digits=2),
            "Steps skipped": Quantity(len(data.skipped)),
            "Last scale": Quantity(2.0 ** float(data.powers[-1]), digits=3),
            "Validation accuracy": Quantity(100 * data.accuracy, "%", digits=3),
        },
        f"{data.format}, {small}, {how}: {_words(data)}.",
    )


training = Explorer(
    name="mixed_precision.training",
    title="Training with a format and a scale",
    caption="A ReLU network learns 200 digits, with the loss times 2⁻ᵏ and the learning rate "
    "times 2ᵏ: in exact arithmetic the same training for each k. FP8 is E4M3 forward and E5M2 "
    "backward. Left: loss, without its factor. Right: scale of the loss; a dynamic one grows after "
    f"{INTERVAL} good steps (2000 in PyTorch), a cross is a step that is skipped.",
    controls=(
        Choice("format", "Format", {"FP16": "FP16", "BF16": "BF16", "FP8": "FP8"}, "FP16"),
        Steps("k", "k, gradients × 2⁻ᵏ", SHRINKS, 20),
        Choice("scaler", "Loss scale", SCALERS, "none"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 290), (345, 290)),
)
