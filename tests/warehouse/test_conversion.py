"""Conversion from phase to phase: by hand, against the slow reference, and the two ways to one answer agree."""

# ruff: noqa: E501  a case is a line

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from models.journey_model import default_model, template
from tests.warehouse import conversion_reference as reference
from tests.warehouse.stories import EPOCH_MS, MINUTE_MS, empty, insert, moment
from warehouse import conversion
from warehouse.aggregates import Aggregates
from warehouse.answer import QuestionError
from warehouse.catalogue import named
from warehouse.journey_models import register
from warehouse.statistics import wilson
from warehouse.writer import Writer

PHASES = default_model().phases
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
BY = ("day", "week", "campaign", "channel", "persona")
UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


@pytest.fixture
def emptied(loader: Client) -> Client:
    empty(loader)
    return loader


def rows(answer: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    """The rows as plain tuples, of these columns."""
    chosen = answer[list(names)]
    return [
        tuple(None if value != value else value for value in row) for row in chosen.itertuples(index=False)
    ]


def journey(customer: str, at: int, phases: str, **fields: Any) -> dict[str, Any]:
    """A journey that walks through phases, given by their first letters, a minute each."""
    names = [next(name for name in PHASES if name.startswith(letter)) for letter in phases]
    ats = [at + n * MINUTE_MS for n in range(len(names))]
    return {
        "started_on": moment(at).date(), "id": f"{customer}{at}", "started_at": moment(at), "version": 1,
        "deleted": 0, "journey_id": f"j-{customer}{at}", "customer_id": customer, "ended_at": moment(ats[-1]),
        "ats": [moment(one) for one in ats], "types": ["view"] * len(ats), "channels": ["web"] * len(ats),
        "touchpoint_ids": [f"{customer}{one}" for one in ats], "phases": names, "current_phase": names[-1],
        "campaign_first": "", "persona": "", "drop_off_at": None, "drop_off_phase": "", "closed": False,
        "converted_at": None, "conversions": 0, **fields,
    }  # fmt: skip


SILENT = {"drop_off_at": moment(EPOCH_MS + DAY_MS)}
CLOSED = {"closed": True}
BOUGHT = {"converted_at": moment(EPOCH_MS), "conversions": 1}

# the rule                                         the journey's way   entered phase → forward, back, lost, open
WAYS = {
    "who is in a phase is open":                    ("A", {}, {"Awareness": (0, 0, 0, 1)}),
    "who fell silent is lost":                      ("A", SILENT, {"Awareness": (0, 0, 1, 0)}),
    "whose journey was closed is lost":             ("R", CLOSED, {"Retention": (0, 0, 1, 0)}),
    "who went on is forward":                       ("AC", {}, {"Awareness": (1, 0, 0, 0), "Consideration": (0, 0, 0, 1)}),
    "whoever skips a phase went on, too":           ("AP", {}, {"Awareness": (1, 0, 0, 0), "Purchase": (0, 0, 0, 1)}),
    "who went back is open while the journey is":   ("ACA", {}, {"Awareness": (1, 0, 0, 0), "Consideration": (0, 1, 0, 1)}),
    "who went back and fell silent is lost":        ("ACA", SILENT, {"Awareness": (1, 0, 0, 0), "Consideration": (0, 1, 1, 0)}),
    "who went back and on again is forward":        ("CAP", {}, {"Consideration": (1, 1, 0, 0), "Awareness": (1, 0, 0, 0), "Purchase": (0, 0, 0, 1)}),
    "who fell silent later is not lost before":     ("AC", SILENT, {"Awareness": (1, 0, 0, 0), "Consideration": (0, 0, 1, 0)}),
}  # fmt: skip


@pytest.mark.parametrize(("way", "fields", "expected"), WAYS.values(), ids=WAYS.keys())
def test_conversion_of_one_journey(
    asked: Engine, emptied: Client, way: str, fields: dict[str, Any], expected: dict[str, tuple[int, ...]]
) -> None:
    insert(emptied, "journey_rows", [journey("ann", EPOCH_MS, way, **fields)])
    answer = conversion.conversion(asked, by="persona")
    assert {row[0]: row[1:] for row in rows(answer, "phase", "forward", "back", "lost", "open")} == expected
    assert answer["entered"].to_list() == [1] * len(expected)


def test_rates_are_of_those_who_are_decided(asked: Engine, emptied: Client) -> None:
    ways = [("AC", {}), ("AC", {}), ("A", {}), ("A", SILENT)]
    told = [journey(f"c{n}", EPOCH_MS, way, **fields) for n, (way, fields) in enumerate(ways)]
    insert(emptied, "journey_rows", told)
    answer = conversion.conversion(asked, by="channel")
    said = rows(answer, "phase", "entered", "open", "decided", "forward_rate", "lo", "hi")
    assert said == [
        ("Awareness", 4, 1, 3, pytest.approx(2 / 3), *wilson(2, 3)),
        ("Consideration", 2, 2, 0, None, 0.0, 1.0),
    ]


def test_days_without_journeys_are_rows(asked: Engine, emptied: Client) -> None:
    insert(emptied, "journey_rows", [journey(f"c{day}", EPOCH_MS + day * DAY_MS, "A") for day in (1, 3)])
    answer = conversion.conversion(
        asked, since=moment(EPOCH_MS), until=moment(EPOCH_MS + 5 * DAY_MS), timezone="Europe/Berlin"
    )
    awareness = answer[answer["phase"] == "Awareness"]
    # the period ends at one o'clock in Berlin, on the sixth day
    assert rows(awareness, "day", "entered") == [(date(2026, 1, 1 + n), int(n in (1, 3))) for n in range(6)]
    assert len(answer) == 6 * len(PHASES)


def test_weeks_begin_on_monday_and_follow_each_other(asked: Engine, emptied: Client) -> None:
    # the first day is a Thursday
    insert(emptied, "journey_rows", [journey(f"c{day}", EPOCH_MS + day * DAY_MS, "A") for day in (0, 3, 20)])
    for zone in ("Etc/GMT-1", "Europe/Berlin"):
        answer = conversion.conversion(asked, by="week", timezone=zone)
        awareness = answer[answer["phase"] == "Awareness"]
        assert rows(awareness, "week", "entered") == [
            (date(2025, 12, 29), 2), (date(2026, 1, 5), 0), (date(2026, 1, 12), 0), (date(2026, 1, 19), 1)
        ]  # fmt: skip


def test_the_period_holds_its_first_instant_and_not_its_last(asked: Engine, emptied: Client) -> None:
    insert(emptied, "journey_rows", [journey(f"c{n}", EPOCH_MS + n, "A") for n in range(3)])
    answer = conversion.conversion(
        asked, by="channel", since=moment(EPOCH_MS + 1), until=moment(EPOCH_MS + 2)
    )
    assert rows(answer, "entered") == [(1,)]


def test_phases_stand_in_the_order_of_the_current_model(asked: Engine, emptied: Client) -> None:
    insert(emptied, "journey_rows", [journey("ann", EPOCH_MS, "RACP")])
    assert rows(conversion.conversion(asked, by="channel"), "phase", "back")[-1] == ("Retention", 1)
    text = template("default")
    first = "  - {name: Retention, patience: 60d}\n"
    text = text.replace(first, "").replace("phases:\n", f"phases:\n{first}", 1)
    register(emptied, text, where="other.yaml", number=2, state="current")
    # there Retention comes first, so leaving it is no way back
    assert rows(conversion.conversion(asked, by="channel"), "phase", "back")[0] == ("Retention", 0)


def test_time_in_a_phase_is_that_of_visits_that_have_ended(asked: Engine, emptied: Client) -> None:
    told = [journey("ann", EPOCH_MS, "AAACA"), journey("bob", EPOCH_MS, "AC", **SILENT)]
    insert(emptied, "journey_rows", told)
    answer = conversion.conversion(asked, by="persona", visits=True)
    assert rows(answer, "phase", "median_s", "p10_s", "p90_s") == [
        ("Awareness", 120.0, pytest.approx(72.0), pytest.approx(168.0)),
        ("Consideration", 60.0, 60.0, 60.0),
    ]
    assert rows(answer.parts["moves"], "phase", "to", "visits", "journeys") == [
        ("(start)", "Awareness", 2, 2),
        ("Awareness", "Consideration", 2, 2),
        ("Awareness", "(open)", 1, 1),
        ("Consideration", "Awareness", 1, 1),
        ("Consideration", "(lost)", 1, 1),
    ]


def test_two_campaigns_beside_each_other(asked: Engine, emptied: Client) -> None:
    ways = [("AC", "spring"), ("A", "spring"), ("A", "autumn")]
    told = [journey(f"c{n}", EPOCH_MS, way, campaign_first=of, **SILENT) for n, (way, of) in enumerate(ways)]
    insert(emptied, "journey_rows", told)
    both = named("conversion")(asked, by="channel", compare="campaign:autumn,spring")
    said = both[(both["measure"] == "forward_rate") & (both["phase"] == "Awareness")]
    assert rows(said, "a", "b", "difference") == [(0.0, 0.5, 0.5)]


def test_what_conversion_cannot_be_by_is_said(asked: Engine) -> None:
    with pytest.raises(QuestionError, match="campaign"):
        conversion.conversion(asked, by="campagne")  # type: ignore[arg-type]


def test_a_period_of_too_many_days_is_said(asked: Engine, emptied: Client) -> None:
    with pytest.raises(QuestionError, match="more than 4,000 days"):
        conversion.conversion(
            asked, since=datetime(1900, 1, 1, tzinfo=UTC), until=datetime(2026, 1, 1, tzinfo=UTC)
        )


def test_an_answer_without_rows_has_the_dtypes_of_one_with_rows(asked: Engine, emptied: Client) -> None:
    for visits in (False, True):
        insert(emptied, "journey_rows", [journey("ann", EPOCH_MS, "AC", **BOUGHT)])
        for by in BY:
            found = conversion.conversion(asked, by=by, visits=visits)
            nothing = conversion.conversion(asked, by=by, visits=visits, until=moment(EPOCH_MS))
            assert nothing.empty
            pd.testing.assert_series_equal(found.dtypes, nothing.dtypes)


CHOICES = st.fixed_dictionaries(
    {
        "at": st.integers(0, 10).map(lambda n: EPOCH_MS + n * 7 * HOUR_MS),
        "way": st.text("ACPRX", min_size=1, max_size=5).map(lambda way: way.replace("X", "A")),
        "campaign_first": st.sampled_from(["", "spring", "autumn"]),
        "persona": st.sampled_from(["", "Gold", "Silver"]),
        "channel": st.sampled_from(["web", "chat"]),
        "end": st.sampled_from([{}, SILENT, CLOSED, BOUGHT, {**SILENT, **BOUGHT}]),
        "version": st.integers(1, 3),
        "deleted": st.sampled_from([0, 0, 0, 1]),
    }
)


def told(customer: int, choice: dict[str, Any], version: int, at: int) -> dict[str, Any]:
    """A row; one that came later may say anything else of the same first touchpoint."""
    row = journey(f"c{customer}", at, choice["way"], **choice["end"])
    row["channels"] = [choice["channel"], *row["channels"][1:]]
    fields = {name: choice[name] for name in ("campaign_first", "persona", "deleted")}
    return row | fields | {"version": version}


@given(st.lists(st.lists(CHOICES, min_size=1, max_size=3), min_size=1, max_size=12))
@settings(max_examples=8)
def test_every_question_is_answered_as_the_reference_does(
    asked: Engine, loader: Client, histories: list[list[dict[str, Any]]]
) -> None:
    empty(loader, "journey_rows", "stage_conversion_1d_rows", "journey_models")
    written = [
        told(customer, choice, version, choices[0]["at"])
        for customer, choices in enumerate(histories)
        for version, choice in enumerate(choices, start=1)
    ]
    insert(loader, "journey_rows", written)
    Aggregates(loader, Writer(loader), PHASES).recompute(EPOCH_MS - DAY_MS, EPOCH_MS + 100 * DAY_MS)
    standing = reference.standing(written)
    for by in BY:
        for zone in (UTC_ZONE, BERLIN):
            check(asked, standing, by, zone)
    since, until = moment(EPOCH_MS + DAY_MS), moment(EPOCH_MS + 3 * DAY_MS)
    chosen = [
        row for row in standing if since <= row["started_at"] < until and row["campaign_first"] == "spring"
    ]
    if any(row["campaign_first"] == "spring" for row in standing):
        for by in BY:
            for zone in (UTC_ZONE, BERLIN):
                check(asked, chosen, by, zone, since=since, until=until, campaign="spring")
    else:
        with pytest.raises(QuestionError, match='campaign "spring" is not known'):
            conversion.conversion(asked, campaign="spring")
    within = [
        row
        for row in standing
        if since + timedelta(milliseconds=1) <= row["started_at"] and row["persona"] != "Gold"
    ]
    if any(row["persona"] == "Gold" for row in standing):
        for by in BY:
            check(
                asked,
                within,
                by,
                BERLIN,
                visits=True,
                since=since + timedelta(milliseconds=1),
                persona="!Gold",
            )
    else:
        with pytest.raises(QuestionError, match='persona "Gold" is not known'):
            conversion.conversion(asked, persona="!Gold")


def check(
    asked: Engine,
    chosen: Sequence[dict[str, Any]],
    by: str,
    zone: ZoneInfo,
    *,
    visits: bool = False,
    **among: Any,
) -> None:
    """What is answered is what the reference counts; where both ways can answer, they are the same."""
    key = reference.key_of(by, zone)
    expected = reference.counted(chosen, key, PHASES)
    answer = conversion.conversion(asked, by=by, visits=visits, timezone=zone.key, **among)  # type: ignore[arg-type]
    found = {
        (row[by], row["phase"]): {name: row[name] for name in reference.COUNTS}
        for row in answer.to_dict("records")
    }
    assert {key: of for key, of in found.items() if any(of.values())} == expected
    assert ((answer["forward"] + answer["lost"] + answer["open"]) == answer["entered"]).all()
    if zone is UTC_ZONE and by in ("day", "week", "campaign"):
        assert "stage_conversion_1d" in answer.sql()
        again = conversion.conversion(asked, by=by, visits=True, timezone="UTC", **among)  # type: ignore[arg-type]
        assert "stage_conversion_1d" not in again.sql()
        pd.testing.assert_frame_equal(pd.DataFrame(answer), pd.DataFrame(again)[list(answer.columns)])
    if by in ("day", "week") and found:
        buckets = sorted({bucket for bucket, _ in found})
        step = timedelta(days=7 if by == "week" else 1)
        assert buckets == [buckets[0] + n * step for n in range(len(buckets))]
        assert len(answer) == len(buckets) * len(PHASES)
    if visits:
        lengths, moves = reference.visits(chosen, key)
        for row in answer.to_dict("records"):
            of = lengths.get((row[by], row["phase"]))
            for name, q in (("median_s", 0.5), ("p10_s", 0.1), ("p90_s", 0.9)):
                assert row[name] == pytest.approx(reference.quantile(of, q)) if of else row[name] != row[name]
        said = {(row.phase, row.to): (row.visits, row.journeys) for row in answer.parts["moves"].itertuples()}
        assert said == {move: (len(of), len(set(of))) for move, of in moves.items()}
