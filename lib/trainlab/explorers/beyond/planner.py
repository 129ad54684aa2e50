"""A planner: model, cards, links; layouts with their arithmetic."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from explorables import Choice, Explorer, Quantity, Readout, format_number
from trainlab.beyond import plan_layouts
from trainlab.layout import (
    Cluster,
    Layout,
    LayoutCost,
    ModelShape,
    activation_bytes,
    layout_cost,
)

BATCH, NODE, PEAK = 1024, 8, 312e12  # sequences; cards a node; FLOP/s in 16 bits
EFFICIENCY = 0.6  # assumed share of the peak that matrix products reach

MODELS: dict[str, ModelShape] = {
    "1.3B": ModelShape(24, 2048, 16, 50304, 4096),
    "7B": ModelShape(32, 4096, 32, 32000, 4096),
    "70B": ModelShape(80, 8192, 64, 32000, 4096),
    "175B": ModelShape(96, 12288, 96, 51200, 4096),
}
MODEL_NAMES: dict[str | int | float, str] = {
    "1.3B": "1.3 billion parameters, 24 layers",
    "7B": "6.6 billion, 32 layers",
    "70B": "65 billion, 80 layers",
    "175B": "175 billion, 96 layers",
}
LINKS: dict[str, tuple[float, float]] = {
    "fast": (300e9, 25e9),
    "ethernet": (300e9, 1.5e9),
    "slow": (25e9, 1.5e9),
}
LINK_NAMES: dict[str | int | float, str] = {
    "fast": "300 GB/s in a node, 25 GB/s out",
    "ethernet": "300 GB/s in a node, 1.5 GB/s out",
    "slow": "25 GB/s in a node, 1.5 GB/s out",
}
RECOMPUTED = {"none": "nothing", "selective": "attention", "full": "all"}
COLUMNS = ("Data parallel", "Fully sharded", "Planned")


@dataclass(frozen=True)
class Data:
    """Three layouts: copies, stage 3, and the fastest of all that fit (or the smallest)."""

    model: str
    cluster: Cluster
    costs: tuple[LayoutCost, ...]


def _best(costs: list[LayoutCost]) -> LayoutCost:
    fitting = [cost for cost in costs if cost.fits]
    if fitting:
        return min(fitting, key=lambda cost: cost.time)
    return min(costs, key=lambda cost: cost.memory)


def _compute(model: str, cards: int, memory: int, links: str) -> Data:
    shape = MODELS[model]
    near, far = LINKS[links]
    cluster = Cluster(cards, NODE, memory * 1e9, PEAK, near, far, efficiency=EFFICIENCY)

    def cost(layout: Layout) -> LayoutCost:
        return layout_cost(shape, cluster, layout=layout, global_batch=BATCH)

    shown = []
    for stage in (0, 3):
        options = itertools.product((1, 2, 4, 8), RECOMPUTED)
        tried = [
            Layout(1, 1, cards, b, stage, recompute, False)
            for b, recompute in options
            if BATCH % (cards * b) == 0
        ]
        shown.append(_best([cost(layout) for layout in tried]))
    planned = plan_layouts(shape, cluster, global_batch=BATCH, most=1)
    if not planned:  # the layout that comes closest
        pairs = [
            (t, p)
            for t, p in itertools.product((1, 2, 4, 8), (1, 2, 4, 8, 16, 32))
            if shape.num_layers % p == 0 and cards % (t * p) == 0
        ]
        tried = [
            Layout(t, p, cards // (t * p), 1, stage, "full", t > 1)
            for t, p in pairs
            for stage in ((1,) if p > 1 else (3,))
        ]
        planned = [_best([cost(layout) for layout in tried])]
    return Data(model, cluster, (*shown, planned[0]))


# What is written into the cells -------------------------------------------------------------------


def _gigabytes(number: float) -> str:
    return f"{format_number(number / 1e9, 3)} GB"


def _seconds(number: float) -> str:
    return "0" if number < 5e-4 else f"{format_number(number, 2)} s"


def _state_bytes(x: Layout) -> str:
    if x.data == 1 or x.stage == 0:
        return "16 B"
    return {1: f"(4 + 12/{x.data}) B", 2: f"(2 + 14/{x.data}) B", 3: f"16/{x.data} B"}[x.stage]


def _cells(data: Data, cost: LayoutCost) -> list[tuple[str, str]]:
    """Return arithmetic and result of each row."""
    x, shape = cost.layout, MODELS[data.model]
    blocks = shape.num_layers // x.pipeline
    one = activation_bytes(
        shape,
        micro_batch=x.micro_batch,
        tensor=x.tensor,
        recompute=x.recompute,
        sequence_parallel=x.sequence_parallel,
    )
    flight = min(x.pipeline, cost.microbatches)
    more = " + 1 block whole" if x.recompute == "full" else ""
    kind, word = ("fits", "fits") if cost.fits else ("over", "does not fit")
    verdict = f"<b class=xp-{kind}>{word}</b>"
    several = flight > 1
    cells = [
        (
            f"stage {x.stage}" if x.stage and x.data > 1 else "not sharded",
            f"{x.tensor} · {x.pipeline} · {x.data}",
        ),
        ("", f"{x.data} × {x.micro_batch} × {cost.microbatches}"),
        ("", RECOMPUTED[x.recompute]),
        ("", format_number(cost.params / 1e9, 3) + "·10⁹"),
        (f"× {_state_bytes(x)}", _gigabytes(cost.states)),
        (
            f"{f'{flight} × ' if several else ''}{blocks} × {_gigabytes(one)}{more}",
            _gigabytes(cost.activations),
        ),
        (f"{'+ ' + _gigabytes(cost.gathered) + ' gathered' if cost.gathered else ''}", ""),
        (verdict, f"<b>{_gigabytes(cost.memory)}</b>"),
    ]
    if cost.fits:
        waits = (cost.compute, cost.tensor_time, cost.pipeline_time, cost.data_time, cost.bubble)
        cells += [("", _seconds(wait)) for wait in waits]
        cells += [
            ("", f"<b>{_seconds(cost.time)}</b>"),
            ("", f"<b>{format_number(100 * cost.mfu, 2)} %</b>"),
        ]
    else:
        cells += [("", "–")] * 7
    return cells


ROWS = (
    "Ranks: tensor · pipeline · data",
    "Sequences: ranks × at once × in turn",
    "Computed again",
    "Parameters of a card",
    "Weights, gradients, Adam",
    "Activations",
    "",
    "Memory of the fullest card",
    f"Arithmetic, assumed at {100 * EFFICIENCY:.0f} % of the peak",
    "+ tensor parallel sums",
    "+ messages between stages",
    "+ gradients, gathers",
    "+ bubble",
    "= a step",
    "MFU",
)


def _view(data: Data) -> str:
    columns = [_cells(data, cost) for cost in data.costs]
    head = "".join(f"<th scope=col>{name}" for name in COLUMNS)
    rows = []
    for row, name in enumerate(ROWS):
        if not name:
            continue
        written = ""
        for cells in columns:
            small, large = cells[row]
            if name == "Memory of the fullest card" and cells[row - 1][0]:
                small = f"{cells[row - 1][0]} {small}"
            written += f"<td>{large}{f'<small>{small}</small>' if small else ''}"
        rows.append(f"<tr><th scope=row>{name}{written}")
    return (
        '<div class="xp-plan"><table>'
        f"<thead><tr><th scope=col>{data.cluster.cards} cards of "
        f"{format_number(data.cluster.memory / 1e9)} GB{head}<tbody>{''.join(rows)}</table></div>"
    )


def _readout(data: Data) -> Readout:
    plain, sharded, planned = data.costs
    x = planned.layout
    start = (
        f"Copies of the model need {_gigabytes(plain.memory)} a card, "
        f"{'which fits' if plain.fits else 'which does not fit'}; fully sharded "
        f"{_gigabytes(sharded.memory)}"
    )
    if planned.fits:
        kinds = f"{x.tensor} tensor, {x.pipeline} pipeline and {x.data} data parallel ranks"
        end = (
            f"The plan, {kinds}, takes {_gigabytes(planned.memory)} and "
            f"{_seconds(planned.time)} a step: {format_number(100 * planned.mfu, 2)} % of the "
            "peak."
        )
    else:
        end = (
            f"No layout fits: even the smallest takes {_gigabytes(planned.memory)} on its fullest "
            "card."
        )
    return Readout(
        {
            "A card, data parallel": Quantity(plain.memory / 1e9, "GB"),
            "A card, fully sharded": Quantity(sharded.memory / 1e9, "GB"),
            "A card, as planned": Quantity(planned.memory / 1e9, "GB"),
            "One copy, with gradients and Adam, fills": Quantity(
                plain.states / data.cluster.memory, "cards"
            ),
        },
        f"{start}. {end}",
    )


planner = Explorer(
    name="beyond.planner",
    title="A layout that fits",
    caption=f"Batches of {BATCH} sequences of 4096 tokens; nodes of {NODE} cards of 312 TFLOP/s, "
    f"of which matrix products are assumed to reach {100 * EFFICIENCY:.0f} %. Data parallel and "
    "fully sharded: the fastest choice of sequences at once and of recomputation that fits, or the "
    "smallest if none does. Planned: the fastest of all layouts. The text says what the estimates "
    "leave out.",
    controls=(
        Choice("model", "Model", MODEL_NAMES, "70B"),
        Choice("cards", "Cards", {8: "8 (one node)", 64: "64", 512: "512"}, 512),
        Choice("memory", "Memory of a card", {24: "24 GB", 80: "80 GB", 192: "192 GB"}, 80),
        Choice("links", "Links, each card's", LINK_NAMES, "ethernet"),
    ),
    compute=_compute,
    readout=_readout,
    view=_view,
)
