"""Which records a predecessor may have handled, or may have said what they caused.

A partition changes hands while its former owner may not know it yet. Below where the topics ended when it was assigned,
records may have been handled before; until there is surely no predecessor any more, it may go on with what comes.
"""

from collections.abc import Mapping


class Guard:
    """How far the topics of one partition were taken, and up to where somebody else may have been."""

    __slots__ = ("_ends", "_next", "_said_to", "trusting")

    def __init__(self) -> None:
        self.trusting = False  # no predecessor is at work any more
        self._next: dict[str, int] = {}  # topic -> offset of the record that comes next
        # by topic: below which offset a predecessor may have handled records, or said what they caused
        self._ends: dict[str, int] = {}
        self._said_to: dict[str, int] = {}

    def begin(
        self, ends: Mapping[str, int], begins: Mapping[str, int], *, said_before: bool, trusting: bool
    ) -> None:
        """A partition was assigned: its topics end at `ends` and are read from `begins` on."""
        self._ends = dict(ends)
        self._said_to = dict(ends) if said_before else {}
        self._next = dict(begins)
        self.trusting = trusting

    def trust(self, ends: Mapping[str, int]) -> None:
        """No predecessor is at work any more; up to `ends`, where the topics end now, it may have been."""
        self._said_to = {topic: max(at, self._said_to.get(topic, 0)) for topic, at in ends.items()}
        self.trusting = True

    def take(self, topic: str, offset: int) -> None:
        """This record is taken."""
        self._next[topic] = offset + 1

    def next_of(self, topic: str) -> int:
        """The offset of the topic's record that comes next."""
        return self._next.get(topic, 0)

    def replayed(self, topic: str, offset: int) -> bool:
        """Whether a predecessor may have handled this record."""
        return offset < self._ends.get(topic, 0)

    def said_before(self, topic: str, offset: int) -> bool:
        """Whether a predecessor may have said, or may yet say, what this record causes."""
        return not self.trusting or offset < self._said_to.get(topic, 0)

    @property
    def replays_are_over(self) -> bool:
        """Whether no record is to come that a predecessor may have handled."""
        return all(self.next_of(topic) >= end for topic, end in self._ends.items())

    @property
    def passed(self) -> bool:
        """Whether all that a predecessor may have said was said again."""
        return (
            self.trusting
            and self.replays_are_over
            and all(self.next_of(topic) >= end for topic, end in self._said_to.items())
        )
