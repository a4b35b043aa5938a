"""The made-up histories hold what they are there for: each thing is counted, so that none goes missing unseen."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import HealthCheck, Phase, given, settings

from models.journey_model import JourneyModel
from models.model_sections import DELIGHT_KINDS, PAIN_KINDS
from models.touchpoint import Correction, Element, Identification, Touchpoint
from tests import oracle
from tests.histories import MODELS, WATERMARKS, histories
from tests.oracle import Said, canonical

HISTORIES = 600
LEAST = 3  # of so many histories hold it: ten of those that the promise is tried with

EXPECTED = {
    "several identifiers on a touchpoint", "several customers in a household",
    "on web", "on chat", "on voice", "on billing",
    "a touchpoint twice", "a copy that differs in how it came", "a conflicting duplicate", "a later update of a source",
    "equal times", "a journey gap at its last ms", "a journey gap one ms beyond",
    "a transaction gap at its last ms", "a transaction gap one ms beyond", "a closed journey",
    "identifiers linked after touchpoints of both", "an identification alone links",
    "a correction: same", "a correction: not_same", "a correction: undone",
    "a conflict: exclusive_kind", "a conflict: not_same", "a household beyond its limit",
    "a shape: linear", "a shape: non_linear", "a shape: cyclical",
    "on the paved path", "off the paved path",
    "a persona said", "a persona by a rule", "values of two currencies", "a refund",
    "an attempt: open", "an attempt: completed", "an attempt: abandoned", "an attempt abandoned in words",
    "an attempt recovered", "an attempt completed at its last ms",
    "a drop-off", "a drop-off recovered", "a drop-off with its pain", "none in a final phase",
    *(f"pain: {kind}" for kind in PAIN_KINDS), *(f"delight: {kind}" for kind in DELIGHT_KINDS),
}  # fmt: skip


def held(happened: list[Element], said: Said, model: JourneyModel) -> Iterator[str]:
    touchpoints = [element for element in happened if isinstance(element, Touchpoint)]
    yield from of_elements(happened, touchpoints)
    yield from of_identity(happened, touchpoints, said, model)
    yield from of_journeys(said, model)


def of_elements(happened: list[Element], touchpoints: list[Touchpoint]) -> Iterator[str]:
    contents = [canonical(element) for element in happened]
    if len(set(contents)) < len(contents):
        yield "a touchpoint twice"
    for t in touchpoints:
        yield f"on {t.channel}"
        if len(set(t.identifiers)) > 1:
            yield "several identifiers on a touchpoint"
        for u in touchpoints:
            if u is t or u.id != t.id:
                continue
            if t.source_updated_at is not None and t.source_updated_at > (u.source_updated_at or 0):
                yield "a later update of a source"
            same = oracle.without_delivery(t) == oracle.without_delivery(u)
            if same and t.received_at != u.received_at:
                yield "a copy that differs in how it came"
    for element in happened:
        if isinstance(element, Correction):
            yield f"a correction: {element.relation}"


def of_identity(
    happened: list[Element], touchpoints: list[Touchpoint], said: Said, model: JourneyModel
) -> Iterator[str]:
    if len({row["customer_id"] for row in said.identities.values()}) > 1:
        yield "several customers in a household"
    if len(said.identities) > model.max_household:
        yield "a household beyond its limit"
    for conflict in said.conflicts.values():
        yield f"a conflict: {conflict['reason']}"
    if said.duplicates:
        yield "a conflicting duplicate"
    for element in happened:
        if isinstance(element, Correction) or len(set(element.identifiers)) < 2:
            continue
        at = element.occurred_at if isinstance(element, Touchpoint) else element.at
        before = {t.identifiers[0] for t in touchpoints if t.occurred_at < at and len(t.identifiers) == 1}
        if len(before & set(element.identifiers)) > 1:
            yield "identifiers linked after touchpoints of both"
        pair = set(element.identifiers)
        if isinstance(element, Identification) and not any(pair <= set(t.identifiers) for t in touchpoints):
            yield "an identification alone links"


def of_journeys(said: Said, model: JourneyModel) -> Iterator[str]:
    lives: dict[str, list[Touchpoint]] = {}
    for t, verdict in said.touchpoints.values():
        lives.setdefault(verdict.customer_id, []).append(t)
        yield from (f"pain: {pain.kind}" for pain in verdict.pain_points)
        yield from (f"delight: {kind}" for kind in verdict.delights)
        if t.type in model.refunding_types and t.amount is not None:
            yield "a refund"
        for attempt in verdict.attempts:
            yield f"an attempt: {attempt.outcome}"
            if attempt.outcome == "abandoned" and attempt.ended_by is not None:
                yield "an attempt abandoned in words"
            if attempt.recovered_at is not None:
                yield "an attempt recovered"
            patience_ms = next(kind.patience_ms for kind in model.attempts if kind.kind == attempt.kind)
            if attempt.outcome == "completed" and attempt.ended_at == t.occurred_at + patience_ms:
                yield "an attempt completed at its last ms"
        if verdict.drop_off is not None:
            yield "a drop-off"
            if verdict.drop_off.recovered_at is not None:
                yield "a drop-off recovered"
            if verdict.drop_off.pain_kind is not None:
                yield "a drop-off with its pain"
        if verdict.phase in model.final_phases:
            yield "none in a final phase"
    for life in lives.values():
        ats = sorted(t.occurred_at for t in life)
        for before, after in pairwise(ats):
            gap = after - before
            for name, length in (
                ("journey", model.journey_gap_ms),
                ("transaction", model.transaction_gap_ms),
            ):
                if gap in (length, length + 1):
                    yield f"a {name} gap {'at its last ms' if gap == length else 'one ms beyond'}"
            if gap == 0:
                yield "equal times"
    rules = {rule.persona for rule in model.persona_rules}
    for row in said.journeys.values():
        yield f"a shape: {row['shape']}"
        yield "on the paved path" if row["paved_path_distance"] == 0 else "off the paved path"
        if row["closed"]:
            yield "a closed journey"
        if row["persona"] == "hurried":
            yield "a persona said"
        if row["persona"] in rules and not any(t.persona for t, _ in said.touchpoints.values()):
            yield "a persona by a rule"
        if len(row["values"]) > 1:
            yield "values of two currencies"


def test_the_histories_hold_what_they_are_there_for() -> None:
    found: Counter[str] = Counter()

    # the same histories every time: chance decides once, and not anew in each run
    @settings(
        max_examples=HISTORIES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(histories(), WATERMARKS, MODELS)
    def count(happened: list[Element], watermark: int, model: JourneyModel) -> None:
        found.update(set(held(happened, oracle.judge(happened, watermark, model), model)))

    count()
    assert found.keys() <= EXPECTED
    assert {name: found[name] for name in EXPECTED if found[name] < LEAST} == {}
