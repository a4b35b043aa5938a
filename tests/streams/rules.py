"""The protocol's rules, each with a way to break it: what the scheduler must then notice.

A break replaces one function of the real code by one that leaves the rule out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from models import leaving
from models.fold import Household
from models.life_cycle import LifeCycle
from models.trimming import Trimmed
from streams import codecs, protocol, putting_back
from streams.codecs import Elements
from streams.protocol import Nodes
from tests.streams.scheduler import Worker

_handling = Nodes._handling
_leave = Nodes._leave
_elements = protocol._Handling.elements
_checkpoint = Worker.checkpoint


def _not_full(patch: pytest.MonkeyPatch) -> None:
    def handling(self: Nodes, at: Any) -> Any:
        made = _handling(self, at)
        made.full = False
        return made

    patch.setattr(Nodes, "_handling", handling)


def _merges_not_full(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Nodes, node: str) -> Elements | None:
        held = _leave(self, node)
        return None if held is None else msgspec.structs.replace(held, full=False)

    patch.setattr(Nodes, "_leave", leave)


def _put_back_not_full(patch: pytest.MonkeyPatch) -> None:
    encode_pasts = putting_back.encode_pasts

    def not_full(*given: Any) -> list[Any]:
        records = []
        for record in encode_pasts(*given):
            messages = [
                msgspec.structs.replace(message, full=False, seen=0)
                for message in codecs.decode_messages(record.value)
                if isinstance(message, Elements)
            ]
            records += [record._replace(value=value) for value in codecs.encode_messages(messages)]
        return records

    patch.setattr(putting_back, "encode_pasts", not_full)


def _no_resending(patch: pytest.MonkeyPatch) -> None:
    def handling(self: Nodes, at: Any) -> Any:
        made = _handling(self, at)
        made.replay = False
        return made

    patch.setattr(Nodes, "_handling", handling)


def _commit_too_early(patch: pytest.MonkeyPatch) -> None:
    def checkpoint(self: Worker) -> None:
        if self.zombie_for is None:
            self.cluster.committed[self.partition] = dict(self.position)
        _checkpoint(self) if self.cluster.rng.random() < 0.5 else self.say()

    patch.setattr(Worker, "checkpoint", checkpoint)


def _watermark_too_early(patch: pytest.MonkeyPatch) -> None:
    def take(self: Worker) -> None:
        _take(self)
        self._durable(("entry", codecs.watermark_entry(self.generation, self.nodes.watermark.value)))

    _take = Worker.take
    patch.setattr(Worker, "take", take)


def _only_what_is_new(patch: pytest.MonkeyPatch) -> None:
    """The changelog keeps only what was new to its writer."""

    def elements(self: Any, message: Elements) -> None:
        household = self._nodes.households.get(message.to)
        known = set(map(id, household.elements())) if household is not None else set()
        _elements(self, message)
        household = self._nodes.households.get(message.to)
        if household is not None and message.to in self._kept:
            kept = self._kept[message.to]
            held = [one for one in household.elements() if id(one) not in known]
            new = [one for one in kept.elements if any(one is other for other in held)]
            self._kept[message.to] = msgspec.structs.replace(kept, elements=new)

    patch.setattr(protocol._Handling, "elements", elements)


def _count_forgets(patch: pytest.MonkeyPatch) -> None:
    """What was trimmed is not counted any more."""
    patch.setattr(Trimmed, "count", property(lambda self: 0))


def _nothing_reaches_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Household, "_reaches_behind", lambda self, origins: False)
    patch.setattr(Trimmed, "concerns", lambda self, element: False)


def _customer_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Of trimmed journeys nothing is kept that says who is a customer already."""
    as_origin = LifeCycle.as_origin

    def forgetful(self: LifeCycle, identifiers: set[str]) -> Any:
        origin = as_origin(self, identifiers)
        origin.converted = False
        return origin

    patch.setattr(LifeCycle, "as_origin", forgetful)


def _links_forgotten(patch: pytest.MonkeyPatch) -> None:
    described = leaving._described

    def forgetful(*given: Any) -> Trimmed:
        gone = described(*given)
        gone.links = {}
        return gone

    patch.setattr(leaving, "_described", forgetful)


def _half_of_the_past_is_enough(patch: pytest.MonkeyPatch) -> None:
    """A household says what it knows while it waits for its past, and then nothing more."""
    patch.setattr(Household, "want_past", lambda self: None)


def _trimmed_beside_others(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Nodes, "_alone", property(lambda self: True))


def _trimmed_before_it_was_said(patch: pytest.MonkeyPatch) -> None:
    def checkpoint(self: Worker) -> None:
        position = dict(self.position)
        self._send(self.nodes.say_all())
        self._ask()
        trims = self.nodes.trims()
        for entry in (*trims.entries, *trims.deletions):
            self._durable(("entry", entry))
        if self.cluster.rng.random() < 0.5:
            return
        self.flush()
        self._durable(("entry", codecs.watermark_entry(self.generation, self.nodes.watermark.value)))
        if self.zombie_for is None:
            self.cluster.committed[self.partition] = position

    patch.setattr(Worker, "checkpoint", checkpoint)


def _deleted_before_it_was_described(patch: pytest.MonkeyPatch) -> None:
    trims = Nodes.trims

    def undescribed(self: Nodes) -> Any:
        return trims(self)._replace(entries=[])

    patch.setattr(Nodes, "trims", undescribed)


def _archive_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(protocol._Handling, "_ask_archive", lambda self, root, identifiers: None)


class Rule(NamedTuple):
    """How it is left out, and seeds of the scheduler that were seen to end wrong then."""

    leave_out: Callable[[pytest.MonkeyPatch], None]
    found_at: tuple[int, ...]


RULES = {
    "what a predecessor may have handled is said in full": Rule(_not_full, (38, 55)),
    "a merge is said in full": Rule(_merges_not_full, (37, 62)),
    "what is put back is said in full, with greater versions": Rule(_put_back_not_full, (4841, 6904)),
    "a replayed record sends its links, merges and forwards again": Rule(_no_resending, (49, 222)),
    "an offset is committed only when all that it owes was sent": Rule(_commit_too_early, (0, 2)),
    "a watermark is kept only when all that it fired was sent": Rule(_watermark_too_early, (58, 59)),
    "an entry holds every element of its record, new or not": Rule(_only_what_is_new, (49, 85)),
    "the count includes what was trimmed": Rule(_count_forgets, (310,)),
    "what reaches behind brings the past back": Rule(_nothing_reaches_behind, (55,)),
    "who was a customer already is never trimmed": Rule(_customer_forgotten, (178, 228)),
    "links are never trimmed": Rule(_links_forgotten, (161, 310)),
    "what may have been said otherwise of the past is said again": Rule(_half_of_the_past_is_enough, (3, 5)),
    "nothing leaves the state beside a predecessor": Rule(_trimmed_beside_others, (55,)),
    "nothing leaves the state before it was said": Rule(_trimmed_before_it_was_said, (92, 363)),
    "nothing is deleted before it was described": Rule(_deleted_before_it_was_described, (295, 300)),
    "who is not known is asked for in the archive": Rule(_archive_not_asked, (1203, 1671)),
}
