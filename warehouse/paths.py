"""Paths: what people do next, from node to node. A node is a type of touchpoint, a phase, a channel or a page.

The rules are those of a strict funnel of two steps. A visit of a node goes on to the customer's (or journey's)
very next touchpoint, in the order of (occurred_at, id), if it comes within the window; else it has ended there, or
is still open where the window has not ended at the watermark. So `count`, `entered`, `decided` and `rate` of a row
are those of the second step of `funnel([source, target], order="strict")`.

With a start, an end or a depth, each counts for one walk without a silence longer than the window: from the first
touchpoint of the period that takes the start (or the first of the period); to the first after it that takes the
end, or, where no start is asked for, all that leads to the first of the period that takes the end.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, Parts, QuestionError, answer, ask
from warehouse.basis import model_of, watermark
from warehouse.binds import Binds
from warehouse.durations import duration_ms
from warehouse.filters import only_what_journeys_hold
from warehouse.scope import Scope, where
from warehouse.statistics import wilson
from warehouse.steps import check_names, parse
from warehouse.walks import ARRIVED, ENDED, MOST_NODES, Walks, epoch_ms, node_of

OTHER = "other"
_LONGEST_MS = 20 * 365 * 86_400_000
_DEEPEST = 50


@analysis("paths", hidden=("entered", "decided", "concluded", "lost_lo", "lost_hi"))
def paths(
    connection: Engine,
    *,
    of: Annotated[Literal["type", "phase", "channel", "page"], Doc("What a node is.")] = "type",
    start: Annotated[str | None, Doc("Only what follows the first touchpoint that takes this step.")] = None,
    end: Annotated[str | None, Doc("Only what leads to the first touchpoint that takes this step.")] = None,
    within: Annotated[str, Doc("What comes later than this is no next step, e.g. 30m, 7d.")] = "7d",
    per: Annotated[Literal["customer", "journey"], Doc("Who is counted.")] = "customer",
    depth: Annotated[
        int | None, Doc("Tell apart the first so many places of a walk, or those before its end.")
    ] = None,
    loops: Annotated[bool, Doc("Show a node that follows itself; otherwise such visits are one.")] = True,
    most_edges: Annotated[int, Doc("Keep so many of the most walked transitions.")] = 50,
    least_share: Annotated[
        float, Doc("Leave out transitions that fewer than this share of their source's visits take, 0–1.")
    ] = 0.0,
    most_nodes: Annotated[int, Doc("Keep so many of the most visited nodes; the rest is other.")] = 60,
    rare: Annotated[float, Doc("Nodes with less than this share of all visits are other, 0–1.")] = 0.0,
    pages: Annotated[
        Sequence[str], Doc("Patterns of page paths that are one page each, e.g. /product/:id, /blog/*.")
    ] = (),
    **among: Unpack[Among],
) -> Answer:
    """What people do next: transitions between types, phases, channels or pages.

    One row per transition, the most walked first. Columns: place (of the source in the walk, from 1, or from the
    end, −1 being the last; 0: any), source, target, count (customers or journeys that went so), entered (those that
    visited the source), decided (of these, all but the open ones), rate (count of the decided, 0–1), lo, hi (95 %),
    walks (how often), share (of the visits of the source that went on, 0–1), median_s (to the target, the first
    time of each), lost (of the count, those that never converted afterwards and are silent for longer than the
    window), concluded (of the count, all of whom that is decided), lost_rate (0–1), lost_lo, lost_hi (95 %).

    `parts`: `nodes` (place, node, count, visits, went_on, ended, open, ended_rate), `links` (source, target: numbers
    of nodes from 0, value: count), as a Sankey diagram wants them, and `left_out` (transitions, walks). The period is
    of the source's time, and with a start, an end or a depth of the touchpoint that the walk is found by.
    QuestionError for a step, pattern, window or limit that cannot be.
    """
    scope = scope_of(connection, among)
    steps = [None if step is None else parse(step) for step in (start, end)]
    asked_steps = [step for step in steps if step is not None]
    check_names(connection, asked_steps)
    window = duration_ms(within)
    _check(window, within, depth, most_edges, most_nodes, {"least_share": least_share, "rare": rare})
    if pages and of != "page":
        raise QuestionError("patterns are for paths of pages", remedy='Ask for of="page", or leave them out.')
    up_to = watermark(connection)
    backwards = steps[0] is None and steps[1] is not None
    nodes = _nodes(connection, of, pages, scope, most_nodes, rare, backwards=backwards)
    walks = Walks(
        of=of,
        per=per,
        from_journeys=of != "page" and only_what_journeys_hold(asked_steps, None),
        nodes=nodes,
        other=len(nodes) + 1,
        pages=pages,
        converting=sorted(model_of(connection).converting_types),
        window=window,
        now=0 if up_to is None else epoch_ms(up_to),
        scope=scope,
        start=steps[0],
        end=steps[1],
        depth=depth,
        loops=loops,
    )
    found = _transitions(connection, walks)
    if found.pop("unordered").any():
        found = _transitions(connection, msgspec.structs.replace(walks, by_id=True)).drop(columns="unordered")
    names = {number: name for name, number in nodes.items()} | {walks.other: OTHER}
    counted = {name: "float64" if name == "median_ms" else "int64" for name in found.columns}
    visited = (
        pd.DataFrame(found).astype(counted).sort_values(["place", "source", "target"], ignore_index=True)
    )
    rows = _rows(visited, names, loops=loops)
    kept = rows[rows["share"] >= least_share].head(most_edges).reset_index(drop=True)
    parts = Parts(
        nodes=lambda: _nodes_part(visited, names, kept, loops=loops),
        links=lambda: _links(kept, parts["nodes"]),
        left_out=lambda: {
            "transitions": len(rows) - len(kept),
            "walks": int(rows["walks"].sum() - kept["walks"].sum()),
        },
    )
    return answer(
        kept,
        found.sql(),
        up_to,
        measures=Measures(
            keys=("place", "source", "target"),
            counts=("count", "walks"),
            rates={"rate": ("count", "decided"), "lost_rate": ("lost", "concluded")},
            figures=("share", "median_s"),
        ),
        parts=parts,
        noun="transitions",
    )


def _transitions(connection: Engine, walks: Walks) -> Answer:
    binds = Binds()
    return ask(connection, text(walks.transitions(binds)), binds)


def _check(
    window: int, within: str, depth: int | None, most_edges: int, most_nodes: int, shares: Mapping[str, float]
) -> None:
    if window > _LONGEST_MS:
        raise QuestionError(f'the window "{within}" is longer than 20 years', remedy="Write e.g. 30d.")
    limits = {
        "depth": (depth, _DEEPEST),
        "most_edges": (most_edges, 1_000_000),
        "most_nodes": (most_nodes, MOST_NODES),
    }
    for name, (value, most) in limits.items():
        if value is not None and not 1 <= value <= most:
            raise QuestionError(f"{name} is {value}", remedy=f"Let it be between 1 and {most}.")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise QuestionError(f"{name} is {share}", remedy="Let it be between 0 and 1, e.g. 0.02 for 2 %.")


_ARRAYS = {"type": "types", "phase": "phases", "channel": "channels"}


def _nodes(
    connection: Engine,
    of: str,
    pages: Sequence[str],
    scope: Scope,
    most: int,
    rare: float,
    *,
    backwards: bool,
) -> dict[str, int]:
    """Numbers, from 1, of the nodes that are told apart, the most visited of the period where there are too many."""
    if of in _ARRAYS and not rare:
        # what was replaced is read, too, which is faster and at worst names a node too many
        names = ask(connection, text(f"select distinct {of} as name from touchpoint_rows"))  # noqa: S608
        known = sorted(names["name"])
        if len(known) <= most:
            return _numbered(known)
    binds = Binds()
    # walks of the period lead out of it
    reached = msgspec.structs.replace(scope, until=None, since=None if backwards else scope.since)
    inside = " and ".join(scope.period("at", None, binds)) or "1"
    if of in _ARRAYS:
        conditions = where(reached.period("at", None, binds), scope.of_journeys(binds))
        source = f"journeys array join {_ARRAYS[of]} as name, ats as at {conditions}"
    else:
        conditions = where(reached.period("occurred_at", "occurred_on", binds), scope.of_touchpoints(binds))
        node = node_of(of, pages, binds)
        source = f"(select {node} as name, occurred_at as at from touchpoints {conditions})"  # noqa: S608
    found = ask(
        connection,
        text(f"""
            select toString(name) as name, countIf({inside}) as visits from {source}
            group by name order by visits desc, count() desc, name"""),  # noqa: S608
        binds,
    )
    least = rare * found["visits"].sum()
    return _numbered(
        [str(name) for name, n in zip(found["name"], found["visits"], strict=True) if n >= least][:most]
    )


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate((name for name in names if name != OTHER), start=1)}


_SOURCE = ["place", "source"]


def _rows(visited: pd.DataFrame, names: Mapping[int, str], *, loops: bool) -> pd.DataFrame:
    """The transitions with their rates, the most walked first."""
    of_source = visited.groupby(_SOURCE)[["entered", "entered_open"]].transform("sum")
    frame = visited.assign(
        entered=of_source["entered"],
        decided=of_source["entered"] - (of_source["entered_open"] - visited["count_open"]),
        concluded=visited["count"] - visited["undecided"],
    )
    frame = frame[~frame["target"].isin([ENDED, ARRIVED])]
    if not loops:
        frame = frame[frame["source"] != frame["target"]]
    frame["share"] = frame["walks"] / frame.groupby(_SOURCE)["walks"].transform("sum")
    frame["median_s"] = frame["median_ms"] / 1000
    for name, of, low, high in (
        ("rate", "decided", "lo", "hi"),
        ("lost_rate", "concluded", "lost_lo", "lost_hi"),
    ):
        successes = frame["count" if name == "rate" else "lost"]
        frame[name] = successes / frame[of].where(frame[of] > 0)
        bounds = [wilson(int(s), int(n)) for s, n in zip(successes, frame[of], strict=True)]
        frame[low], frame[high] = [one[0] for one in bounds], [one[1] for one in bounds]
    for column in ("source", "target"):
        frame[column] = pd.Series([names[number] for number in frame[column]], index=frame.index, dtype="str")
    return (
        frame.sort_values(["walks", "place", "source", "target"], ascending=[False, True, True, True])
        .reset_index(drop=True)[list(_DTYPES)]
        .astype(_DTYPES)
    )


def _nodes_part(
    visited: pd.DataFrame, names: Mapping[int, str], kept: pd.DataFrame, *, loops: bool
) -> pd.DataFrame:
    """A row per node that was visited as a source, then those that are targets alone."""
    frame = visited.assign(
        went_on=visited["walks"].where(~visited["target"].isin([ENDED, ARRIVED]), 0),
        open=visited["walks_open"].where(visited["target"] == ENDED, 0),
        ended=(visited["walks"] - visited["walks_open"]).where(visited["target"] == ENDED, 0),
        visits=visited["walks"],
    )
    if not loops:
        # a run of one node is one visit, which goes on when the run does
        frame = frame[visited["source"] != visited["target"]]
        frame = frame.assign(
            entered=visited.groupby(_SOURCE)["entered"].transform("sum").where(~frame.duplicated(_SOURCE), 0)
        )
    sums = frame.groupby(_SOURCE, as_index=False)[["entered", "visits", "went_on", "ended", "open"]].sum()
    sums["node"] = [names[number] for number in sums.pop("source")]
    known = set(zip(sums["place"], sums["node"], strict=True))
    step = (kept["place"] != 0).astype("int64")
    targets = set(zip(kept["place"] + step, kept["target"], strict=True)) - known
    alone = pd.DataFrame(
        [(place, node, 0, 0, 0, 0, 0) for place, node in sorted(targets)],
        columns=["place", "node", "entered", "visits", "went_on", "ended", "open"],
    )
    whole = pd.concat([sums, alone], ignore_index=True).rename(columns={"entered": "count"})
    decided = whole["visits"] - whole["open"]
    whole["ended_rate"] = whole["ended"] / decided.where(decided > 0)
    return (
        whole.sort_values(["place", "visits", "node"], ascending=[True, False, True])
        .reset_index(drop=True)[list(_NODE_DTYPES)]
        .astype(_NODE_DTYPES)
    )


def _links(kept: pd.DataFrame, nodes: pd.DataFrame) -> pd.DataFrame:
    number = {key: n for n, key in enumerate(zip(nodes["place"], nodes["node"], strict=True))}
    links = [
        (number[place, source], number[place + (place != 0), target], count)
        for place, source, target, count in kept[["place", "source", "target", "count"]].itertuples(
            index=False
        )
    ]
    return pd.DataFrame(links, columns=["source", "target", "value"]).astype("int64")


_DTYPES = {
    "place": "int64", "source": "str", "target": "str", "count": "int64", "entered": "int64",
    "decided": "int64", "rate": "float64", "lo": "float64", "hi": "float64", "walks": "int64",
    "share": "float64", "median_s": "float64", "lost": "int64", "concluded": "int64", "lost_rate": "float64",
    "lost_lo": "float64", "lost_hi": "float64",
}  # fmt: skip
_NODE_DTYPES = {
    "place": "int64", "node": "str", "count": "int64", "visits": "int64", "went_on": "int64",
    "ended": "int64", "open": "int64", "ended_rate": "float64",
}  # fmt: skip
