"""Journeys laid beside the paved path, as SQL: which touchpoint walks which step.

The same as `models.paved_path`, which gives the distance alone: journey and path differ as little as they can, a
detour or a missed step counting one each, and of the ways that differ equally little one that walks most steps. Of
these the one whose last step is the furthest, walked as early as it can be; then the same of the step before, and on.

For every step k it takes some passes over arrays, for all journeys at once. Costs are less what the touchpoints so
far would cost as detours, so that a detour changes nothing: `cost_k[i]` is the least of a journey up to touchpoint i
whose latest step is k. It was walked at some touchpoint, `walk_k`, and each one since that fits k stayed on it at no
cost (`stays_k`). The least so far is x − arrayCumSumNonNegative(arrayDifference(x)).
"""

from models.journey_model import JourneyModel
from models.paved_path import PavedStep
from warehouse.binds import Binds

_APART = 1 << 16  # more than any number of steps
_NEVER = 1 << 48


def aligned(model: JourneyModel, chosen: str, binds: Binds) -> str:
    """SQL: of each journey of `chosen` (conditions) `walked`: tuples of (step, place of its touchpoint), and of the
    touchpoints that are not passed over `types`, `ms`, `fits` (bits of the steps they fit); `distance`;
    `last_conversion` (place, 0: none), `going_on`, journey_id.
    """
    steps = model.paved_path.steps
    required = [_APART * (not step.optional) for step in steps]
    # each level is a query over the one before: an alias of the same query would be written out wherever it is used
    levels = [
        [
            "arrayMap(f -> toInt64(0), fits) as least_1",
            "arrayMap(f -> toInt64(0), fits) as came_1",
            *(
                f"arrayCumSum(arrayMap(f -> toInt64({_APART}) * bitTest(f, {k}), fits)) as stays_{k + 1}"
                for k in range(len(steps))
            ),
        ]
    ]
    for k, cost in enumerate(required, start=1):
        levels += [
            [
                f"arrayMap((f, c, s) -> if(bitTest(f, {k - 1}), c + s - {_APART + 1}, toInt64({_NEVER})),"
                f" fits, came_{k}, stays_{k}) as walk_{k}"
            ],
            [
                f"arrayMap((w, d, s) -> w - d - s, walk_{k},"
                f" arrayCumSumNonNegative(arrayDifference(walk_{k})), stays_{k}) as cost_{k}"
            ],
            [
                f"arrayMap((l, c) -> least(l + {cost}, c), least_{k}, cost_{k}) as least_{k + 1}",
                f"arrayPopBack(arrayPushFront(least_{k + 1}, toInt64({sum(required[:k])}))) as came_{k + 1}",
            ],
        ]
    last = len(steps)
    ahead = [sum(required[k:]) for k in range(last + 1)]
    ends = ", ".join(f"cost_{k}[-1] + {ahead[k]} = total, {k}" for k in range(last, 0, -1))
    levels += [
        [f"if(empty(fits), toInt64({ahead[0]}), least_{last + 1}[-1]) as total"],
        [f"if(empty(fits), 0, multiIf({ends}, 0)) as at_{last}", f"toInt64(length(fits)) as until_{last}"],
    ]
    for k in range(last, 0, -1):
        # what the least so far is, is what walking the step had cost where it was walked
        found = f"arrayFirstIndex(w -> w = cost_{k}[until_{k}] + stays_{k}[until_{k}], walk_{k})"
        levels.append([f"if(at_{k} = {k}, toInt64({found}), 0) as place_{k}"])
        earlier = "".join(
            f"cost_{j}[place_{k} - 1] + {sum(required[j : k - 1])} = came_{k}[place_{k}], {j}, "
            for j in range(k - 1, 0, -1)
        )
        before = f"multiIf(place_{k} <= 1, 0, {earlier}0)" if earlier else "0"
        levels.append(
            [
                f"if(at_{k} = {k}, place_{k} - 1, until_{k}) as until_{k - 1}",
                f"if(at_{k} = {k}, {before}, at_{k}) as at_{k - 1}",
            ]
        )
    sql = _touchpoints(model, chosen, binds)
    for level in levels:
        sql = f"select *, {', '.join(level)} from ({sql})"  # noqa: S608  values are bound, names are ours
    walked = ", ".join(f"({k}, place_{k})" for k in range(1, last + 1))
    return f"""
        select journey_id, types, ms, fits, last_conversion, going_on,
               intDiv(total + {_APART} * toInt64(length(fits)) + {_APART - 1}, {_APART}) as distance,
               arrayFilter(w -> w.2 > 0, [{walked}]) as walked
        from ({sql})"""  # noqa: S608


def _touchpoints(model: JourneyModel, chosen: str, binds: Binds) -> str:
    fits = " + ".join(f"{1 << k} * ({_fits(step, binds)})" for k, step in enumerate(model.paved_path.steps))
    passed_over = sorted(model.paved_path.passed_over)
    kept = f"type not in ({', '.join(map(binds.bound, passed_over))})" if passed_over else "1"
    converting = ", ".join(map(binds.bound, sorted(model.converting_types)))
    converts = f"type in ({converting})" if converting else "0"
    ms = "arrayMap(at -> toUnixTimestamp64Milli(at), ats)"
    return f"""
        select journey_id, arrayMap(t -> t.1, kept) as types, arrayMap(t -> t.3, kept) as ms,
               arrayMap((type, phase) -> toUInt32({fits}), types, arrayMap(t -> t.2, kept)) as fits,
               arrayLastIndex(type -> {converts}, types) as last_conversion,
               converted_at is null and not closed and drop_off_at is null as going_on
        from (
            select journey_id, converted_at, closed, drop_off_at,
                   arrayFilter((t, type) -> {kept}, arrayZip(j.types, phases, {ms}), j.types) as kept
            from journeys as j {chosen}
        )"""  # noqa: S608


def _fits(step: PavedStep, binds: Binds) -> str:
    named = (("type", step.types), ("phase", step.phases))
    return " or ".join(f"{one} in ({', '.join(map(binds.bound, sorted(of)))})" for one, of in named if of)
