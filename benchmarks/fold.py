"""The journey logic alone, every element judged as it comes. No I/O, one core.

First simulated households, late touchpoints and links included; then journeys of a given length in order,
beside a fold that could not correct anything.
"""

import gc
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.figures import Figure
from benchmarks.histories import LENGTHS, histories
from benchmarks.plain_fold import PlainFold
from benchmarks.programs import BenchmarkError
from benchmarks.traffic import MODEL, households
from models.fold import Household
from models.touchpoint import Touchpoint
from models.verdict import JudgedTouchpoint

ELEMENTS = 200_000
_IN_ORDER = 20_000
_ROUNDS = 7


def measure() -> list[Figure]:
    """Elements per second of CPU, and CPU per touchpoint at the end of journeys of 10, 100 and 1,000."""
    return [_as_they_come(), *(_in_order(length) for length in LENGTHS)]


def _as_they_come() -> Figure:
    said = households(ELEMENTS)
    known: dict[str, Household] = {}
    watermark = 0
    with _collector_at_rest():
        begun = time.process_time()
        for key, element in said:
            household = known.get(key)
            if household is None:
                household = known[key] = Household(key, MODEL)
            if isinstance(element, Touchpoint):
                watermark = max(watermark, _watermark(element))
            household.add((element,))
            household.judge(watermark, journeys=False)
        seconds = time.process_time() - begun
    return Figure("fold_alone", len(said) / seconds, "touchpoints/s", "CPU of one core, no Kafka, no store")


def _in_order(length: int) -> Figure:
    """The median of rounds that take turns, since other work on the machine slows both."""
    customers = histories(length, _IN_ORDER // length)
    folds: list[float] = []
    plain: list[float] = []
    last = {}
    for _ in range(_ROUNDS):
        for fold, took in ((_fold, folds), (_plainly, plain)):
            with _collector_at_rest():
                begun = time.process_time()
                last[fold] = [fold(touchpoints) for touchpoints in customers]
                took.append(1e6 * (time.process_time() - begun) / _IN_ORDER)
    _check(last[_fold], last[_plainly])
    ratio = statistics.median(a / b for a, b in zip(folds, plain, strict=True))
    beside = f"{ratio:.2f} × one without corrections ({statistics.median(plain):.1f}); at most 2 ×"
    return Figure(f"fold_in_order_{length}", statistics.median(folds), "µs/touchpoint", beside)


def _fold(touchpoints: Sequence[Touchpoint]) -> list[JudgedTouchpoint]:
    """Each touchpoint is judged at once, and what it changes in those before is said again."""
    household = Household(touchpoints[0].identifiers[0].key, MODEL)
    said: list[JudgedTouchpoint] = []
    for touchpoint in touchpoints:
        household.add((touchpoint,))
        said += household.judge(_watermark(touchpoint), journeys=False).touchpoints
    return said


def _plainly(touchpoints: Sequence[Touchpoint]) -> list[JudgedTouchpoint]:
    fold = PlainFold(touchpoints[0].identifiers[0].key, MODEL)
    said: list[JudgedTouchpoint] = []
    for touchpoint in touchpoints:
        said += fold.add(touchpoint)
    return said + fold.end(_watermark(touchpoints[-1]))


def _check(folded: Sequence[Sequence[JudgedTouchpoint]], plain: Sequence[Sequence[JudgedTouchpoint]]) -> None:
    """Both come to the same verdicts in the end, or there is nothing to compare."""
    for some, others in zip(folded, plain, strict=True):
        latest = {one.touchpoint.id: one.verdict for one in some}
        if latest != {one.touchpoint.id: one.verdict for one in others} or len(others) != len(latest):
            raise BenchmarkError("the fold without corrections says something else")


def _watermark(touchpoint: Touchpoint) -> int:
    return touchpoint.occurred_at - MODEL.allowed_lateness_ms


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """What is there already is not looked through by the garbage collector meanwhile."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
