"""Journeys laid beside the paved path, as SQL: which touchpoint walks which step.

The same as `models.paved_path`, which gives the distance alone: journey and path differ as little as they can, a
detour or a missed step counting one each, and of the ways that differ equally little one that walks most steps. Of
these the one whose last step is the furthest, walked as early as it can be; then the same of the step before, and on.

Journeys whose touchpoints fit the same steps in the same order are laid beside it once. One fold over a journey
keeps, for every step k, the best way whose latest step is k: an array of its cost and, the latest first, of what it
walked, `place - step * _PLACES`. Arrays are compared element by element, so the least is the best. Costs are less what
the touchpoints so far would cost as detours, and less what the steps up to k would cost if they were missed: a
detour changes nothing then, and ways can be compared whichever step was their latest.
"""

from models.journey_model import JourneyModel
from models.paved_path import PavedStep
from warehouse.binds import Binds

_APART = 1 << 16  # more than any number of steps
_PLACES = 1 << 32  # more than any number of touchpoints
_STEP = f"intDiv({_PLACES} - 1 - w, {_PLACES})"  # of what was walked, `w`
_NEVER = 1 << 60


def aligned(model: JourneyModel, chosen: str, binds: Binds) -> str:
    """SQL: of each journey of `chosen` (conditions) `walked`: tuples of (step, place of its touchpoint), and of the
    touchpoints that are not passed over `types`, `ms`, `fits` (bits of the steps they fit); `last_conversion`
    (place, 0: none), `going_on`, journey_id.
    """
    return f"""
        select alike.1 as journey_id, alike.2 as types, alike.3 as ms, alike.4 as last_conversion,
               alike.5 as going_on, fits, walked
        from (
            select fits, alikes,
                   arrayReverse(arrayMap(
                       w -> ({_STEP}, w + {_PLACES} * {_STEP}),
                       arraySlice(arrayMin({_ways(model.paved_path.steps)}), 2)
                   )) as walked
            from (
                select fits, groupArray((journey_id, types, ms, last_conversion, going_on)) as alikes
                from ({_touchpoints(model, chosen, binds)}) group by fits
            )
        )
        array join alikes as alike"""  # noqa: S608  values are bound, names are ours


def _ways(steps: tuple[PavedStep, ...]) -> str:
    """SQL: the best way to every step, none being the first of them."""
    ways = ["best[1]"]
    for k, step in enumerate(steps, start=1):
        missed = _APART * (not step.optional)
        before = f"arrayMin(arraySlice(best, 1, {k}))"
        stays = f"arrayPushFront(arraySlice(best[{k + 1}], 2), best[{k + 1}][1] - {_APART})"
        cost, place = f"{before}[1] - {_APART + missed + 1}", f"place - {k * _PLACES}"
        walks = f"arrayConcat([{cost}, {place}], arraySlice({before}, 2))"
        ways.append(f"if(bitTest(f, {k - 1}), arrayMin([{stays}, {walks}]), best[{k + 1}])")
    begin = ", ".join(["[toInt64(0)]", *[f"[toInt64({_NEVER})]"] * len(steps)])
    return f"""arrayFold(
        (best, f, place) -> [{", ".join(ways)}],
        fits, arrayMap(place -> toInt64(place), arrayEnumerate(fits)), [{begin}])"""


def _touchpoints(model: JourneyModel, chosen: str, binds: Binds) -> str:
    fits = " + ".join(f"{1 << k} * ({_fits(step, binds)})" for k, step in enumerate(model.paved_path.steps))
    passed_over = sorted(model.paved_path.passed_over)
    kept = f"type not in ({', '.join(map(binds.bound, passed_over))})" if passed_over else "1"
    converting = ", ".join(map(binds.bound, sorted(model.converting_types)))
    converts = f"type in ({converting})" if converting else "0"
    ms = "arrayMap(at -> toUnixTimestamp64Milli(at), ats)"
    return f"""
        select journey_id, arrayMap(t -> t.1, kept) as types, arrayMap(t -> t.3, kept) as ms,
               arrayMap((type, phase) -> toUInt64({fits}), types, arrayMap(t -> t.2, kept)) as fits,
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
