"""What differs: the properties and touchpoints that most separate those who convert from those who are lost."""

from collections.abc import Sequence
from typing import Annotated, Any

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from models.journey_model import JourneyModel
from models.yaml_reader import parse_duration
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask, beside
from warehouse.basis import model_of, watermark
from warehouse.binds import Binds
from warehouse.breakdown import Breakdown
from warehouse.experiences import pains
from warehouse.rates import rate_of
from warehouse.scope import Scope, where
from warehouse.statistics import (
    association,
    false_discovery,
    odds_ratio,
    odds_ratio_interval,
    rate_difference,
)

OF_JOURNEYS = ("type", "channel", "first_type", "touchpoints", "customer_already", "campaign", "persona")
OF_TOUCHPOINTS = ("pain", "delight", "queue", "topic", "transfers", "device_type", "locale")
SIGNIFICANT = 0.05
_CONVERTED = ("converters", "of_converters", "lost", "of_lost")
_SAID = "has.2 != ''"


@analysis("what-differs", hidden=("of_converters", "of_lost", "p", "significant"))
def what_differs(
    connection: Engine,
    *,
    of: Annotated[
        Sequence[str], Doc(f"The properties to look at: {', '.join((*OF_JOURNEYS, *OF_TOUCHPOINTS))}.")
    ] = (*OF_JOURNEYS, *OF_TOUCHPOINTS),
    within: Annotated[str, Doc("A journey has converted if it did so soon after its beginning.")] = "30d",
    seen_within: Annotated[
        str | None,
        Doc("Look only at what was seen so soon after the beginning, of those not converted by then."),
    ] = None,
    least: Annotated[int, Doc("What fewer journeys have is left out.")] = 30,
    **among: Unpack[Among],
) -> Answer:
    """What most separates the journeys that convert from those that do not.

    One row per property and value, the greatest difference first. Columns: property, value, converters (that have
    it), of_converters (all), converters_share (0–1), lost, of_lost, lost_share, difference (converters_share less
    lost_share), lo, hi (95 %, Newcombe), odds_ratio (of converting with it, against without), p, q (p after Benjamini
    and Hochberg, over all rows), significant (q ≤ 0.05).

    Converters are journeys with a conversion within `within` of their beginning; the lost have none, and that time
    is over at the watermark. What is looked at happened before the conversion, of the lost within that time; journeys
    that begin with a conversion are left out, and abandonments that only say that none came are no pain. The lost
    have more time to see things; with `seen_within` both have the same. Properties: type, channel and topic, queue,
    pain, delight of any touchpoint, transfers of one (1, 2, 3+), first_type, device_type and locale of the first one,
    touchpoints (how many: 1, 2–3, 4–7, …), customer_already, campaign (first), persona. The period selects journeys
    by their beginning. What differs need not be why. QuestionError for an unknown property, or a time that is none.
    """
    scope = scope_of(connection, among)
    asked = Breakdown.of(of, (*OF_JOURNEYS, *OF_TOUCHPOINTS)).fields
    within_ms = _duration(within)
    seen_ms = None if seen_within is None else _duration(seen_within)
    if seen_ms is not None and seen_ms >= within_ms:
        raise QuestionError(
            f"nobody converts within {within} who has not within {seen_within}",
            remedy="Let seen_within be shorter than within.",
        )
    up_to = watermark(connection)
    model = model_of(connection)
    binds = Binds()
    over = binds.bound((int(up_to.timestamp() * 1000) if up_to else 0) - within_ms)
    journeys = _journeys(model, scope, within_ms, seen_ms, over, binds)
    found = ask(connection, text(_counted(asked, journeys, model, scope, binds)), binds)
    frame = _compared(pd.DataFrame(found), least)
    return answer(
        frame,
        found.sql(),
        found.watermark,
        measures=Measures(
            keys=("property", "value"),
            counts=("converters", "lost"),
            rates={"converters_share": ("converters", "of_converters"), "lost_share": ("lost", "of_lost")},
            intervals={
                "difference": beside(frame, "lo", "hi"),
                "odds_ratio": lambda: [odds_ratio_interval(*counts) for counts in _counts(frame)],
            },
        ),
        noun="differences",
    )


def _duration(said: str) -> int:
    ms = parse_duration(said)
    if not ms:
        raise QuestionError(f'"{said}" is no duration', remedy="Write e.g. 12h, 7d, 4w.")
    return ms


def _journeys(
    model: JourneyModel, scope: Scope, within_ms: int, seen_ms: int | None, over: str, binds: Binds
) -> str:
    """SQL: the journeys that are decided, with converted, and seen: how many of their touchpoints are looked at."""
    converting = ", ".join(binds.bound(one) for one in sorted(model.converting_types)) or "''"
    within = binds.bound(within_ms)
    chosen = where(
        [f"toUnixTimestamp64Milli(started_at) < {over}"],
        scope.period("started_at", "started_on", binds),
        scope.of_journeys(binds),
    )
    before = f"arrayCount(at -> at <= {within}, since)"
    still = "1"
    if seen_ms is not None:
        seen = binds.bound(seen_ms)
        before = f"arrayCount(at -> at <= {seen}, since)"
        still = f"conversion = 0 or since[conversion] > {seen}"
    return (
        f"select *, if(converted, least(conversion - 1, {before}), {before}) as seen from (select journey_id, types,"  # noqa: S608
        " channels, customer_already, campaign_first, persona,"
        " arrayMap(at -> toUnixTimestamp64Milli(at) - toUnixTimestamp64Milli(started_at), ats) as since,"
        f" arrayFirstIndex(type -> type in ({converting}), types) as conversion,"
        f" conversion > 0 and since[conversion] <= {within} as converted"
        f" from journeys {chosen}) where conversion != 1 and ({still})"
    )


