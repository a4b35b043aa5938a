"""Paths and variants the slow and obvious way, from the rules: one unit and one touchpoint after the other.

Shares no line with `warehouse`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median
from typing import Any

Takes = Callable[[Any], bool]
GONE, ARRIVED = "(gone)", "(arrived)"


@dataclass(frozen=True)
class Asked:
    """A question: the node of a touchpoint, the window in ms, the period in ms, what walks begin and end with."""

    node: Callable[[Any], str]
    window: int
    converts: Takes
    start: Takes | None = None
    end: Takes | None = None
    depth: int | None = None
    loops: bool = True
    since: int | None = None
    until: int | None = None

    def selects(self, t: Any) -> bool:
        return (self.since is None or t.at >= self.since) and (self.until is None or t.at < self.until)


@dataclass
class Edge:
    """What is counted of a transition."""

    units: list[str] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    walks: int = 0
    open: int = 0
    lost: int = 0
    undecided: int = 0


@dataclass(frozen=True)
class Visit:
    place: int
    at: int
    source: str
    target: str
    wait: int
    converts_later: bool


def transitions(
    units: Iterable[Sequence[Any]], asked: Asked, watermark: int
) -> dict[tuple[int, str, str], dict[str, Any]]:
    """By place, source and target: what paths says of it."""
    edges: dict[tuple[int, str, str], Edge] = {}
    entered: dict[tuple[int, str], int] = {}
    entered_open: dict[tuple[int, str], int] = {}
    leaving: dict[tuple[int, str], int] = {}
    for told in units:
        unit = sorted(told, key=lambda t: (t.at, t.id))
        visits = _walk(unit, asked)
        silent = unit[-1].at + asked.window < watermark
        for place, source in {(v.place, v.source) for v in visits}:
            of_source = [v for v in visits if (v.place, v.source) == (place, source)]
            still = max(v.at for v in of_source) + asked.window >= watermark
            entered[place, source] = entered.get((place, source), 0) + 1
            entered_open[place, source] = entered_open.get((place, source), 0) + still
            for target in {v.target for v in of_source} - {GONE, ARRIVED}:
                if target == source and not asked.loops:
                    continue
                edge = edges.setdefault((place, source, target), Edge())
                went = [v for v in of_source if v.target == target]
                edge.waits.append(went[0].wait)
                edge.walks += len(went)
                edge.open += still
                edge.lost += silent and not went[0].converts_later
                edge.undecided += not silent and not went[0].converts_later
                leaving[place, source] = leaving.get((place, source), 0) + len(went)
    return {
        (place, source, target): {
            "count": len(edge.waits),
            "entered": entered[place, source],
            "decided": entered[place, source] - entered_open[place, source] + edge.open,
            "walks": edge.walks,
            "share": edge.walks / leaving[place, source],
            "median_s": median(edge.waits) / 1000,
            "lost": edge.lost,
            "concluded": len(edge.waits) - edge.undecided,
        }
        for (place, source, target), edge in edges.items()
    }


def _walk(unit: Sequence[Any], asked: Asked) -> list[Visit]:
    """The visits that count, with where each goes on to."""
    following = [
        b if b is not None and b.at - a.at <= asked.window else None
        for a, b in zip(unit, [*unit[1:], None], strict=True)
    ]
    visits = [
        Visit(
            0,
            a.at,
            asked.node(a),
            GONE if b is None else asked.node(b),
            0 if b is None else b.at - a.at,
            any(asked.converts(t) for t in unit[n + 1 :]),
        )
        for n, (a, b) in enumerate(zip(unit, following, strict=True))
    ]
    if asked.start is None and asked.end is None and asked.depth is None:
        return [v for v, t in zip(visits, unit, strict=True) if asked.selects(t)]
    stretches = [list(of) for _, of in groupby(range(len(unit)), key=_stretch_numbers(following).__getitem__)]
    walk: list[int] = []
    if asked.end is not None and asked.start is None:
        ends = [n for n, t in enumerate(unit) if asked.end(t) and asked.selects(t)]
        if ends:
            walk = [n for n in next(s for s in stretches if ends[0] in s) if n <= ends[0]]
    else:
        begins = [
            n for n, t in enumerate(unit) if (asked.start is None or asked.start(t)) and asked.selects(t)
        ]
        if begins:
            walk = [n for n in next(s for s in stretches if begins[0] in s) if n >= begins[0]]
            if asked.end is not None:
                ends = [n for n in walk[1:] if asked.end(unit[n])]
                walk = [n for n in walk if n <= ends[0]] if ends else []
    chosen = [visits[n] for n in walk]
    if asked.end is not None and chosen:
        last = chosen[-1]
        chosen[-1] = Visit(0, last.at, last.source, ARRIVED, last.wait, last.converts_later)
    if asked.depth is None:
        return chosen
    if not asked.loops:
        chosen = [v for v in chosen if v.source != v.target]
    backwards = asked.end is not None and asked.start is None
    places = range(-len(chosen), 0) if backwards else range(1, len(chosen) + 1)
    return [
        Visit(place, v.at, v.source, v.target, v.wait, v.converts_later)
        for place, v in zip(places, chosen, strict=True)
        if abs(place) <= asked.depth
    ]


def _stretch_numbers(following: Sequence[Any]) -> list[int]:
    numbers, number = [], 0
    for after in following:
        numbers.append(number)
        number += after is None
    return numbers
