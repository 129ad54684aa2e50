"""The explorer as ipywidgets: every change computes, and sends the moving part only."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as w

from . import palette
from .controls import Choice, Control, Flips, Number, Seed, Steps, Text, Toggle, Value
from .explorer import Explorer, State
from .page import readout_html
from .picture import SvgPicture, picture_of

__all__ = ["KernelExplorer"]

SLOW = 0.05  # s; above this a slider reports when it is let go, not while it moves
_DARK = "body[data-jp-theme-light=false],body.vscode-dark,html[theme=dark]"


def _stylesheet() -> str:
    css = Path(__file__).parent / "static" / "explorables.css"
    return palette.stylesheet(":root", _DARK) + css.read_text(encoding="utf-8")


class _FlipRow(w.HBox):
    """One small button a bit; `mask` follows the buttons."""

    def __init__(self, control: Flips) -> None:
        self.control = control
        self._buttons = [
            w.ToggleButton(
                description=str(bit),
                tooltip=f"flip bit {bit}",
                layout=w.Layout(width="2.2em", margin="1px", padding="0"),
            )
            for bit in reversed(range(control.width))
        ]
        super().__init__(
            [w.Label(control.label), w.HBox(self._buttons, layout=w.Layout(flex_flow="row wrap"))]
        )

    def fit(self, state: State) -> None:
        """Show as many buttons as there are bits in a state."""
        for bit, button in enumerate(reversed(self._buttons)):
            button.layout.display = None if bit < self.control.count(state) else "none"

    def listen(self, react: Callable[[int], None]) -> None:
        """Call `react` with the mask after every press."""

        def pressed(_change: Any) -> None:
            react(sum(int(b.value) << i for i, b in enumerate(reversed(self._buttons))))

        for button in self._buttons:
            button.observe(pressed, names="value")


def _widget(control: Control) -> Any:
    style = {"description_width": "initial"}
    common: dict[str, Any] = {"description": control.label, "style": style}
    options = [(control.text(v), v) for v in control.values]
    if isinstance(control, Steps):
        # A long label stands above the track, instead of squeezing it to nothing.
        layout = w.Layout(width="32em", max_width="100%", height="auto", flex_flow="row wrap")
        return w.SelectionSlider(options=options, value=control.default, layout=layout, **common)
    if isinstance(control, Choice):
        return w.Dropdown(options=options, value=control.default, **common)
    if isinstance(control, Toggle):
        return w.Checkbox(value=control.default, indent=False, description=control.label)
    if isinstance(control, Number):
        return w.BoundedFloatText(
            value=control.default, min=control.low, max=control.high, step=None, **common
        )
    if isinstance(control, Seed):
        return w.BoundedIntText(value=control.default, min=0, max=2**31 - 1, **common)
    if isinstance(control, Text):
        return w.Text(value=control.default, continuous_update=False, **common)
    if isinstance(control, Flips):
        return _FlipRow(control)
    raise TypeError(f"control {control.name!r}: no widget for {type(control).__name__}")


def _layer(html: str) -> Any:
    # Still and moving part lie in the same grid cell, one on the other.
    return w.HTML(html, layout=w.Layout(grid_area="1 / 1 / 2 / 2", margin="0"))


class KernelExplorer(w.VBox):
    """An explorer in a notebook.

    Parameters
    ----------
    explorer : Explorer
        What is shown.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.state: State = dict(explorer.defaults)
        self._picture = picture_of(explorer)
        self._parts: list[Any] = []
        self._error = w.HTML()
        self._sentence = w.HTML()
        self._readout = w.HTML()
        self.controls = {c.name: _widget(c) for c in explorer.controls}
        # The style travels with the widget: outputs of other cells may be cleared at any time.
        panels = w.Box(
            self._panels(), layout=w.Layout(display="flex", flex_flow="row wrap", width="100%")
        )
        caption = w.HTML(
            f"<style>{_stylesheet()}</style>"
            f'<div class="explorer-note"><b>{escape(explorer.title)}.</b> '
            f"{escape(explorer.caption)}</div>"
        )
        bar = w.Box(
            list(self.controls.values()),
            layout=w.Layout(display="flex", flex_flow="row wrap", width="100%"),
        )
        super().__init__([bar, panels, self._sentence, self._readout, self._error, caption])
        start = time.perf_counter()
        self.refresh()
        slow = time.perf_counter() - start > SLOW
        for control in explorer.controls:
            field = self.controls[control.name]
            if isinstance(field, _FlipRow):
                field.fit(self.state)
                field.listen(partial(self.set, control.name))
                continue
            if isinstance(field, w.SelectionSlider):
                field.continuous_update = not slow
            field.observe(
                lambda change, name=control.name: self.set(name, change["new"]), names="value"
            )

    def _panels(self) -> list[Any]:
        if not isinstance(self._picture, SvgPicture):
            self._parts = [w.HTML()]
            return self._parts
        boxes = []
        for panel, still in zip(self._picture.panels, self._picture.backgrounds, strict=True):
            moving = _layer("")
            self._parts.append(moving)
            boxes.append(
                w.Box([_layer(panel.element(still)), moving], layout=w.Layout(display="grid"))
            )
        return boxes

    def set(self, name: str, value: Value) -> None:
        """Set one control, compute, and show."""
        self.state = {**self.state, name: value}
        for field in self.controls.values():
            if isinstance(field, _FlipRow):
                field.fit(self.state)
        self.refresh()

    def refresh(self) -> None:
        """Compute and show the present state; an error is shown, and the last picture stays."""
        try:
            data = self.explorer.run(**self.state)
            parts = self._picture.parts(data)
            readout = self.explorer.readout(data)
        except Exception as error:
            self._error.value = (
                f'<div class="explorer-status" role="alert"><b>{escape(str(error))}</b>'
                f"<details><summary>Traceback</summary><pre>{escape(traceback.format_exc())}</pre>"
                "</details></div>"
            )
            return
        if isinstance(self._picture, SvgPicture):
            parts = [
                panel.element(part) for panel, part in zip(self._picture.panels, parts, strict=True)
            ]
        for field, part in zip(self._parts, parts, strict=True):
            field.value = part
        self._sentence.value = (
            f'<p class="explorer-sentence" role="status">{escape(readout.sentence)}</p>'
        )
        self._readout.value = f'<dl class="explorer-readout">{readout_html(readout.rows())}</dl>'
        self._error.value = ""
