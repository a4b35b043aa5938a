"""Attempts: units of work that can be abandoned, per customer, kind and conversation of the opening one.

Which attempt a touchpoint opens, renews or ends depends on the order of touchpoints alone; only whether a
patience that ran out is already said depends on the watermark (`AttemptState.expired`).
"""

from models.journey import AttemptState, Place
from models.journey_model import TypeProfile


class Attempts:
    """The attempts of one customer that a further touchpoint may still end, renew or recover."""

    __slots__ = ("_watched",)

    def __init__(self) -> None:
        # By kind and conversation, in the order of opening: open ones, and abandoned ones not yet recovered.
        # Each is opened at or after the deadline of the one before, so deadlines rise.
        self._watched: dict[tuple[str, str | None], list[AttemptState]] = {}

    def take(
        self, place: Place, profile: TypeProfile
    ) -> tuple[list[AttemptState], list[AttemptState], list[AttemptState]]:
        """The next touchpoint: which attempts it changed, which of these it completed, which it opened."""
        changed: list[AttemptState] = []
        completed: list[AttemptState] = []
        opened: list[AttemptState] = []
        touchpoint = place.touchpoint
        at, conversation = touchpoint.occurred_at, touchpoint.conversation_id
        scopes = (None,) if conversation is None else (None, conversation)
        for kind in profile.completes:
            for scope in scopes:
                # It completes, recovers, or shows to be out of reach each attempt that waits for it.
                for attempt in self._watched.pop((kind.kind, scope), ()):
                    if not attempt.abandoned and at <= attempt.deadline:
                        attempt.completed = True
                        attempt.ended_at, attempt.ended_by = at, touchpoint.id
                        completed.append(attempt)
                    elif attempt.place.journey is place.journey:
                        attempt.recovered_at = at
                    else:
                        continue
                    changed.append(attempt)
        for kind in profile.abandons:
            for scope in scopes:
                for attempt in reversed(self._watched.get((kind.kind, scope), ())):
                    if at > attempt.deadline:
                        break
                    if not attempt.abandoned:
                        attempt.abandoned = True
                        attempt.ended_at, attempt.ended_by = at, touchpoint.id
                        changed.append(attempt)
        for kind in profile.opens:
            watched = self._watched.setdefault((kind.kind, conversation), [])
            if watched and not watched[-1].abandoned and at < watched[-1].deadline:
                watched[-1].deadline = at + kind.patience_ms
                watched[-1].expired = False
                changed.append(watched[-1])
                continue
            if watched and watched[0].place.journey is not place.journey:
                watched[:] = [
                    one
                    for one in watched
                    if one.place.journey is place.journey or (not one.abandoned and at <= one.deadline)
                ]
            attempt = AttemptState(kind, place, at + kind.patience_ms)
            watched.append(attempt)
            opened.append(attempt)
        return changed, completed, opened
