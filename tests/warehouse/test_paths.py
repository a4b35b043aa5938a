"""Paths and variants are what their rules say, on made-up customers whom merges, late data and deletions changed,
and agree with the strict funnel of two steps.
"""

from collections.abc import Callable, Iterator
from random import Random
from statistics import median
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.warehouse.path_reference import Asked, transitions
from tests.warehouse.stories import (
    EPOCH_MS,
    MINUTE_MS,
    Told,
    empty,
    insert,
    load,
    moment,
    set_watermark,
)
from warehouse import funnels, paths, variants
from warehouse.answer import QuestionError

POPULATION, GAP_MS, LAST_MINUTE = 40, 5 * MINUTE_MS, 24
TYPES = ("search", "add_to_cart", "purchase", "chat_started", "page_view")
PAGES = ("/", "/product/1", "/product/22", "/product/22/", "/blog/a/b", "")
STEPS: dict[str, Callable[[Told], bool]] = {
    "search": lambda t: t.type == "search",
    "purchase": lambda t: t.type == "purchase",
    "*[channel=chat]": lambda t: t.fields["channel"] == "chat",
    "add_to_cart[queue=A]": lambda t: t.type == "add_to_cart" and t.fields["queue"] == "A",
}


class Population(list[list[Told]]):
    """Journeys: touchpoints that belong together, by customer."""

    def __repr__(self) -> str:
        return f"{len(self)} journeys"

    @property
    def customers(self) -> list[list[Told]]:
        of: dict[str, list[Told]] = {}
        for journey in self:
            of.setdefault(journey[0].customer, []).extend(journey)
        return list(of.values())


def made_up(random: Random, *, rare_types: int = 0) -> list[Told]:
    """Few types at few instants, so that equal times, repeats and exact ends of windows are common; and each of these
    many rare ones once.
    """
    ids = [f"t{n:04}" for n in range(POPULATION * 9 + rare_types)]
    random.shuffle(ids)
    rare = [f"rare_{n}" for n in range(rare_types)]
    return [
        Told(
            f"c{n:03}",
            EPOCH_MS + random.randint(0, LAST_MINUTE) * MINUTE_MS,
            type_,
            ids.pop(),
            {
                "channel": random.choice(["web", "chat"]),
                "phase": random.choice(["Awareness", "Purchase"]),
                "queue": random.choice(["", "A"]),
                "page_path": random.choice(PAGES),
            },
        )
        for n in range(POPULATION)
        for type_ in (*random.choices(TYPES, k=random.randint(1, 8)), *rare[n::POPULATION])
    ]


@pytest.fixture(scope="module", params=[0, 70], ids=["few types", "more types than a number has bits"])
def population(loader: Client, request: pytest.FixtureRequest) -> Iterator[Population]:
    """Some of it was somebody else's until two were merged, some came late, and some was there and is deleted."""
    random = Random(request.param)
    told = made_up(random, rare_types=request.param)
    empty(loader, "touchpoint_rows", "journey_rows")
    deleted = [Told("c000", t.at, t.type, f"gone-{t.id}", t.fields) for t in random.sample(told, 15)]
    before = [
        Told(f"{t.customer}-{n % 2}", t.at, t.type, t.id, t.fields) for n, t in enumerate(told) if n % 5
    ]
    once = load(loader, [*before, *deleted], gap_ms=GAP_MS)
    now = load(loader, told, gap_ms=GAP_MS, version=2)
    kept = {row["id"] for row in now}
    insert(
        loader, "journey_rows", [{**row, "version": 2, "deleted": 1} for row in once if row["id"] not in kept]
    )
    insert(
        loader,
        "touchpoint_rows",
        [{"id": t.id, "occurred_on": moment(t.at).date(), "version": 2, "deleted": 1} for t in deleted],
    )
    of = {t.id: t for t in told}
    yield Population([of[one] for one in row["touchpoint_ids"]] for row in now)
    empty(loader, "touchpoint_rows", "journey_rows")


def page(t: Told) -> str:
    path = t.fields["page_path"].rstrip("/") or t.fields["page_path"][:1]
    return {"/product/1": "/product/:n", "/product/22": "/product/:n", "": t.type}.get(path, path)


