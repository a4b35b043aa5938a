"""The desire line is what laying each journey beside the paved path in every possible way gives."""

from collections.abc import Callable, Iterator
from functools import cache
from random import Random

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from models.journey_model import default_model
from tests.warehouse.stories import EPOCH_MS, MINUTE_MS, Told, empty, insert, load, story
from warehouse import desire_line
from warehouse.answer import QuestionError
from warehouse.shift import shift

PATH = default_model().paved_path
KINDS = [
    ("ad_click", "Awareness"), ("product_view", "Consideration"), ("chat_started", "Consideration"),
    ("add_to_cart", "Purchase"), ("checkout_started", "Purchase"), ("purchase", "Purchase"),
    ("call_queued", "Retention"), ("payment_failed", "Purchase"), ("page_view", "Consideration"),
    ("review_posted", "Advocacy"),
]  # fmt: skip


def fits(t: Told, step: int) -> bool:
    return t.type in PATH.steps[step].types or t.fields["phase"] in PATH.steps[step].phases


def beside(journey: list[Told]) -> list[tuple[int, int]]:
    """(step, place) of what is walked: least distance, most steps; then the last step furthest and earliest."""
    required = [not step.optional for step in PATH.steps]

    @cache
    def ways(place: int, latest: int) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """Up to before this place, when `latest` was walked latest: distance, minus steps, and the steps backwards."""
        if place == 0:
            return (0, 0, ()) if latest < 0 else (1_000, 0, ())
        t = journey[place - 1]
        distance, walked, steps = ways(place - 1, latest)
        found = [(distance + (latest < 0 or not fits(t, latest)), walked, steps)]
        if latest >= 0 and fits(t, latest):
            for before in range(-1, latest):
                distance, walked, steps = ways(place - 1, before)
                missed = sum(required[before + 1 : latest])
                found.append((distance + missed, walked - 1, ((-latest, place - 1), *steps)))
        return min(found)

    ends = [
        (distance + sum(required[latest + 1 :]), walked, steps)
        for latest in range(-1, len(PATH.steps))
        for distance, walked, steps in [ways(len(journey), latest)]
    ]
    return [(-step, place) for step, place in reversed(min(ends)[2])]


def expected(
    journeys: list[tuple[list[Told], bool]],
) -> tuple[dict[int, dict[str, int]], dict[tuple[int, str], list[int]]]:
    """By step what became of those who reached it; by step and detour [count, came_back, converted, decided]."""
    rows = {
        n: dict.fromkeys(("reached", "straight", "came_back", "lost", "open", "completed"), 0)
        for n in range(1, len(PATH.steps) + 1)
    }
    taken: dict[tuple[int, str], list[int]] = {}
    for whole, going_on in journeys:
        journey = [t for t in whole if t.type not in PATH.passed_over]
        walked = beside(journey)
        for (step, place), following in zip(walked, [*walked[1:], None], strict=False):
            until = following[1] if following else len(journey)
            detours = {t.type for t in journey[place + 1 : until] if not fits(t, step)}
            missed = any(not s.optional for s in PATH.steps[step + 1 : following[0] if following else None])
            row = rows[step + 1]
            row["reached"] += 1
            if following:
                row["came_back" if detours or missed else "straight"] += 1
            else:
                row["completed" if not missed else "open" if going_on else "lost"] += 1
            converted = any(t.type == "purchase" for t in journey[place + 1 :])
            for detour in detours:
                one = taken.setdefault((step + 1, detour), [0, 0, 0, 0])
                for n, holds in enumerate(
                    (True, following is not None, converted, converted or not going_on)
                ):
                    one[n] += holds
    return rows, taken


@pytest.fixture(scope="module", params=range(4))
def journeys(loader: Client, request: pytest.FixtureRequest) -> Iterator[list[tuple[list[Told], bool]]]:
    """Made-up journeys, and whether each goes on: it has not converted, and no drop-off ends it."""
    random = Random(request.param)
    told = []
    for n in range(150):
        for place in range(random.randint(1, 9)):
            type_, phase = random.choice(KINDS)
            told.append(
                Told(
                    f"c{n:03}",
                    EPOCH_MS + random.randint(0, 12) * MINUTE_MS,
                    type_,
                    f"{n:03}-{place}",
                    {"phase": phase},
                )
            )
    empty(loader, "touchpoint_rows", "journey_rows", "journey_models")
    of = {t.id: t for t in told}
    found = []
    rows = load(loader, told)
    for row in rows:
        journey = [of[one] for one in row["touchpoint_ids"]]
        converted = [t.at for t in journey if t.type == "purchase"]
        dropped = random.random() < 0.5
        row |= {"version": 2, "converted_at": row["started_at"] if converted else None}
        row |= {"drop_off_at": row["ended_at"] if dropped else None}
        found.append((journey, not converted and not dropped))
    insert(loader, "journey_rows", rows)
    yield found
    empty(loader, "touchpoint_rows", "journey_rows")


def test_any_desire_line_is_that_of_the_reference(
    asked: Engine, journeys: list[tuple[list[Told], bool]]
) -> None:
    found = desire_line.desire_line(asked, least=1, most=1000)
    rows, taken = expected(journeys)
    assert {row["step"]: {name: row[name] for name in rows[1]} for row in found.to_dict("records")} == rows
    assert {
        (row["step"], row["detour"]): [row[name] for name in ("count", "came_back", "converted", "decided")]
        for row in found.parts["detours"].to_dict("records")
    } == taken


@pytest.fixture
def told(loader: Client) -> Iterator[Callable[[list[str]], None]]:
    def tell(stories: list[str]) -> None:
        load(loader, [one for n, text in enumerate(stories) for one in story(f"c{n}", text)])

    empty(loader, "touchpoint_rows", "journey_rows", "journey_models")
    yield tell
    empty(loader, "touchpoint_rows", "journey_rows")


def test_a_detour_costs_the_time_that_it_takes_longer(
    asked: Engine, told: Callable[[list[str]], None]
) -> None:
    straight = "0 add_to_cart phase=Purchase, 2 checkout_started phase=Purchase"
    detour = (
        "0 add_to_cart phase=Purchase, 1 payment_failed phase=Purchase, 12 checkout_started phase=Purchase"
    )
    told([straight] * 12 + [detour] * 12)
    found = desire_line.desire_line(asked).parts["detours"].to_dict("records")
    assert [(row["detour"], row["count"], row["extra_s"], row["extra_lo_s"]) for row in found] == [
        ("payment_failed", 12, 600.0, 600.0)
    ]


def test_nobody_at_all_walks_nothing(asked: Engine, told: Callable[[list[str]], None]) -> None:
    told([])
    found = desire_line.desire_line(asked)
    assert list(found["reached"]) == [0] * len(PATH.steps)
    assert found.parts["detours"].empty


def test_no_number_of_detours_is_said_with_a_way_out(asked: Engine) -> None:
    with pytest.raises(QuestionError, match="below 1"):
        desire_line.desire_line(asked, least=0)


def test_the_shift_of_two_samples_is_their_median_difference() -> None:
    assert shift([1, 2, 3], [11, 12, 13])[0] == 10
    estimate, low, high = shift(list(range(100)), [n + 5 for n in range(100)])
    assert estimate == 5
    assert low < 5 < high


def test_an_empty_sample_has_no_shift() -> None:
    with pytest.raises(ValueError, match="empty"):
        shift([], [1.0])
