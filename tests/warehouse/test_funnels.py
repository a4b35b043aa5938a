"""Funnels are what their counting rules say: each rule as a hand-worked case, and all of them on made-up
customers against the reference that tries every way to walk the steps.
"""

# ruff: noqa: E501  a case is a line

import re
from collections.abc import Callable
from math import hypot
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from tests.warehouse.stories import (
    EPOCH_MS,
    MINUTE_MS,
    Told,
    empty,
    load,
    moment,
    set_watermark,
    story,
)
from warehouse import funnels
from warehouse.answer import QuestionError

LATER = EPOCH_MS + 10_000 * MINUTE_MS

# `>` between steps; `0 view, 10 buy channel=chat`: minute, type, fields. Reached: customers at each step.
ORDERED = {
    "the window includes its last ms":             ("view>buy", "10m", "0 view, 10 buy", [1, 1]),
    "the window ends with its last ms":            ("view>buy", "10m", "0 view, 10.0001 buy", [1, 0]),
    "the window is from the entry, not the step before":
                                                   ("view>cart>buy", "10m", "0 view, 6 cart, 12 buy", [1, 1, 0]),
    "others may lie between":                      ("view>buy", "10m", "0 view, 2 chat, 3 view, 4 buy", [1, 1]),
    "one touchpoint satisfies one step only":      ("view>view", "10m", "0 view", [1, 0]),
    "two touchpoints satisfy the same step twice": ("view>view", "10m", "0 view, 1 view", [1, 1]),
    "equal times may be taken in either order":    ("view>buy", "10m", "5 buy, 5 view", [1, 1]),
    "equal times are still two touchpoints":       ("view>view", "10m", "5 view, 5 view", [1, 1]),
    "before is before":                            ("view>buy", "10m", "4 buy, 5 view", [1, 0]),
    "a step that was skipped is not reached":      ("view>cart>buy", "10m", "0 view, 1 buy", [1, 0, 0]),
    "a later entry may go deeper":                 ("view>buy", "10m", "0 view, 20 view, 25 buy", [1, 1]),
    "an earlier entry may have gone deeper":       ("view>buy", "10m", "0 view, 5 buy, 20 view", [1, 1]),
    "a new entry does not end the try":            ("view>cart>buy", "10m", "0 view, 1 cart, 2 view, 3 buy", [1, 1, 1]),
    "the deepest of many entries counts, once":    ("view>cart>buy", "5m", "0 view, 1 cart, 9 view, 20 view, 21 cart, 22 buy", [1, 1, 1]),
    "who never enters is not counted":             ("view>buy", "10m", "0 buy, 1 cart", [0, 0]),
    "nobody at all":                               ("view>buy", "10m", "", [0, 0]),
    "a funnel of one step":                        ("view", "10m", "0 view, 3 view", [1]),
    "a day-long story over several journeys":      ("view>buy", "60d", "0 view, 60000 buy", [1, 1]),
    "alternatives":                                ("view|cart>buy", "10m", "0 cart, 1 buy", [1, 1]),
    "anything":                                    ("*>buy", "10m", "0 chat, 1 buy", [1, 1]),
    "a step of anything takes no touchpoint twice": ("*>*", "10m", "0 chat", [1, 0]),
    "a phase":                                     ("@Awareness>@Purchase", "10m", "0 view, 1 buy phase=Purchase", [1, 1]),
    "a phase that was not reached":                ("@Awareness>@Purchase", "10m", "0 view, 1 buy", [1, 0]),
    "a filter":                                    ("view>buy[channel=chat]", "10m", "0 view, 1 buy, 2 buy channel=chat", [1, 1]),
    "a filter that nothing meets":                 ("view>buy[channel=chat]", "10m", "0 view, 1 buy", [1, 0]),
    "a filter of what is not so":                  ("view>buy[channel!=web]", "10m", "0 view, 1 buy channel=chat", [1, 1]),
    "two filters are both met":                    ("view[channel=web,queue=A]", "10m", "0 view queue=A channel=chat, 1 view queue=B", [0]),
    "a filter on an amount compares numbers":      ("buy[amount>9.5]", "10m", "0 buy amount=10", [1]),
    "an amount is equal as a number":              ("buy[amount=10.0]", "10m", "0 buy amount=10", [1]),
    "what is not set is not greater":              ("buy[amount>=0]", "10m", "0 buy", [0]),
    "what is not set is not smaller":              ("buy[amount<1]", "10m", "0 buy", [0]),
    "what is not set differs from any number":     ("buy[amount!=0]", "10m", "0 buy", [1]),
    "zero is set":                                 ("buy[amount=0]", "10m", "0 buy amount=0", [1]),
    "a property":                                  ("view[properties.plan=pro]", "10m", '0 view properties={"plan":"pro"}', [1]),
    "a property of another value":                 ("view[properties.plan=pro]", "10m", '0 view properties={"plan":"free"}', [0]),
    "equal times, one good for both steps, taken first":
                                                   ("*[channel=chat]>buy", "10m", "5 buy channel=chat, 5 view channel=chat", [1, 1]),
    "equal times, each good for the step the other lacks":
                                                   ("buy>view>buy", "10m", "5 view, 5 buy, 5 buy", [1, 1, 1]),
    "equal times, one touchpoint is not two":      ("buy>view>buy", "10m", "5 view, 5 buy", [1, 1, 0]),
    "equal times, continued from before":          ("buy>view>buy", "10m", "1 buy, 5 view, 5 buy", [1, 1, 1]),
    "equal times, the last one has the choice":    ("view>*>buy", "10m", "5 view, 5 buy, 5 chat", [1, 1, 1]),
    "equal times across the window's end":         ("view>cart>buy", "5m", "0 view, 5 buy, 5 cart", [1, 1, 1]),
}  # fmt: skip