NODES: dict[str, Callable[[Told], str]] = {
    "type": lambda t: t.type,
    "phase": lambda t: t.fields["phase"],
    "channel": lambda t: t.fields["channel"],
    "page": page,
}


@st.composite
def questions(draw: Callable[..., Any]) -> dict[str, Any]:
    bounds = st.one_of(st.none(), st.integers(0, LAST_MINUTE).map(lambda m: EPOCH_MS + m * MINUTE_MS))
    since, until = draw(bounds), draw(bounds)
    if since is not None and until is not None and since >= until:
        until = None
    step = st.sampled_from([None, None, *STEPS])
    return {
        "of": draw(st.sampled_from(list(NODES))),
        "per": draw(st.sampled_from(["customer", "journey"])),
        "start": draw(step),
        "end": draw(step),
        "depth": draw(st.sampled_from([None, None, 1, 3])),
        "loops": draw(st.booleans()),
        "window": draw(st.sampled_from([1, 3, 5, 30])) * MINUTE_MS,
        "since": since,
        "until": until,
        "watermark": EPOCH_MS + draw(st.integers(0, 2 * LAST_MINUTE)) * MINUTE_MS,
    }


def put(asked: Engine, question: dict[str, Any], **more: Any) -> Any:
    return paths.paths(
        asked,
        **{name: question[name] for name in ("of", "per", "start", "end", "depth", "loops")},
        within=f"{question['window']}ms",
        since=None if question["since"] is None else moment(question["since"]),
        until=None if question["until"] is None else moment(question["until"]),
        most_edges=1000,
        most_nodes=100,
        **more,
    )


@given(question=questions())
def test_any_paths_are_those_of_the_reference(
    asked: Engine, loader: Client, population: Population, question: dict[str, Any]
) -> None:
    set_watermark(loader, question["watermark"])
    reference = Asked(
        node=NODES[question["of"]],
        window=question["window"],
        converts=lambda t: t.type == "purchase",
        start=STEPS.get(question["start"]),
        end=STEPS.get(question["end"]),
        depth=question["depth"],
        loops=question["loops"],
        since=question["since"],
        until=question["until"],
    )
    units = population if question["per"] == "journey" else population.customers
    expected = transitions(units, reference, question["watermark"])
    found = {
        (row["place"], row["source"], row["target"]): {
            name: row[name] for name in next(iter(expected.values()), {})
        }
        for row in put(asked, question).to_dict("records")
    }
    assert found == {key: pytest.approx(values) for key, values in expected.items()}


@pytest.mark.parametrize("seed", range(3))
def test_journeys_that_begin_at_one_instant_follow_each_other_by_their_ids(
    asked: Engine, loader: Client, seed: int
) -> None:
    """As where each touchpoint closes its journey."""
    random = Random(seed)
    told = [
        Told(t.customer, EPOCH_MS + random.randrange(3) * MINUTE_MS, t.type, t.id, t.fields)
        for t in made_up(random)
    ]
    empty(loader, "touchpoint_rows", "journey_rows")
    load(loader, random.sample(told, len(told)), gap_ms=-1)
    set_watermark(loader, EPOCH_MS)
    of: dict[str, list[Told]] = {}
    for one in sorted(told, key=lambda t: (t.at, t.id)):
        of.setdefault(one.customer, []).append(one)
    reference = Asked(node=NODES["type"], window=GAP_MS, converts=lambda t: t.type == "purchase")
    expected = transitions(list(of.values()), reference, EPOCH_MS)
    found = paths.paths(asked, within=f"{GAP_MS}ms")
    assert {(row["source"], row["target"]): row["walks"] for row in found.to_dict("records")} == {
        (source, target): values["walks"] for (_, source, target), values in expected.items()
    }
    assert "groupArray((started_at, id," in found.sql(), (
        "only by chance: the engine read so few rows in their order"
    )


FUNNELED = {"type": "{}", "phase": "@{}", "channel": "*[channel={}]"}


