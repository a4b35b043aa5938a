"""Customers who each have one journey of a given length, in order: what a touchpoint costs must not depend on it."""

import hashlib
import itertools

import msgspec

from benchmarks.traffic import MODEL, keyed
from models.identifier import Identifier
from models.touchpoint import Touchpoint

LENGTHS = (10, 100, 1_000)
_BEGIN = 1_767_225_600_000
_STEP_MS, _REST_MS, _VISIT = 300_000, 6 * 3_600_000, 10


def histories(length: int, customers: int) -> list[list[Touchpoint]]:
    """Touchpoints by customer. Their fields are those of simulated ones, ten in a visit, visits 6 h apart."""
    simulated = [one for _, one in keyed(5_000) if isinstance(one, Touchpoint)]
    open_ended = itertools.cycle(one for one in simulated if one.type not in MODEL.closes_journey)
    return [
        [_moved(next(open_ended), customer, number) for number in range(length)]
        for customer in range(customers)
    ]


def _moved(touchpoint: Touchpoint, customer: int, number: int) -> Touchpoint:
    at = _BEGIN + number * _STEP_MS + number // _VISIT * _REST_MS
    return msgspec.structs.replace(
        touchpoint,
        id=hashlib.sha256(f"{customer}:{number}".encode()).hexdigest()[:32],
        identifiers=(Identifier("user_id", f"customer-{customer}"),),
        occurred_at=at,
        received_at=at,
        conversation_id=None,
    )
