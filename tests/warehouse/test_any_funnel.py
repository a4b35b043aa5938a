"""Any funnel is what its counting rules say: made-up customers against the reference that tries every way to walk
the steps. Among them are equal times, repeats, many entries, customers that were merged, touchpoints that came late,
were corrected or deleted.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.warehouse import funnel_reference as reference
from tests.warehouse.funnel_reference import Asked, Counted, Exclusion, Step, Unit
from tests.warehouse.stories import EPOCH_MS, MINUTE_MS, Told, empty, insert, load, moment, set_watermark
from warehouse import funnels
from warehouse.answer import Answer
from warehouse.funnel_customers import funnel_customers
from warehouse.funnel_question import ORDERS
from warehouse.tallies import OTHER

# what a step is called, and what takes it
STEPS: dict[str, Callable[[Told], bool]] = {
    "view": lambda t: t.type == "view",
    "cart": lambda t: t.type == "cart",
    "buy": lambda t: t.type == "buy",
    "view|cart": lambda t: t.type in ("view", "cart"),
    "*": lambda t: True,
    "@Purchase": lambda t: t.fields["phase"] == "Purchase",
    "*[channel=chat]": lambda t: t.fields["channel"] == "chat",
    "view[channel!=chat]": lambda t: t.type == "view" and t.fields["channel"] != "chat",
    "buy[queue=A]|cart": lambda t: (t.type == "buy" and t.fields["queue"] == "A") or t.type == "cart",
}
EXCLUDED = {"chat": lambda t: t.type == "chat", "*[queue=A]": lambda t: t.fields["queue"] == "A"}
FIELDS: dict[str, Callable[[Told], str]] = {
    "channel": lambda t: str(t.fields["channel"]),
    "queue": lambda t: str(t.fields["queue"]),
    "customer_id": lambda t: t.customer,
}
POPULATION, GAP_MS, LAST_MINUTE = 40, 4 * MINUTE_MS, 16
# minutes; the earlier, the more is open
WATERMARKS = (5, 12, 20, 60)
ZONE = "Asia/Kolkata"  # half an hour off


@dataclass(frozen=True, repr=False)  # Hypothesis writes out what it tries
class Population:
    """What happened, in the end; whose journey each touchpoint is of, and up to when all has arrived, ms."""

    told: list[Told]
    journeys: dict[str, str]
    watermark: int

    def units(self, per: str) -> list[Unit]:
        """The customers, journeys, transactions or accounts."""
        of: defaultdict[str, list[Told]] = defaultdict(list)
        accounts: defaultdict[str, set[str]] = defaultdict(set)
        for t in self.told:
            accounts[t.customer] |= {one for one in t.fields["identifiers"] if one.startswith("account_id:")}
        for t in self.told:
            own = [one for one in t.fields["identifiers"] if one.startswith("account_id:")]
            only = accounts[t.customer] if len(accounts[t.customer]) == 1 else set()
            name = {
                "customer": t.customer,
                "journey": self.journeys[t.id],
                "transaction": t.fields["transaction_id"],
                "account": min(own or only, default=None),
            }[per]
            if name is not None:
                of[name].append(t)
        return [Unit(name, told) for name, told in of.items()]

    def first_ever(self, takes: Callable[[Told], bool]) -> set[str]:
        """Ids of what each customer did first of this."""
        firsts: dict[str, Told] = {}
        for t in sorted(self.told, key=lambda t: (t.at, t.id)):
            if takes(t):
                firsts.setdefault(t.customer, t)
        return {t.id for t in firsts.values()}


def made_up(seed: int) -> list[Told]:
    """Customers with few types at few instants, so that equal times and exact ends of windows are common."""
    random = Random(seed)
    ids = [f"t{n:04}" for n in range(POPULATION * 7)]
    random.shuffle(ids)
    accounts = ["account_id:a", "account_id:b", "email:e@x.org"]
    return [
        Told(
            f"c{n:03}",
            EPOCH_MS + random.randint(0, LAST_MINUTE) * MINUTE_MS,
            random.choice(["view", "view", "cart", "buy", "chat"]),
            ids.pop(),
            {
                "channel": random.choice(["web", "chat", "voice"]),
                "phase": random.choice(["Awareness", "Purchase"]),
                "queue": random.choice(["", "A"]),
                "transaction_id": f"x{n:03}-{random.randint(0, 1)}",
                "identifiers": random.sample(accounts, k=random.choice([0, 0, 1, 1, 2])),
            },
        )
        for n in range(POPULATION)
        for _ in range(random.randint(1, 6))
    ]


@pytest.fixture(scope="module", params=range(len(WATERMARKS)))
def population(loader: Client, request: pytest.FixtureRequest) -> Iterator[Population]:
    """Made-up customers. At first each was two, a touchpoint lay on another day, one was not yet there and one was
    that is gone; then all was corrected.
    """
    seed = request.param
    told = made_up(seed=20260102 + seed)
    random = Random(seed)
    empty(loader)
    moved = {t.id for t in random.sample(told, k=10)}
    late = {t.id for t in random.sample(told, k=10)}
    gone = [Told(f"c{n:03}", EPOCH_MS + n * MINUTE_MS, "buy", f"gone{n}", told[0].fields) for n in range(10)]
    day = 86_400_000
    once = [
        Told(f"{t.customer}-{n % 2}", t.at - day * (t.id in moved), t.type, t.id, t.fields)
        for n, t in enumerate([*told, *gone])
        if t.id not in late
    ]
    before = load(loader, once, gap_ms=GAP_MS)
    after = load(loader, told, gap_ms=GAP_MS, version=2)
    keys = {(row["started_on"], row["id"]) for row in after}
    dead = [row for row in before if (row["started_on"], row["id"]) not in keys]
    insert(loader, "journey_rows", [{**row, "version": 2, "deleted": 1} for row in dead])
    stays = {(moment(t.at).date(), t.id) for t in told}
    insert(
        loader,
        "touchpoint_rows",
        [
            {"occurred_on": moment(t.at).date(), "id": t.id, "version": 2, "deleted": 1}
            for t in once
            if (moment(t.at).date(), t.id) not in stays
        ],
    )
    watermark = EPOCH_MS + WATERMARKS[seed] * MINUTE_MS
    set_watermark(loader, watermark)
    journeys = {id_: row["journey_id"] for row in after for id_ in row["touchpoint_ids"]}
    yield Population(told, journeys, watermark)
    empty(loader)


minutes = st.integers(0, 6).map(lambda n: n * MINUTE_MS)


@st.composite
def questions(draw: Callable[..., Any]) -> dict[str, Any]:
    order = draw(st.sampled_from(ORDERS))
    bounds = st.one_of(st.none(), st.integers(0, LAST_MINUTE).map(lambda m: EPOCH_MS + m * MINUTE_MS))
    since, until = draw(bounds), draw(bounds)
    if since is not None and until is not None and since >= until:
        until = None
    names = draw(st.lists(st.sampled_from(list(STEPS)), min_size=1, max_size=4))
    last = len(names)
    limited = order != "any" and draw(st.booleans())
    steps = []
    for n, name in enumerate(names):
        within, after = draw(st.one_of(st.none(), minutes)), draw(st.one_of(st.none(), minutes))
        if not limited or n == 0:
            within = after = None
        if within == 0 or (within is not None and after is not None and within < after):
            within = None
        steps.append(
            {
                "name": name,
                "optional": limited and 0 < n < last - 1 and draw(st.booleans()),
                "first_ever": draw(st.integers(0, 5)) == 0,
                "within": within,
                "after": after or None,
            }
        )
    exclude = []
    for name in draw(st.lists(st.sampled_from(list(EXCLUDED)), max_size=2)) if order != "strict" else []:
        ends = [n for n in range(1, last + 1) if not steps[n - 1]["optional"]]
        spans = [(a, b) for a in ends for b in ends if a < b] if order == "ordered" else []
        exclude.append((name, draw(st.sampled_from([None, *spans]))))
    by = draw(st.sampled_from([None, *FIELDS]))
    return {
        "steps": steps,
        "order": order,
        "window": draw(st.sampled_from([1, 3, 5, 30])) * MINUTE_MS,
        "exclude": exclude,
        "since": since,
        "until": until,
        "per": draw(st.sampled_from(["customer", "customer", "journey", "transaction", "account"])),
        "by": by,
        "value_of": draw(st.sampled_from(["entry", "entry", "last", "every", str(last)])),
        "trend": draw(st.sampled_from([None, "hour", "day", "week"])),
        "top": draw(st.sampled_from([2, 100])),
    }


@given(question=questions())
def test_any_funnel_is_that_of_the_reference(
    asked: Engine, population: Population, question: dict[str, Any]
) -> None:
    referred = as_reference(question, population)
    there = reference.counted(population.units(question["per"]), referred, population.watermark)
    arguments = as_arguments(question)
    found = funnels.funnel(asked, **arguments, top=question["top"], trend=question["trend"], timezone=ZONE)
    of: defaultdict[str, list[Counted]] = defaultdict(list)
    for one in there:
        of[one.value].append(one)
    expected = {value: reference.levels(ones, referred.steps) for value, ones in of.items()}
    whole = there
    if question["by"] is None:
        expected.setdefault("", reference.levels([], referred.steps))
    elif question["value_of"] == "every":
        alone = Asked(**{**vars(referred), "by": None})
        whole = reference.counted(population.units(question["per"]), alone, population.watermark)
    by_value = rows_of(found, question["by"])
    agree(by_value, merged(expected, of, referred.steps, question["top"]))
    if question["by"] is not None:
        agree(rows_of(found.parts["steps"], None), {"": reference.levels(whole, referred.steps)})
    same_trend(found, whole, len(referred.steps), question)


@settings(max_examples=settings.default.max_examples // 15)
@given(question=questions(), data=st.data())
def test_the_customers_of_any_funnel_are_those_it_counts(
    asked: Engine, population: Population, question: dict[str, Any], data: st.DataObject
) -> None:
    referred = as_reference(question, population)
    there = reference.counted(population.units(question["per"]), referred, population.watermark)
    last = len(referred.steps)
    step = data.draw(st.one_of(st.none(), st.integers(1, last)))
    state = data.draw(st.sampled_from([None, "reached", "open", "lost", "converted"]))

    def listed(one: Counted) -> bool:
        if state == "reached":
            return one.level >= (step or 1) and one.times[(step or 1) - 1] is not None
        if state == "converted":
            return one.level == last
        here = step is None or one.level == step
        return here and {None: True, "open": one.open, "lost": not one.open and one.level < last}[state]

    found = funnel_customers(asked, step=step, state=state, **as_arguments(question))
    rows = found.to_dict("records")
    assert sorted(
        (
            row[question["per"]],
            row[question["by"]] if question["by"] else "",
            row["step"],
            row["state"] == "open",
            round(row["entered_at"].timestamp() * 1000),
            round(row["last_at"].timestamp() * 1000),
        )
        for row in rows
    ) == sorted(
        (one.unit, one.value, one.level, one.open, one.times[0], one.times[-1])
        for one in there
        if listed(one)
    )
    assert found.parts["total"] == {"customers": len(rows)}


def as_reference(question: dict[str, Any], population: Population) -> Asked:
    steps = []
    for said in question["steps"]:
        takes = STEPS[said["name"]]
        if said["first_ever"]:
            firsts = population.first_ever(takes)
            takes = lambda t, firsts=firsts: t.id in firsts  # noqa: E731
        steps.append(Step(takes, said["optional"], said["within"] or reference.NEVER, said["after"] or 0))
    return Asked(
        steps=steps,
        window=question["window"],
        order=question["order"],
        exclude=[Exclusion(EXCLUDED[name], *(span or (1, 0))) for name, span in question["exclude"]],
        since=question["since"],
        until=question["until"],
        by=FIELDS[question["by"]] if question["by"] else None,
        value_of=question["value_of"],
    )


def as_arguments(question: dict[str, Any]) -> dict[str, Any]:
    def written(said: dict[str, Any]) -> str:
        limits = "".join(f" {name} {said[name]}ms" for name in ("within", "after") if said[name])
        return f"{'first ' * said['first_ever']}{said['name']}{'?' * said['optional']}{limits}"

    return {
        "steps": [written(said) for said in question["steps"]],
        "order": question["order"],
        "within": f"{question['window']}ms",
        "exclude": [
            name if span is None else f"{name}:{span[0]}-{span[1]}" for name, span in question["exclude"]
        ],
        "since": None if question["since"] is None else moment(question["since"]),
        "until": None if question["until"] is None else moment(question["until"]),
        "per": question["per"],
        "by": question["by"],
        "value_of": question["value_of"],
    }


Levels = dict[str, list[dict[str, Any]]]


def rows_of(frame: Any, by: str | None) -> Levels:
    """The rows of each value, what is missing as None."""
    names = list(reference.levels([], [Step(lambda t: True)])[0])
    rows: Levels = {}
    for row in frame.to_dict("records"):
        plain = {name: None if row[name] != row[name] else row[name] for name in names}
        rows.setdefault(str(row[by]) if by else "", []).append(plain)
    return rows


def merged(expected: Levels, of: dict[str, list[Counted]], steps: Any, top: int) -> Levels:
    """The most frequent values, and the others together."""
    order = sorted(expected, key=lambda value: (-expected[value][0]["count"], value))
    others = [one for value in order[top:] for one in of[value]]
    kept = {value: expected[value] for value in order[:top]}
    return kept | ({OTHER: reference.levels(others, steps)} if others else {})


def agree(found: Levels, expected: Levels) -> None:
    assert list(found) == list(expected)
    assert found == {value: [pytest.approx(row) for row in rows] for value, rows in expected.items()}


def same_trend(found: Answer, there: list[Counted], last: int, question: dict[str, Any]) -> None:
    if question["trend"] is None:
        assert "trend" not in found.parts
        return
    expected = reference.trend(there, last, question["trend"], ZoneInfo(ZONE))
    rows = found.parts["trend"]
    filled = {
        row["at"].to_pydatetime(): [row["count"], row["converted"], row["open"]]
        for row in rows.to_dict("records")
        if row["count"]
    }
    assert filled == expected
    assert rows["at"].is_monotonic_increasing
    assert rows["at"].is_unique