@settings(max_examples=settings.default.max_examples // 3)
@given(question=questions().filter(lambda q: q["of"] in FUNNELED), data=st.data())
def test_the_share_that_goes_on_is_that_of_the_strict_funnel_of_two_steps(
    asked: Engine, loader: Client, population: Population, question: dict[str, Any], data: st.DataObject
) -> None:
    set_watermark(loader, question["watermark"])
    plain = {**question, "per": "customer", "start": None, "end": None, "depth": None}
    rows = put(asked, plain).to_dict("records")
    if not rows:
        return
    row = data.draw(st.sampled_from(rows))
    steps = [FUNNELED[question["of"]].format(row[side]) for side in ("source", "target")]
    funnel = funnels.funnel(
        asked,
        steps,
        order="strict",
        within=f"{question['window']}ms",
        since=None if question["since"] is None else moment(question["since"]),
        until=None if question["until"] is None else moment(question["until"]),
    )
    entered, went = funnel.to_dict("records")
    assert (row["entered"], row["count"]) == (entered["count"], went["count"])
    assert row["decided"] == entered["count"] - entered["open"]
    assert row["rate"] == pytest.approx(went["rate"], nan_ok=True)


@given(
    of=st.sampled_from(["type", "phase", "channel"]), loops=st.booleans(), most=st.sampled_from([1, 3, 1000])
)
def test_any_variants_are_those_of_the_reference(
    asked: Engine, population: Population, of: str, loops: bool, most: int
) -> None:
    times: dict[str, list[int]] = {}
    for journey in population:
        names = [NODES[of](t) for t in journey]
        kept = [n for n, before in zip(names, [None, *names[:-1]], strict=True) if loops or n != before]
        times.setdefault(" > ".join(kept), []).append(journey[-1].at - journey[0].at)
    ranked = sorted(times.items(), key=lambda item: (-len(item[1]), item[0]))
    expected = [(name, len(lasted), median(lasted) / 1000) for name, lasted in ranked[:most]]
    if rest := [one for _, lasted in ranked[most:] for one in lasted]:
        expected.append(("other", len(rest), median(rest) / 1000))
    found = variants.variants(asked, of=of, loops=loops, most=most)
    assert list(zip(found["variant"], found["count"], found["median_s"], strict=True)) == expected


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a type that there is not": ({"start": "serch"}, "search"),
    "no window": ({"within": "0d"}, "7d"),
    "a window beyond all": ({"within": "9999w"}, "30d"),
    "no depth": ({"depth": 0}, "between 1 and"),
    "too many nodes": ({"most_nodes": 1000}, "between 1 and"),
    "a share beyond all": ({"least_share": 2.0}, "between 0 and 1"),
    "patterns of no pages": ({"pages": ["/a"]}, "page"),
    "a pattern that is none": ({"of": "page", "pages": ["product"]}, "slash"),
}


@pytest.mark.parametrize(("asking", "remedy"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_asked_of_paths_is_said_with_a_way_out(
    asked: Engine, population: Population, asking: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(QuestionError) as raised:
        paths.paths(asked, **asking)
    assert remedy in (raised.value.remedy or "")


def test_rare_nodes_are_other(asked: Engine, population: Population) -> None:
    found = paths.paths(asked, most_nodes=2)
    assert set(found["source"]) | set(found["target"]) <= {*TYPES, "other"}
    assert len(set(found["source"])) == 3


def test_pages_of_one_pattern_are_one(asked: Engine, population: Population) -> None:
    found = paths.paths(asked, of="page", pages=["/product/:id", "/blog/*"]).parts["nodes"]
    assert {"/", "/product/:id", "/blog/*"} <= set(found["node"])
    assert not {"/product/:n", "/blog/a/b"} & set(found["node"])


def test_links_are_numbers_of_nodes(asked: Engine, population: Population) -> None:
    found = paths.paths(asked, start="search", depth=2, most_edges=5)
    nodes, links = found.parts["nodes"], found.parts["links"]
    named = [
        (nodes["place"][a], nodes["node"][a], nodes["node"][b], value)
        for a, b, value in links.itertuples(index=False)
    ]
    assert named == list(found[["place", "source", "target", "count"]].itertuples(index=False, name=None))
