"""The explorer as a piece of a built page: semantic HTML that stands without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from .controls import Choice, Control, Flips, Number, Seed, Steps, Toggle, Value
from .explorer import Explorer, State
from .picture import Picture
from .shown import Shown

__all__ = ["figure_html", "readout_html"]


def _attributes(**values: Any) -> str:
    return "".join(f' {k.replace("_", "-")}="{escape(str(v))}"' for k, v in values.items())


def _output(control: Control, ident: str, value: Value, *, hidden: bool = False) -> str:
    # The element that is moved already says its value: no second announcement.
    return (
        f'<output for="{ident}" aria-live="off"{" hidden" if hidden else ""}>'
        f"{escape(control.text(value))}</output>"
    )


def _row(*elements: str, more: str = "") -> str:
    return f'<div class="explorer-control{more}">{"".join(elements)}</div>'


def _control_html(control: Control, ident: str, value: Value) -> str:
    label = f'<label for="{ident}">{escape(control.label)}</label>'
    texts = json.dumps([control.text(v) for v in control.values], ensure_ascii=False)
    common = _attributes(id=ident, name=control.name, autocomplete="off", data_texts=texts)
    position = control.values.index(value)
    if isinstance(control, Steps):
        last = len(control.values) - 1
        if control.between:
            common += _attributes(data_between=control.between)
        field = (
            f'<input type="range" min="0" max="{last}" step="1" value="{position}"{common}'
            f"{_attributes(aria_valuetext=control.text(value))}>"
        )
        return _row(label, field, _output(control, ident, value))
    if isinstance(control, Choice):
        options = "".join(
            f'<option value="{i}"{" selected" if i == position else ""}>'
            f"{escape(control.text(v))}</option>"
            for i, v in enumerate(control.values)
        )
        field = f"<select{common}>{options}</select>"
        return _row(label, field, _output(control, ident, value, hidden=True))
    checked = " checked" if value else ""
    field = f'<input type="checkbox"{common}{checked}>'
    return _row(field, label, _output(control, ident, value, hidden=True), more=" explorer-check")


def _controls_html(explorer: Explorer, ident: str, state: State) -> Iterator[str]:
    group = ""
    for control in explorer.stored:
        wanted = control.group if isinstance(control, Toggle) else ""
        if wanted != group:
            if group:
                yield "</fieldset>"
            if wanted:
                yield f'<fieldset class="explorer-group"><legend>{escape(wanted)}</legend>'
            group = wanted
        yield _control_html(control, f"{ident}-{control.name}", state[control.name])
    if group:
        yield "</fieldset>"


def readout_html(rows: list[tuple[str, float, str]]) -> str:
    """Return the numbers under the picture as a description list."""
    return "".join(
        f'<dt>{escape(label)}</dt><dd data-value="{value!r}">{escape(text)}</dd>'
        for label, value, text in rows
    )


def _live_field(control: Control, ident: str) -> str:
    """Return a control that only Python can answer."""
    label = f'<label for="{ident}">{escape(control.label)}</label>'
    output = f'<output for="{ident}" aria-live="off" hidden></output>'
    common = _attributes(id=ident, name=control.name, autocomplete="off", value=control.default)
    if isinstance(control, Flips):
        if control.follows is not None:
            name, counts = control.follows
            common += _attributes(data_follows=name, data_counts=json.dumps([*counts.values()]))
        bits = "".join(
            f'<button type="button" data-bit="{bit}" aria-pressed="false" '
            f'aria-label="flip bit {bit}">{bit}</button>'
            for bit in reversed(range(control.width))
        )
        return (
            f'<fieldset class="explorer-flips"><legend>{escape(control.label)}</legend>'
            f'<input type="hidden" data-kind="flips"{common}>{bits}{output}</fieldset>'
        )
    if isinstance(control, Number):
        bounds = _attributes(min=control.low, max=control.high)
        return _row(label, f'<input type="number" step="any"{bounds}{common}>', output)
    if isinstance(control, Seed):
        return _row(label, f'<input type="number" step="1" min="0"{common}>', output)
    return _row(label, f'<input type="text" maxlength="10000" spellcheck="false"{common}>', output)


def _live_html(explorer: Explorer, ident: str) -> str:
    """Return what Python in the page adds: hidden until a script finds that it can be had."""
    only = [c for c in explorer.controls if c.live_only]
    fields = "".join(_live_field(c, f"{ident}-{c.name}") for c in only)
    note = ""
    if only:
        labels = escape(", ".join(c.label.lower() for c in only))
        note = f'<p class="explorer-note">Run the page as a notebook to set also: {labels}.</p>'
        fields = (
            '<div class="explorer-live" role="group" aria-label="Computed in this page" '
            f"data-live-only hidden>{fields}</div>"
        )
    return (
        f'{note}{fields}<p class="explorer-buttons">'
        '<button type="button" data-action="live" hidden>Compute live</button>'
        '<button type="button" data-action="stop" hidden>Stop</button></p>'
        '<p class="explorer-progress" role="status" hidden><span></span> '
        '<progress aria-label="downloaded"></progress> <small aria-hidden="true"></small></p>'
    )


def figure_html(explorer: Explorer, picture: Picture, shown: Shown, *, states_url: str) -> str:
    """Return the explorer in one state.

    Parameters
    ----------
    explorer : Explorer
        What is shown.
    picture : Picture
        Its still part.
    shown : Shown
        The state, as `states.show_state` returns it; a reset comes back to it.
    states_url : str
        Where the other states are, relative to the folder of the script.
    """
    ident = "explorer-" + explorer.name.replace(".", "-").replace("_", "-")
    state = {c.name: shown.state[c.name] for c in explorer.stored}
    attributes = _attributes(
        id=ident,
        data_explorer=explorer.name,
        data_host="baked",
        data_state=json.dumps(state, ensure_ascii=False),
        data_states=states_url,
        aria_busy="false",
        aria_label=explorer.title,
    )
    return (
        f'<figure class="explorer"{attributes}>'
        f'<div class="explorer-controls" role="group" aria-label="Controls">'
        f"{''.join(_controls_html(explorer, ident, state))}"
        '<button type="button" class="explorer-reset" data-action="reset" disabled>Reset</button>'
        "</div>"
        f"{_live_html(explorer, ident)}"
        f'<div class="explorer-picture explorer-{picture.kind}" role="img"'
        f"{_attributes(aria_label=shown.sentence)}>{picture.markup(shown.parts)}</div>"
        f'<p class="explorer-sentence" aria-live="polite">{escape(shown.sentence)}</p>'
        f'<dl class="explorer-readout">{readout_html(shown.rows)}</dl>'
        '<p class="explorer-status" role="status"></p>'
        '<div class="explorer-trouble" role="alert"></div>'
        f"<figcaption><strong>{escape(explorer.title)}.</strong> "
        f"{escape(explorer.caption)}</figcaption>"
        "</figure>"
    )