STRICT = {
    "the very next touchpoint":                    ("view>buy", "10m", "0 view, 1 buy", [1, 1]),
    "any other breaks the chain":                  ("view>buy", "10m", "0 view, 1 chat, 2 buy", [1, 0]),
    "the same again breaks it, and begins anew":   ("view>buy", "10m", "0 view, 1 view, 2 buy", [1, 1]),
    "the right type that fails its filter breaks it": ("view>buy[channel=chat]", "10m", "0 view, 1 buy, 2 buy channel=chat", [1, 0]),
    "equal times are in the order of their ids":   ("view>buy", "10m", "5 view, 5 buy", [1, 1]),
    "equal times, the other way round":            ("view>buy", "10m", "5 buy, 5 view", [1, 0]),
    "an id between":                               ("view>buy", "10m", "5 view, 5 chat, 5 buy", [1, 0]),
    "the window holds, too":                       ("view>buy", "10m", "0 view, 10.0001 buy", [1, 0]),
    "over the end of a journey":                   ("view>buy", "60d", "0 view, 60000 buy", [1, 1]),
    "a touchpoint of the journey between":         ("view>buy", "90d", "0 view, 60000 chat, 120000 buy", [1, 0]),
    "the same step twice":                         ("view>view", "10m", "0 view, 1 view", [1, 1]),
    "a filter that journeys do not hold":          ("view>buy[queue=A]", "10m", "0 view, 1 buy queue=A", [1, 1]),
    "broken by what takes no step, from touchpoints": ("view>buy[queue=A]", "10m", "0 view, 1 chat, 1 buy queue=A", [1, 0]),
}  # fmt: skip

ANY = {
    "in whichever order":                          ("view>buy", "10m", "0 buy, 1 view", [1, 1]),
    "each different step is a level":              ("view>cart>buy", "10m", "0 buy, 1 view", [1, 1, 0]),
    "the same step again is no level":             ("view>buy", "10m", "0 view, 1 view", [1, 0]),
    "the window starts at the first of them":      ("view>buy", "10m", "0 buy, 11 view", [1, 0]),
    "the window includes its last ms":             ("view>buy", "10m", "0 buy, 10 view", [1, 1]),
    "a later one may go deeper":                   ("view>cart>buy", "10m", "0 buy, 20 view, 25 cart, 30 buy", [1, 1, 1]),
    "one touchpoint is one step":                  ("view>*", "10m", "0 view", [1, 0]),
    "steps are given to touchpoints as it fits":   ("*>view", "10m", "0 view, 1 chat", [1, 1]),
    "a step that is asked twice needs two":        ("view>view", "10m", "0 view, 1 view", [1, 1]),
    "equal times":                                 ("view>buy", "10m", "5 view, 5 buy", [1, 1]),
}  # fmt: skip