def _counted(asked: Sequence[str], journeys: str, model: JourneyModel, scope: Scope, binds: Binds) -> str:
    """SQL. Columns: property, value, converters, lost; the row of the empty property counts all journeys."""
    of_journeys = {
        "type": "arrayMap(one -> ('type', toString(one)), arrayDistinct(arraySlice(types, 1, seen)))",
        "channel": "arrayMap(one -> ('channel', toString(one)), arrayDistinct(arraySlice(channels, 1, seen)))",
        "first_type": "[('first_type', toString(types[1]))]",
        "touchpoints": "[('touchpoints', if(seen < 2, '1', concat(toString(exp2(floor(log2(seen)))), '–',"
        " toString(exp2(floor(log2(seen)) + 1) - 1))))]",
        "customer_already": "[('customer_already', if(customer_already, 'yes', 'no'))]",
        "campaign": "[('campaign', campaign_first)]",
        "persona": "[('persona', persona)]",
    }
    kinds = {
        "pain": f"arrayMap(one -> ('pain', toString(one)), {pains(model, binds)})",
        "delight": "arrayMap(one -> ('delight', toString(one)), delight_kinds)",
        "queue": "[('queue', toString(queue))]",
        "topic": "[('topic', toString(topic))]",
        "transfers": "[('transfers', multiIf(ifNull(transfers, 0) = 0, '', transfers >= 3, '3+',"
        " toString(assumeNotNull(transfers))))]",
        "device_type": "[('device_type', if(ordinal = 1, toString(device_type), ''))]",
        "locale": "[('locale', if(ordinal = 1, toString(locale), ''))]",
    }
    counts = "countIf(converted) as converters, countIf(not converted) as lost"
    whole = ["[('', '')]", *(of_journeys[one] for one in asked if one in of_journeys)]
    questions = [
        f"select has.1 as property, has.2 as value, {counts} from ({journeys})"  # noqa: S608
        f" array join arrayConcat({', '.join(whole)}) as has where property = '' or value != ''"
        " group by property, value"
    ]
    if some := [kinds[one] for one in asked if one in kinds]:
        said = (
            f"select journey_id, has, min(ordinal) as first from touchpoints array join arrayConcat({', '.join(some)})"  # noqa: S608
            f" as has {where([_SAID], scope.of_touchpoints(binds))} group by journey_id, has"
        )
        questions.append(
            f"select has.1 as property, has.2 as value, {counts} from ({said}) as _said"  # noqa: S608
            f" inner join (select journey_id, converted, seen from ({journeys})) as _journeys using journey_id"
            " where first <= seen group by property, value"
        )
    return " union all ".join(questions)


def _compared(found: pd.DataFrame, least: int) -> pd.DataFrame:
    everybody = found[found["property"] == ""]
    converters, lost = (int(everybody[name].sum()) for name in ("converters", "lost"))
    enough = found["converters"] + found["lost"] >= max(least, 1)
    frame = found[(found["property"] != "") & enough].reset_index(drop=True)
    # journeys are written a few seconds after their touchpoints
    frame = frame.assign(
        converters=frame["converters"].clip(upper=converters), lost=frame["lost"].clip(upper=lost),
        of_converters=converters, of_lost=lost,
    ).astype(dict.fromkeys(_CONVERTED, "int64"))  # fmt: skip
    frame = rate_of(frame, "converters_share", "converters", "of_converters", bounds=())
    frame = rate_of(frame, "lost_share", "lost", "of_lost", bounds=())
    counts = _counts(frame)
    p = [association(*one) for one in counts]
    q = false_discovery(p)
    spans = [rate_difference(*one[2:], *one[:2]) for one in counts]
    columns: dict[str, list[Any]] = {
        "lo": [low for low, _ in spans],
        "hi": [high for _, high in spans],
        "odds_ratio": [odds_ratio(*one) for one in counts],
        "p": p,
        "q": q,
    }
    frame["difference"] = frame["converters_share"] - frame["lost_share"]
    for name, values in columns.items():
        frame[name] = pd.Series(values, dtype="float64")
    frame["significant"] = pd.Series([one <= SIGNIFICANT for one in q], dtype="bool")
    frame["_size"] = frame["difference"].abs()
    frame = frame.sort_values(
        ["_size", "property", "value"], ascending=[False, True, True], ignore_index=True
    ).astype({"property": "str", "value": "str"})
    shown = ["converters", "of_converters", "converters_share", "lost", "of_lost", "lost_share", "difference"]
    return frame[["property", "value", *shown, *columns, "significant"]]


def _counts(frame: pd.DataFrame) -> list[tuple[int, int, int, int]]:
    """Of each row: converters that have it, of all; lost ones that have it, of all."""
    return list(zip(*(frame[name].tolist() for name in _CONVERTED), strict=True))
