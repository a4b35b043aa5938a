"""The peer of the fold: one that corrects nothing, and so says each verdict once, when its journey has ended.

It judges by the same rules (`models.life_cycle`), which are what a touchpoint costs in any case. It keeps no
set, so a repeat would count twice; no identities; nothing of what it said; and what comes late is an error.
"""

from models.journey import Journey
from models.journey_model import JourneyModel
from models.life_cycle import LifeCycle
from models.touchpoint import Touchpoint
from models.verdict import JudgedTouchpoint, row_version


class PlainFold:
    """One customer, whose touchpoints come in order and once."""

    def __init__(self, customer_id: str, model: JourneyModel) -> None:
        self._life = LifeCycle(customer_id, model)
        self._said = 0

    def add(self, touchpoint: Touchpoint) -> list[JudgedTouchpoint]:
        """The next touchpoint; the verdicts of the journey that it ends by beginning another one."""
        life = self._life
        if life.reaches_beyond(touchpoint):
            raise ValueError("what comes late cannot be judged")
        journeys = len(life.journeys)
        life.append(touchpoint)
        return self._say(life.journeys[-2]) if journeys and len(life.journeys) > journeys else []

    def end(self, watermark: int) -> list[JudgedTouchpoint]:
        """No more comes: the verdicts of the last journey, as of the watermark (UTC ms)."""
        self._life.expire(watermark)
        return self._say(self._life.journeys[-1])

    def _say(self, journey: Journey) -> list[JudgedTouchpoint]:
        life = self._life
        self._said += len(journey.places)
        version = row_version(self._said, 0)
        life.stale = []
        return [JudgedTouchpoint(place.touchpoint, life.verdict(place), version) for place in journey.places]