EXCLUDED = {
    "between entry and end":                       ("view>buy", "0 view, 1 chat, 2 buy", [0, 0]),
    "before the entry":                            ("view>buy", "0 chat, 1 view, 2 buy", [1, 1]),
    "after the end":                               ("view>buy", "0 view, 1 buy, 2 chat", [1, 1]),
    "at the time of the entry":                    ("view>buy", "0 view, 0 chat, 2 buy", [1, 1]),
    "at the time of the end":                      ("view>buy", "0 view, 2 chat, 2 buy", [1, 1]),
    "in the window of who never arrives":          ("view>buy", "0 view, 9 chat", [0, 0]),
    "after the window of who never arrives":       ("view>buy", "0 view, 11 chat", [1, 0]),
    "a later entry is not spoiled":                ("view>buy", "0 view, 1 chat, 2 view, 3 buy", [1, 1]),
    "a later end of the same depth is not spoiled": ("view>buy", "0 view, 1 chat, 2 buy, 5 view, 6 buy", [1, 1]),
    "a shallower try does not step in":            ("view>buy", "0 view, 1 chat, 2 buy, 30 view", [0, 0]),
    "an earlier end is not spoiled by what follows": ("view>buy", "0 view, 1 buy, 2 chat, 3 buy", [1, 1]),
    "the deepest is spoiled in its open end":      ("view>cart>buy", "0 view, 1 cart, 2 chat", [0, 0, 0]),
}  # fmt: skip

EXCLUDED_ANY = {
    "between the first and the last":              ("view>buy", "0 buy, 1 chat, 2 view", [1, 0]),
    "after the last":                              ("view>buy", "0 buy, 2 view, 3 chat", [1, 1]),
    "it wipes progress, and what follows counts":  ("view>buy>cart", "0 buy, 1 view, 2 chat, 3 cart", [1, 0, 0]),
    "all is wiped":                                ("view>buy", "0 buy, 1 chat", [0, 0]),
}  # fmt: skip

OPTIONAL = {
    "it may be left out":                          ("view>cart?>buy", "10m", "0 view, 2 buy", [1, 0, 1]),
    "it is taken where it can be":                 ("view>cart?>buy", "10m", "0 view, 1 cart, 2 buy", [1, 1, 1]),
    "what comes after the next step is too late":  ("view>cart?>buy", "10m", "0 view, 2 buy, 3 cart", [1, 0, 1]),
    "one who took it and went no further":         ("view>cart?>buy", "10m", "0 view, 1 cart", [1, 1, 0]),
    "of two in a row one may be left out":         ("view>cart?>chat?>buy", "10m", "0 view, 2 chat, 3 buy", [1, 0, 1, 1]),
    "of two in a row both may be":                 ("view>cart?>chat?>buy", "10m", "0 view, 3 buy", [1, 0, 0, 1]),
    "two in a row are taken in their order":       ("view>cart?>chat?>buy", "10m", "0 view, 1 chat, 2 cart, 3 buy", [1, 1, 0, 1]),
    "of one time others take the step before it":  ("chat>view|cart>view?>cart", "10m", "0 chat, 1 view, 1 cart, 1 cart", [1, 1, 1, 1]),
}  # fmt: skip

LIMITED = {
    "within includes its last ms":                 ("view>buy within 2m", "10m", "0 view, 2 buy", [1, 1]),
    "within ends with its last ms":                ("view>buy within 2m", "10m", "0 view, 2.0001 buy", [1, 0]),
    "within is from the step before":              ("view>cart>buy within 2m", "10m", "0 view, 5 cart, 6 buy", [1, 1, 1]),
    "within, from a later step before":            ("view>cart>buy within 2m", "10m", "0 view, 1 cart, 5 cart, 6 buy", [1, 1, 1]),
    "within, from a later entry":                  ("view>buy within 2m", "10m", "0 view, 5 view, 6 buy", [1, 1]),
    "within, and the window all the same":         ("view>cart>buy within 9m", "10m", "0 view, 5 cart, 11 buy", [1, 1, 0]),
    "after includes its first ms":                 ("view>buy after 2m", "10m", "0 view, 2 buy", [1, 1]),
    "after begins with its first ms":              ("view>buy after 2m", "10m", "0 view, 1.9999 buy", [1, 0]),
    "after, the next one is late enough":          ("view>buy after 2m", "10m", "0 view, 1 buy, 3 buy", [1, 1]),
    "after and within":                            ("view>buy after 2m within 4m", "10m", "0 view, 1 buy, 5 buy", [1, 0]),
    "a limit is from the step that was taken before":
                                                   ("view>cart?>buy within 2m", "10m", "0 view, 4 cart, 5 buy", [1, 1, 1]),
    "a step that was left out is no step before":  ("view>cart?>buy within 2m", "10m", "0 view, 4 buy", [1, 0, 0]),
}  # fmt: skip

