"""What the stitching has to say, computed the slow and obvious way from the rules of the design.

It shares the records and the parsed journey model with `models`, and no line of code: everything is looked up
anew by scanning lists. `judge(elements, watermark, model)` gives every table as it must stand in the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from hashlib import blake2b
from itertools import groupby
from typing import Any

import msgspec

from models.journey_model import JourneyModel
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.verdict import Attempt, DropOff, PainPoint, Verdict

Row = dict[str, Any]


@dataclass
class Said:
    """The tables: rows by their key, without versions."""

    touchpoints: dict[tuple[str, int], tuple[Touchpoint, Verdict]] = field(default_factory=dict)
    journeys: dict[tuple[str, int], Row] = field(default_factory=dict)
    identities: dict[str, Row] = field(default_factory=dict)
    conflicts: dict[tuple[str, str], Row] = field(default_factory=dict)
    duplicates: set[tuple[str, str]] = field(default_factory=set)
    identifications: set[bytes] = field(default_factory=set)
    corrections: set[bytes] = field(default_factory=set)
    copies: set[bytes] = field(default_factory=set)  # every content of every touchpoint
    count: int = 0


def canonical(element: Element) -> bytes:
    return msgspec.json.encode(element, order="deterministic")


def day(at: int) -> int:
    return at // (24 * 60 * 60 * 1000)


# --- the set ---


def distinct(elements: Sequence[Element]) -> list[Element]:
    return list({canonical(element): element for element in elements}.values())


def counting(copies: list[Touchpoint]) -> Touchpoint:
    """The greatest source_updated_at, then the smallest canonical encoding."""
    updates = [copy.source_updated_at for copy in copies if copy.source_updated_at is not None]
    newest = max(updates) if updates else None
    return min((copy for copy in copies if copy.source_updated_at == newest), key=canonical)


def without_delivery(copy: Touchpoint) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(copy)
    content.pop("received_at")
    content.pop("raw_ref", None)
    return content


def conflicting(copies: list[Touchpoint]) -> list[Touchpoint]:
    winner = counting(copies)
    shown: list[Touchpoint] = []
    for copy in sorted(copies, key=canonical):
        same_age = copy.source_updated_at == winner.source_updated_at
        known = [without_delivery(one) for one in [winner, *shown]]
        if same_age and without_delivery(copy) not in known:
            shown.append(copy)
    return shown


# --- identity ---


class People:
    def __init__(self, elements: list[Element], model: JourneyModel) -> None:
        self.model = model
        self.links: dict[tuple[str, str], int] = {}
        self.identifiers: set[str] = set()
        for element in elements:
            keys = [f"{i.kind}:{i.value}" for i in element.identifiers]
            self.identifiers |= set(keys)
            if isinstance(element, Correction):
                continue
            at = element.occurred_at if isinstance(element, Touchpoint) else element.at
            strongest = min(keys, key=self.rank)
            for key in keys:
                if key != strongest:
                    self.links[strongest, key] = min(at, self.links.get((strongest, key), at))
        self.groups: list[set[str]] = [{key} for key in self.identifiers]
        self.refused: dict[tuple[str, str], tuple[int, str]] = {}
        self.join_all([element for element in elements if isinstance(element, Correction)])

    def rank(self, key: str) -> tuple[int, str]:
        kind, value = key.split(":", 1)
        return self.model.identifier_kinds.index(kind), value

    def group(self, key: str) -> set[str]:
        return next(group for group in self.groups if key in group)

    def customer(self, key: str) -> str:
        return min(self.group(key), key=self.rank)

    def join_all(self, corrections: list[Correction]) -> None:
        decided: dict[tuple[str, str], Correction] = {}
        for correction in sorted(corrections, key=lambda c: (c.at, c.id, msgspec.json.encode(c))):
            a, b = sorted([f"{i.kind}:{i.value}" for i in correction.identifiers], key=self.rank)
            if a != b:
                decided[a, b] = correction
        apart = [pair for pair, correction in decided.items() if correction.relation == "not_same"]
        same = {pair: c.at for pair, c in decided.items() if c.relation == "same"}
        for at, pair in self.in_order(same):
            self.join(pair, at, apart, exclusive=False)
        if len(self.identifiers) <= self.model.max_household:
            for at, pair in self.in_order(self.links):
                self.join(pair, at, apart, exclusive=True)

    def in_order(self, links: dict[tuple[str, str], int]) -> list[tuple[int, tuple[str, str]]]:
        found = [(at, self.rank(a), self.rank(b), (a, b)) for (a, b), at in links.items()]
        return [(at, pair) for at, _, _, pair in sorted(found)]

    def join(self, pair: tuple[str, str], at: int, apart: list[tuple[str, str]], *, exclusive: bool) -> None:
        ours, theirs = self.group(pair[0]), self.group(pair[1])
        if ours is theirs:
            return
        together = ours | theirs
        for kind in self.model.exclusive_kinds if exclusive else ():
            if any(k.startswith(f"{kind}:") for k in ours) and any(k.startswith(f"{kind}:") for k in theirs):
                self.refused.setdefault(pair, (at, "exclusive_kind"))
                return
        if any(a in together and b in together for a, b in apart):
            self.refused.setdefault(pair, (at, "not_same"))
            return
        self.groups = [group for group in self.groups if group is not ours and group is not theirs]
        self.groups.append(together)

    def of(self, element: Touchpoint | Identification) -> str:
        return self.customer(min((f"{i.kind}:{i.value}" for i in element.identifiers), key=self.rank))


# --- one customer ---


def cut(life: list[Touchpoint], model: JourneyModel) -> list[list[Touchpoint]]:
    journeys: list[list[Touchpoint]] = []
    for t in life:
        if (
            not journeys
            or t.occurred_at - journeys[-1][-1].occurred_at > model.journey_gap_ms
            or journeys[-1][-1].type in model.closes_journey
        ):
            journeys.append([])
        journeys[-1].append(t)
    return journeys


def transactions_of(journey: list[Touchpoint], model: JourneyModel) -> list[list[Touchpoint]]:
    found: list[list[Touchpoint]] = []
    for place, t in enumerate(journey):
        chosen = None
        if t.conversation_id is not None:
            for transaction in found:
                if t.conversation_id in [u.conversation_id for u in transaction]:
                    chosen = transaction
        if chosen is None and place > 0:
            before = journey[place - 1]
            if t.occurred_at - before.occurred_at <= model.transaction_gap_ms:
                chosen = next(transaction for transaction in found if before in transaction)
        if chosen is None:
            chosen = []
            found.append(chosen)
        chosen.append(t)
    return found


def rule_holds(rule: Any, t: Touchpoint, already: bool) -> bool:
    if rule.types is not None and t.type not in rule.types:
        return False
    if rule.channels is not None and t.channel not in rule.channels:
        return False
    if rule.outcomes is not None and t.outcome not in rule.outcomes:
        return False
    if rule.customer_already is not None and rule.customer_already is not already:
        return False
    for name, allowed in rule.properties.items():
        if msgspec.json.encode(t.properties.get(name)) not in [
            msgspec.json.encode(value) for value in allowed
        ]:
            return False
    return True


def phases_of(journey: list[Touchpoint], already: list[bool], model: JourneyModel) -> list[str]:
    current = model.phases[0]
    found = []
    for t, customer in zip(journey, already, strict=True):
        fitting = [rule.phase for rule in model.rules if rule_holds(rule, t, customer)]
        if fitting:
            current = fitting[0]
        found.append(current)
    return found


def persona_fits(rule: Any, t: Touchpoint) -> bool:
    asked = {
        "types": [t.type],
        "channels": [t.channel],
        "outcomes": [t.outcome],
        "segments": list(t.segments),
        "campaigns": [t.campaign.name if t.campaign else None],
    }
    for field_name, said in asked.items():
        wanted = getattr(rule, field_name)
        if wanted is not None and not [one for one in said if one in wanted]:
            return False
    return all(
        msgspec.json.encode(t.properties.get(name)) in [msgspec.json.encode(value) for value in allowed]
        for name, allowed in rule.properties.items()
    )


def shape_of(phases: list[str], model: JourneyModel) -> str:
    entered = [model.phases.index(phase) for phase, _ in groupby(phases)]
    if len(set(entered)) < len(entered):
        return "cyclical"
    return "linear" if entered == sorted(entered) else "non_linear"


def beside_the_paved_path(
    journey: list[Touchpoint], phases: list[str], model: JourneyModel
) -> tuple[int | None, int]:
    """Tries every way to lay the journey beside the path: (least distance, most steps walked at it)."""
    steps = model.paved_path.steps
    walked_by = [
        [t.type in step.types or phase in step.phases for step in steps]
        for t, phase in zip(journey, phases, strict=True)
        if t.type not in model.paved_path.passed_over
    ]

    @cache
    def rest(place: int, latest: int) -> tuple[int, int]:
        """From this touchpoint on, when `latest` is the step walked latest: (distance, minus steps walked)."""
        if place == len(walked_by):
            return sum(not step.optional for step in steps[latest + 1 :]), 0
        detour, walked = rest(place + 1, latest)
        ways = [(detour + 1, walked)]
        if latest >= 0 and walked_by[place][latest]:
            ways.append(rest(place + 1, latest))
        for step in range(latest + 1, len(steps)):
            if walked_by[place][step]:
                missed = sum(not left_out.optional for left_out in steps[latest + 1 : step])
                distance, walked = rest(place + 1, step)
                ways.append((missed + distance, walked - 1))
        return min(ways)

    if not steps:
        return None, 0
    distance, walked = rest(0, -1)
    return distance, -walked


@dataclass
class Try:
    """An attempt as the oracle sees it."""

    kind: Any
    opener: Touchpoint
    latest: Touchpoint
    outcome: str = "open"
    ended_at: int | None = None
    ended_by: Touchpoint | None = None
    recovered_at: int | None = None

    @property
    def deadline(self) -> int:
        return int(self.latest.occurred_at + self.kind.patience_ms)


def attempts_of(
    life: list[Touchpoint], journeys: list[list[Touchpoint]], watermark: int, model: JourneyModel
) -> list[Try]:
    journey_of = {t.id: number for number, journey in enumerate(journeys) for t in journey}
    done: list[Try] = []
    for kind in model.attempts:
        scopes = {t.conversation_id for t in life if t.type == kind.opened_by}
        for scope in scopes:
            openers = [t for t in life if t.type == kind.opened_by and t.conversation_id == scope]
            inside = [t for t in life if scope is None or t.conversation_id == scope]
            while openers:
                attempt = Try(kind, openers[0], openers[0])
                renewing = [attempt.opener]
                later = [t for t in life if t.order > attempt.opener.order]
                for t in later:
                    if t in inside and t.type in kind.completed_by and t.occurred_at <= attempt.deadline:
                        attempt.outcome, attempt.ended_at, attempt.ended_by = "completed", t.occurred_at, t
                        break
                    if t in inside and t.type in kind.abandoned_by and t.occurred_at <= attempt.deadline:
                        attempt.outcome, attempt.ended_at, attempt.ended_by = "abandoned", t.occurred_at, t
                        break
                    if t in openers and t.occurred_at < attempt.deadline:
                        attempt.latest = t
                        renewing.append(t)
                openers = [t for t in openers if t not in renewing]
                if attempt.outcome == "open" and watermark > attempt.deadline:
                    attempt.outcome, attempt.ended_at = "abandoned", attempt.deadline
                if attempt.outcome == "abandoned":
                    after = attempt.ended_by.order if attempt.ended_by else (attempt.deadline + 1, "")
                    recoveries = [
                        t.occurred_at
                        for t in inside
                        if t.type in kind.completed_by
                        and t.order >= after
                        and journey_of[t.id] == journey_of[attempt.opener.id]
                    ]
                    attempt.recovered_at = recoveries[0] if recoveries else None
                done.append(attempt)
    return done


def score(low: int, high: int, value: float) -> float:
    """A score on −1…1."""
    middle = (low + high) / 2
    return max(-1.0, min(1.0, (value - middle) / (high - middle)))


def emotion(t: Touchpoint, repeated: bool, model: JourneyModel) -> float:
    rating: Any = t.properties.get("rating")
    values: dict[Any, float | None] = {
        "csat": None if t.csat is None else score(1, 5, t.csat),
        "nps": None if t.nps is None else max(-1.0, min(1.0, (t.nps - 7.5) / 2.5)),
        "ces": None if t.ces is None else score(1, 7, t.ces),
        "sentiment": None if t.sentiment is None else max(-1.0, min(1.0, t.sentiment)),
        "rating": score(1, 5, rating) if type(rating) in (int, float) else None,
    }
    base = model.weights.get(t.type, 0.0)
    value = (values[base] or 0.0) if isinstance(base, str) else base
    by = model.modifiers
    minutes = max(0, (t.wait_ms or 0) - by.wait_beyond_ms) // by.wait_each_ms
    value += max(minutes * by.wait_weight, by.wait_most)
    minutes = max(0, (t.hold_ms or 0) - by.hold_beyond_ms) // by.hold_each_ms
    value += max(minutes * by.hold_weight, by.hold_most)
    value += max(0, (t.transfers or 0) - by.transfers_beyond) * by.transfer_weight
    if repeated and value < 0:
        value *= by.repeated_failure_factor
    present = [one for name in ("csat", "nps", "sentiment") if (one := values[name]) is not None]
    if present:
        value = (value + sum(present) / len(present)) / 2
    return round(max(-1.0, min(1.0, value)), 6) + 0.0


class Life:
    """One customer: every question is answered by scanning all touchpoints."""

    def __init__(
        self, customer_id: str, touchpoints: list[Touchpoint], watermark: int, model: JourneyModel
    ) -> None:
        self.customer_id = customer_id
        self.model = model
        self.watermark = watermark
        self.life = sorted(touchpoints, key=lambda t: (t.occurred_at, t.id))
        self.journeys = cut(self.life, model)
        self.tries = attempts_of(self.life, self.journeys, watermark, model)

    def before(self, t: Touchpoint) -> list[Touchpoint]:
        return [u for u in self.life if u.order < t.order]

    def already(self, t: Touchpoint) -> bool:
        return any(u.type in self.model.converting_types for u in self.before(t))

    def fails(self, t: Touchpoint) -> bool:
        rules = self.model.pain
        return (
            t.type in rules.failure_types
            or t.type in rules.payment_failed_types
            or t.outcome in rules.failure_outcomes
        )

    def repeated_failure(self, t: Touchpoint) -> bool:
        within = self.model.modifiers.repeated_failure_ms
        return self.fails(t) and any(
            self.fails(u) and u.type == t.type and t.occurred_at - u.occurred_at <= within
            for u in self.before(t)
        )

    def begins_conversation(self, t: Touchpoint) -> bool:
        contact = self.model.contact_types
        return t.type in contact and not any(
            u.type in contact and u.conversation_id is not None and u.conversation_id == t.conversation_id
            for u in self.before(t)
        )

    def repeat_contact(self, t: Touchpoint) -> bool:
        return self.begins_conversation(t) and any(
            self.begins_conversation(u)
            and u.topic == t.topic
            and t.occurred_at - u.occurred_at <= self.model.pain.repeat_contact_ms
            and (u.conversation_id is None or u.conversation_id != t.conversation_id)
            for u in self.before(t)
        )

    def first_contact_resolution(self, t: Touchpoint) -> bool:
        begins = [
            u
            for u in self.before(t)
            if t.conversation_id is not None
            and u.conversation_id == t.conversation_id
            and self.begins_conversation(u)
        ]
        return bool(
            self.model.delight.first_contact_resolution
            and t.type in self.model.resolving_types
            and begins
            and not self.repeat_contact(begins[0])
            and not t.transfers
        )

    def pains(
        self, t: Touchpoint, transaction: list[Touchpoint], phase_of: dict[str, int]
    ) -> list[PainPoint]:
        """All but abandonment."""
        rules = self.model.pain
        mine = [u for u in transaction if u.order < t.order]
        found: dict[str, float] = {}
        if t.type in rules.failure_types or t.outcome in rules.failure_outcomes:
            found["failure"] = rules.severity["failure"]
        if t.type in rules.payment_failed_types:
            found["payment_failed"] = rules.severity["payment_failed"]
        for kind, value, least in (
            ("long_wait", t.wait_ms, rules.long_wait_ms.get(t.channel)),
            ("long_hold", t.hold_ms, rules.long_hold_ms.get(t.channel)),
        ):
            if value is not None and least is not None and value >= least:
                found[kind] = round(min(1.0, rules.severity[kind] * value / least), 6)
        scores = [(t.csat, rules.csat), (t.nps, rules.nps), (t.ces, rules.ces)]
        if any(value is not None and value <= most for value, most in scores):
            found["low_score"] = rules.severity["low_score"]
        if t.sentiment is not None and t.sentiment <= rules.sentiment:
            found["negative_sentiment"] = round(min(1.0, -t.sentiment), 6)
        if self.repeat_contact(t):
            found["repeat_contact"] = rules.severity["repeat_contact"]
        if mine and (mine[-1].channel, t.channel) in rules.switches:
            done = [a for a in self.tries if a.outcome == "completed" and a.ended_by in mine]
            if not done:
                found["channel_switch"] = rules.severity["channel_switch"]
        if t.transfers is not None and t.transfers >= rules.transfers:
            found["transfer"] = rules.severity["transfer"]
        alike = [u for u in mine if u.type == t.type]
        if len(alike) + 1 >= rules.loop_least and t.type not in rules.loop_except:
            between = [u for u in mine if u.order > alike[0].order]
            if not any(phase_of[u.id] > phase_of[alike[0].id] for u in between):
                found["loop"] = rules.severity["loop"]
        if t.type in rules.complaint_types or t.topic in rules.complaint_topics:
            found["complaint"] = rules.severity["complaint"]
        if t.type in rules.refund_types:
            found["refund"] = rules.severity["refund"]
        order = [
            "failure", "payment_failed", "long_wait", "long_hold", "low_score", "negative_sentiment",
            "repeat_contact", "channel_switch", "transfer", "loop", "complaint", "refund",
        ]  # fmt: skip
        return [PainPoint(kind, found[kind]) for kind in order if kind in found]

    def delights(self, t: Touchpoint) -> list[str]:
        rules = self.model.delight
        scores = [(t.csat, rules.csat), (t.nps, rules.nps), (t.ces, rules.ces)]
        fast = rules.fast_answer_ms.get(t.channel)
        holds = {
            "high_score": any(value is not None and value >= least for value, least in scores),
            "positive_sentiment": t.sentiment is not None and t.sentiment >= rules.sentiment,
            "fast_answer": t.type in rules.fast_answer_types
            and t.wait_ms is not None
            and fast is not None
            and t.wait_ms <= fast,
            "first_contact_resolution": self.first_contact_resolution(t),
            "reward": t.type in rules.reward_types,
            "advocacy": t.type in rules.advocacy_types,
        }
        return [kind for kind, held in holds.items() if held]

    def nearest_pain(
        self, t: Touchpoint, journey: list[Touchpoint], own: dict[str, list[PainPoint]]
    ) -> tuple[str | None, str | None]:
        found: list[tuple[int, float, list[int], str, str]] = []
        for place, u in enumerate(journey):
            if u.order > t.order:
                continue
            pains = list(own[u.id])
            for a in self.tries:
                if a.opener is u and a.outcome == "abandoned" and a.ended_by in journey:
                    assert a.ended_by is not None
                    if a.ended_by.order <= t.order:
                        pains.append(PainPoint("abandonment", a.kind.severity))
            for pain in pains:
                backwards = [-ord(letter) for letter in pain.kind]
                found.append((place, pain.severity, backwards, pain.kind, u.id))
        if not found:
            return None, None
        best = max(found)
        return best[3], best[4]

    def drop_off(
        self, t: Touchpoint, following: Touchpoint | None, phase: str, pain: tuple[str | None, str | None]
    ) -> DropOff | None:
        if phase in self.model.final_phases or t.type in self.model.closes_journey:
            return None
        at = t.occurred_at + self.model.patience_ms[phase]
        if following is not None:
            return DropOff(at, following.occurred_at, *pain) if following.occurred_at > at else None
        return DropOff(at, None, *pain) if self.watermark > at else None

    def judge(self, said: Said, persona: str | None) -> None:
        model = self.model
        for journey in self.journeys:
            journey_id = blake2b(f"{self.customer_id}\n{journey[0].id}".encode(), digest_size=16).hexdigest()
            phases = phases_of(journey, [self.already(t) for t in journey], model)
            phase_of = {t.id: model.phases.index(phase) for t, phase in zip(journey, phases, strict=True)}
            transactions = transactions_of(journey, model)
            own = {}
            for t in journey:
                transaction = next(one for one in transactions if t in one)
                own[t.id] = self.pains(t, transaction, phase_of)
            verdicts: list[Verdict] = []
            for place, t in enumerate(journey):
                transaction = next(one for one in transactions if t in one)
                moved = "enter"
                if place > 0:
                    step = phase_of[t.id] - phase_of[journey[place - 1].id]
                    moved = "forward" if step > 0 else "back" if step < 0 else "stay"
                opened = [
                    a for kind in model.attempts for a in self.tries if a.kind is kind and a.opener is t
                ]
                lost = [a.kind.severity for a in opened if a.outcome == "abandoned"]
                following = journey[place + 1] if place + 1 < len(journey) else None
                verdict = Verdict(
                    customer_id=self.customer_id,
                    journey_id=journey_id,
                    ordinal=place + 1,
                    phase=phases[place],
                    phase_move=moved,  # type: ignore[arg-type]
                    transaction_id=transaction[0].id,
                    customer_already=self.already(t),
                    converts=t.type in model.converting_types,
                    weight=emotion(t, self.repeated_failure(t), model),
                    moment_of_truth=t.type in model.moments_of_truth,
                    pain_points=tuple(own[t.id] + ([PainPoint("abandonment", max(lost))] if lost else [])),
                    delights=tuple(self.delights(t)),
                    attempts=tuple(
                        Attempt(
                            a.kind.kind,
                            a.outcome,  # type: ignore[arg-type]
                            a.ended_at,
                            a.recovered_at,
                            a.ended_by.id if a.ended_by else None,
                        )
                        for a in opened
                    ),
                    drop_off=self.drop_off(t, following, phases[place], self.nearest_pain(t, journey, own)),
                )
                verdicts.append(verdict)
                said.touchpoints[t.id, day(t.occurred_at)] = t, verdict
            said.journeys[journey[0].id, day(journey[0].occurred_at)] = self.row(journey, verdicts, persona)

    def row(self, journey: list[Touchpoint], verdicts: list[Verdict], persona: str | None) -> Row:
        model = self.model
        converting = [t.occurred_at for t in journey if t.type in model.converting_types]
        campaigns = [t.campaign.name for t in journey if t.campaign and t.campaign.name is not None]
        personas = [t.persona for t in journey if t.persona is not None]
        if not personas and persona is None:
            personas = [
                rule.persona for rule in model.persona_rules if any(persona_fits(rule, t) for t in journey)
            ][:1]
        outcomes = [attempt.outcome for verdict in verdicts for attempt in verdict.attempts]
        dropped = verdicts[-1].drop_off
        distance, steps = beside_the_paved_path(journey, [v.phase for v in verdicts], model)
        values: dict[str, Fraction] = {}
        for t in journey:
            if t.amount is not None and t.currency is not None:
                if t.type in model.converting_types:
                    values[t.currency] = values.get(t.currency, Fraction(0)) + Fraction(t.amount)
                elif t.type in model.refunding_types:
                    values[t.currency] = values.get(t.currency, Fraction(0)) - Fraction(t.amount)
        return {
            "id": journey[0].id,
            "started_at": journey[0].occurred_at,
            "journey_id": verdicts[0].journey_id,
            "customer_id": self.customer_id,
            "ended_at": journey[-1].occurred_at,
            "closed": journey[-1].type in model.closes_journey,
            "touchpoint_ids": tuple(t.id for t in journey),
            "ats": tuple(t.occurred_at for t in journey),
            "types": tuple(t.type for t in journey),
            "channels": tuple(t.channel for t in journey),
            "phases": tuple(v.phase for v in verdicts),
            "weights": tuple(v.weight for v in verdicts),
            "transaction_ids": tuple(v.transaction_id for v in verdicts),
            "current_phase": verdicts[-1].phase,
            "furthest_phase": max((v.phase for v in verdicts), key=model.phases.index),
            "converted_at": converting[0] if converting else None,
            "conversions": len(converting),
            "customer_already": self.already(journey[0]),
            "campaign_first": campaigns[0] if campaigns else None,
            "campaign_last": campaigns[-1] if campaigns else None,
            "persona": personas[-1] if personas else persona,
            "pain_points": sum(len(v.pain_points) for v in verdicts),
            "delights": sum(len(v.delights) for v in verdicts),
            "attempts_completed": outcomes.count("completed"),
            "attempts_abandoned": outcomes.count("abandoned"),
            "attempts_open": outcomes.count("open"),
            "drop_off_at": dropped.at if dropped else None,
            "drop_off_phase": verdicts[-1].phase if dropped else None,
            "recoveries": sum(1 for v in verdicts if v.drop_off and v.drop_off.recovered_at is not None),
            "values": values,
            "shape": shape_of([v.phase for v in verdicts], model),
            "paved_path_distance": distance,
            "paved_path_steps": steps,
        }


def judge(elements: Sequence[Element], watermark: int, model: JourneyModel) -> Said:
    """Every table as it must stand for this set of elements at this watermark."""
    known = distinct(elements)
    said = Said(count=len(known))
    people = People(known, model)
    copies: dict[str, list[Touchpoint]] = {}
    for element in known:
        if isinstance(element, Touchpoint):
            copies.setdefault(element.id, []).append(element)
            said.copies.add(canonical(element))
        elif isinstance(element, Identification):
            said.identifications.add(canonical(element))
        else:
            said.corrections.add(canonical(element))
    for id, of_one in copies.items():
        said.duplicates |= {(id, canonical(copy).decode()) for copy in conflicting(of_one)}
    touchpoints = [counting(of_one) for of_one in copies.values()]
    for customer_id in {people.of(t) for t in touchpoints}:
        mine = [t for t in touchpoints if people.of(t) == customer_id]
        told = [
            (e.at, e.id, e.persona)
            for e in known
            if isinstance(e, Identification) and e.persona is not None and people.of(e) == customer_id
        ]
        Life(customer_id, mine, watermark, model).judge(said, max(told)[2] if told else None)
    for key in people.identifiers:
        linked = [at for pair, at in people.links.items() if key in pair]
        said.identities[key] = {
            "customer_id": people.customer(key),
            "household_id": min(people.identifiers, key=people.rank),
            "first_linked_at": min(linked) if linked else None,
        }
    for (a, b), (at, reason) in people.refused.items():
        said.conflicts[a, b] = {
            "at": at,
            "reason": reason,
            "customer_a": people.customer(a),
            "customer_b": people.customer(b),
        }
    return said