FIRST_EVER = {
    "the first of all is an entry":                ("first view>buy", "10m", "0 view, 1 buy", [1, 1]),
    "a later one is none":                         ("first view>buy", "10m", "0 view, 20 view, 21 buy", [1, 0]),
    "a step that was done before the entry":       ("view>first buy", "10m", "0 buy, 1 view, 2 buy", [1, 0]),
    "the first with its filter":                   ("first view[channel=chat]>buy", "10m", "0 view, 20 view channel=chat, 21 buy", [1, 1]),
}  # fmt: skip

EXCLUDED_BETWEEN = {  # the second and the third step
    "before the first of them":                    ("view>cart>buy", "0 view, 1 chat, 2 cart, 3 buy", [1, 1, 1]),
    "between them":                                ("view>cart>buy", "0 view, 1 cart, 2 chat, 3 buy", [0, 0, 0]),
    "the second of them is not reached":           ("view>cart>buy", "0 view, 1 cart, 2 chat", [0, 0, 0]),
    "after the window, the second not reached":    ("view>cart>buy", "0 view, 1 cart, 11 chat", [1, 1, 0]),
    "the first of them is not reached":            ("view>cart>buy", "0 view, 1 chat", [1, 0, 0]),
    "another of the deepest tries is not spoiled": ("view>cart>buy", "0 view, 1 cart, 2 chat, 3 cart, 4 buy", [1, 1, 1]),
}  # fmt: skip

PER_TRANSACTION = {
    "each counts":                                 ("view>buy", "10m", "0 view transaction_id=a, 1 view transaction_id=b", [2, 0]),
    "a step of another is none of this":           ("view>buy", "10m", "0 view transaction_id=a, 1 buy transaction_id=b", [1, 0]),
    "the deepest try of each":                     ("view>buy", "10m", "0 view transaction_id=a, 1 view transaction_id=b, 2 buy transaction_id=a", [2, 1]),
}  # fmt: skip


TABLES: dict[str, dict[str, tuple[Any, ...]]] = {
    "ordered": ORDERED,
    "strict": STRICT,
    "any": ANY,
    "excluded": {rule: (steps, "10m", *rest) for rule, (steps, *rest) in EXCLUDED.items()},
    "excluded in any order": {rule: (steps, "10m", *rest) for rule, (steps, *rest) in EXCLUDED_ANY.items()},
    "optional": OPTIONAL,
    "limited": LIMITED,
    "first ever": FIRST_EVER,
    "excluded between": {rule: (steps, "10m", *rest) for rule, (steps, *rest) in EXCLUDED_BETWEEN.items()},
    "per transaction": PER_TRANSACTION,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "ordered": {},
    "strict": {"order": "strict"},
    "any": {"order": "any"},
    "excluded": {"exclude": ["chat"]},
    "excluded in any order": {"order": "any", "exclude": ["chat"]},
    "optional": {},
    "limited": {},
    "first ever": {},
    "excluded between": {"exclude": ["chat:2-3"]},
    "per transaction": {"per": "transaction"},
}
CASES = [(table, rule) for table, rules in TABLES.items() for rule in rules]
DAY_MS = 86_400_000
APART_MS = 200 * DAY_MS  # every case happens in a time of its own


@pytest.fixture(scope="module")
def cases(loader: Client) -> None:
    """All hand-worked cases in one warehouse."""
    empty(loader)
    happened = []
    for place, (table, rule) in enumerate(CASES):
        for t in story(f"ann-{place}", TABLES[table][rule][2]):
            happened.append(Told(t.customer, t.at + place * APART_MS, t.type, t.id, t.fields))
    load(loader, happened + KNOWN)
    set_watermark(loader, EPOCH_MS + len(CASES) * APART_MS)


# what steps ask for must occur somewhere
KNOWN = [
    Told("nobody", EPOCH_MS - 400 * DAY_MS, type_, f"n{type_}", {"phase": phase})
    for type_, phase in (
        ("view", "Awareness"),
        ("cart", "Consideration"),
        ("buy", "Purchase"),
        ("chat", "Retention"),
    )
]


@pytest.mark.usefixtures("cases")
@pytest.mark.parametrize(("table", "rule"), CASES, ids=[f"{table}: {rule}" for table, rule in CASES])
def test_a_rule(asked: Engine, table: str, rule: str) -> None:
    steps, within, _, expected = TABLES[table][rule]
    begun = EPOCH_MS + CASES.index((table, rule)) * APART_MS
    answer = funnels.funnel(
        asked,
        re.split(r">(?![^\[]*\])", steps),  # not that of a filter
        within=within,
        since=moment(begun),
        until=moment(begun + DAY_MS),
        **OPTIONS[table],
    )
    assert answer["count"].to_list() == expected


@pytest.fixture
def told(loader: Client) -> Callable[[str], None]:
    """Tell the story of Ann in an otherwise empty warehouse."""

    def tell(text: str) -> None:
        empty(loader, "touchpoint_rows", "journey_rows")
        load(loader, story("ann", text) + KNOWN)
        set_watermark(loader, LATER * 2)

    return tell


TIMES = {
    # the rule                                        steps            touchpoints, median in s from the step before
    "from the last entry before the end":            ("view>buy", "0 view, 5 view, 10 buy", [None, 300]),
    "of the try that is completed first":            ("view>buy", "0 view, 4 buy, 20 view, 21 buy", [None, 240]),
    "each step as early as it can be":               ("view>cart>buy", "0 view, 2 cart, 3 cart, 5 buy", [None, 120, 180]),
    "equal times are no time apart":                 ("view>buy", "5 buy, 5 view", [None, 0]),
    "of the deepest try":                            ("view>cart>buy", "0 view, 1 cart, 30 view, 35 cart, 36 buy", [None, 300, 60]),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "text", "expected"), TIMES.values(), ids=TIMES.keys())
def test_times(
    asked: Engine, told: Callable[[str], None], steps: str, text: str, expected: list[float | None]
) -> None:
    told(text)
    answer = funnels.funnel(asked, steps.split(">"), within="15m", since=moment(EPOCH_MS))
    assert [None if at != at else at for at in answer["median_s"]] == expected


def test_whether_times_differ_by_more_than_chance_is_said_of_two(asked: Engine, loader: Client) -> None:
    """In the second week it takes two minutes more, which two hundred of each cannot tell from chance."""
    empty(loader, "touchpoint_rows", "journey_rows")
    week = 7 * 1440
    stories = [
        story(f"{begun}-{number}", f"{begun} view, {begun + slower + number % 20} buy")
        for begun, slower in ((0, 1), (week, 3))
        for number in range(200)
    ]
    load(loader, [t for one in stories for t in one] + KNOWN)
    set_watermark(loader, LATER * 2)
    answer = funnels.funnel(asked, ["view", "buy"], within="1h", compare=f"before:{moment(EPOCH_MS + week * MINUTE_MS):%Y-%m-%d}", since=moment(EPOCH_MS))  # fmt: skip
    times = answer[answer["step"] == 2].set_index("measure")
    # of 200 the 87th and the 114th smallest bound the median: 1 + 8 and 1 + 11 minutes
    assert times.loc["median_s", ["a", "b", "difference"]].to_list() == [630, 750, 120]
    assert times.loc["median_s", ["lo", "hi"]].to_list() == pytest.approx(
        [120 - hypot(90, 90), 120 + hypot(90, 90)]
    )
    assert times.loc["p90_s", "lo"] < times.loc["p90_s", "difference"] < times.loc["p90_s", "hi"]
    assert not times.loc["median_s", "significant"]
    assert answer[answer["step"] == 1].set_index("measure").loc["median_s", ["lo", "hi"]].isna().all()


OPEN = {
    # the rule                                          watermark, minute; open, lost at each step
    "open while the window lasts":                      (9, [1, 0], [0, 0]),
    "open at the instant in which it ends":             (10, [1, 0], [0, 0]),
    "lost once it has ended":                           (10.0001, [0, 0], [1, 0]),
}  # fmt: skip


@pytest.mark.parametrize(("minute", "still", "lost"), OPEN.values(), ids=OPEN.keys())
def test_open_or_lost(
    asked: Engine,
    loader: Client,
    told: Callable[[str], None],
    minute: float,
    still: list[int],
    lost: list[int],
) -> None:
    told("0 view")
    set_watermark(loader, EPOCH_MS + round(minute * MINUTE_MS), LATER * 2)
    answer = funnels.funnel(asked, ["view", "buy"], within="10m", since=moment(EPOCH_MS))
    assert (answer["open"].to_list(), answer["lost"].to_list()) == (still, lost)
    assert answer.watermark == moment(EPOCH_MS + round(minute * MINUTE_MS))


def test_rates_are_over_the_decided(asked: Engine, loader: Client, told: Callable[[str], None]) -> None:
    told("0 view, 1 buy")
    load(loader, story("bob", "0 view") + story("cid", "95 view") + story("dan", "0 view, 2 cart, 3 buy"))
    set_watermark(loader, EPOCH_MS + 100 * MINUTE_MS)
    answer = funnels.funnel(asked, ["view", "buy"], within="10m", since=moment(EPOCH_MS))
    assert answer["count"].to_list() == [4, 2]
    assert answer["open"].to_list() == [1, 0]
    assert answer["rate"].to_list() == [1.0, pytest.approx(2 / 3)]
    assert answer["rate_from_previous"].to_list()[1] == pytest.approx(2 / 3)
    assert (answer["lo"][1], answer["hi"][1]) == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_before_the_first_watermark_nothing_is_decided(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told("0 view")
    empty(loader, "watermarks")
    answer = funnels.funnel(asked, ["view", "buy"], within="10m", since=moment(EPOCH_MS))
    assert (answer["open"].to_list(), answer.watermark) == ([1, 0], None)
    assert answer["rate"].isna().to_list() == [False, True]


def test_the_range_selects_entries_and_not_what_follows(asked: Engine, told: Callable[[str], None]) -> None:
    told("0 view, 8 buy, 20 view")
    minutes = [moment(EPOCH_MS + minute * MINUTE_MS) for minute in range(30)]
    within = "10m"
    for bounds, expected in (
        ((minutes[0], minutes[1]), [1, 1]),
        ((minutes[1], minutes[20]), [0, 0]),
        ((minutes[1], minutes[21]), [1, 0]),
        ((minutes[20], None), [1, 0]),
    ):
        for steps in (["view", "buy"], ["view[queue!=x]", "buy"]):
            answer = funnels.funnel(asked, steps, within=within, since=bounds[0], until=bounds[1])
            assert answer["count"].to_list() == expected


def test_a_breakdown_is_by_the_entry_that_is_counted(asked: Engine, told: Callable[[str], None]) -> None:
    told("0 view channel=web, 20 view channel=chat, 25 buy channel=voice")
    answer = funnels.funnel(asked, ["view", "buy"], within="10m", by="channel", since=moment(EPOCH_MS))
    assert answer[["channel", "step", "count"]].values.tolist() == [["chat", 1, 1], ["chat", 2, 1]]


VALUES = {
    # whose value                customers at each step, by value
    "entry":                    {"web": [1, 1, 0]},
    "last":                     {"chat": [1, 1, 0]},
    "2":                        {"chat": [1, 1, 0]},
    "3":                        {"(step 3 not reached)": [1, 1, 0]},
    "every":                    {"web": [1, 0, 0]},
}  # fmt: skip


@pytest.mark.parametrize(("value_of", "expected"), VALUES.items(), ids=VALUES.keys())
def test_a_breakdown_is_by_the_value_that_was_asked_for(
    asked: Engine, told: Callable[[str], None], value_of: str, expected: dict[str, list[int]]
) -> None:
    told("0 view channel=web, 1 cart channel=chat")
    answer = funnels.funnel(
        asked, ["view", "cart", "buy"], within="10m", by="channel", value_of=value_of, since=moment(EPOCH_MS)
    )
    assert {value: rows["count"].to_list() for value, rows in answer.groupby("channel")} == expected


UNITS = {
    # what is counted             customers at each step; the second journey is of another account
    "customer":                 [1, 1],
    "journey":                  [2, 1],
    "account":                  [2, 1],
}  # fmt: skip


@pytest.mark.parametrize(("per", "expected"), UNITS.items(), ids=UNITS.keys())
def test_each_of_what_is_counted_counts_once(
    asked: Engine, loader: Client, told: Callable[[str], None], per: Any, expected: list[int]
) -> None:
    told("")
    accounts = [["account_id:a"], ["account_id:a"], ["account_id:b"]]
    of_ann = story("ann", "0 view, 1 buy, 60000 view")
    load(
        loader,
        [
            Told(t.customer, t.at, t.type, t.id, {"identifiers": names})
            for t, names in zip(of_ann, accounts, strict=True)
        ],
    )
    answer = funnels.funnel(asked, ["view", "buy"], within="10m", per=per, since=moment(EPOCH_MS))
    assert answer["count"].to_list() == expected


def test_a_trend_has_every_bucket_and_marks_what_is_undecided(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told("0 view, 1 buy")
    load(loader, story("bob", "2881 view"))  # the third day
    set_watermark(loader, EPOCH_MS + 2891 * MINUTE_MS, LATER * 2)
    answer = funnels.funnel(
        asked,
        ["view", "buy"],
        within="10m",
        trend="day",
        since=moment(EPOCH_MS),
        until=moment(EPOCH_MS + 3 * DAY_MS),
    )
    trend = answer.parts["trend"]
    assert trend[["count", "converted", "open", "undecided"]].values.tolist()[:3] == [
        [1, 1, 0, False],
        [0, 0, 0, False],
        [1, 0, 1, True],
    ]


def test_a_breakdown_adds_up_and_the_most_frequent_come_first(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told("0 view queue=A")
    load(loader, story("bob", "0 view queue=B, 1 buy") + story("cid", "0 view queue=B"))
    answer = funnels.funnel(asked, ["view", "buy"], within="10m", by="queue", since=moment(EPOCH_MS))
    assert answer[["queue", "step", "count"]].values.tolist() == [
        ["B", 1, 2],
        ["B", 2, 1],
        ["A", 1, 1],
        ["A", 2, 0],
    ]


def test_of_a_row_only_the_version_that_saw_more_counts(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told("0 view, 5 buy")
    merged = [Told("bob", t.at, t.type, t.id, t.fields) for t in story("ann", "0 view, 5 buy")]
    load(loader, [*merged, *story("bob", "1 view, 2 chat")], version=2)
    for steps in (["view", "buy"], ["view[queue!=x]", "buy"]):
        assert funnels.funnel(asked, steps, since=moment(EPOCH_MS))["count"].to_list() == [1, 1]


def test_the_sql_runs_by_itself(asked: Engine, loader: Client, told: Callable[[str], None]) -> None:
    told("0 view, 1 buy")
    answer = funnels.funnel(asked, ["view", "buy[queue!=it's]"], since=moment(EPOCH_MS))
    assert loader.query(answer.sql()).result_rows[0][1] == [1, 1]


WRONG = {
    "a type that nobody has heard of": ({"steps": ["add_to_card"]}, '"add_to_card"', '"add_to_cart"'),
    "a phase that nobody has heard of": ({"steps": ["@Purchas"]}, '"Purchas"', '"Purchase"'),
    "a field that there is not": ({"steps": ["view[chanel=web]"]}, '"chanel"', '"channel"'),
    "a field to split by that there is not": ({"by": "campagne"}, '"campagne"', '"campaign"'),
    "a step that cannot be read": ({"steps": ["view[channel"]}, "view[channel", "add_to_cart"),
    "a condition that cannot be read": ({"steps": ["view[channel]"]}, '"channel"', "field=value"),
    "a number that is none": ({"steps": ["buy[amount>much]"]}, '"much"', "Compare"),
    "no step": ({"steps": []}, "1 to 20", "product_view"),
    "too many steps": ({"steps": ["view"] * 21}, "not 21", "product_view"),
    "no window": ({"within": "0d"}, '"0d"', "7d"),
    "a window that is none": ({"within": "soon"}, '"soon"', "7d"),
    "a window beyond all": ({"within": "9999w"}, '"9999w"', "30d"),
    "an order that there is not": ({"order": "random"}, '"random"', "strict"),
    "nothing can be excluded from strict": ({"order": "strict", "exclude": ["chat"]}, "strict", "order"),
    "an empty range": ({"since": moment(EPOCH_MS), "until": moment(EPOCH_MS)}, "holds nothing", "after"),
}


@pytest.mark.parametrize(("options", "what", "remedy"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_asked_is_said_with_a_way_out(
    asked: Engine, told: Callable[[str], None], options: dict[str, Any], what: str, remedy: str
) -> None:
    told("0 view")
    asking: dict[str, Any] = {"steps": ["view", "buy"], **options}
    with pytest.raises(QuestionError) as raised:
        funnels.funnel(asked, asking.pop("steps"), **asking)
    assert what in raised.value.what
    assert remedy in (raised.value.remedy or "")
