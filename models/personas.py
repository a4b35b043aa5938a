"""What was said of a household's customers outside any touchpoint: which persona they are."""

from collections.abc import Mapping

from models.trimming import Told


class Personas:
    """The latest that was told of each identifier, and so of each customer."""

    __slots__ = ("by_identifier", "of", "stale")

    def __init__(self) -> None:
        self.by_identifier: dict[str, Told] = {}
        self.stale = False  # customers may be told otherwise than `of` says
        self.of: dict[str, str] = {}  # by customer, as it was last settled

    def tell(self, identifier: str, told: Told) -> None:
        """Something was said of the customer of this identifier; the latest holds."""
        before = self.by_identifier.get(identifier)
        if before is None or told > before:
            self.by_identifier[identifier] = told
            self.stale = True

    def regroup(self) -> None:
        """Another identifier may belong to a customer than did."""
        self.stale = self.stale or bool(self.by_identifier)

    def latest(self, customer_of: Mapping[str, str]) -> dict[str, Told]:
        """What was said last of each customer. `customer_of`: by identifier."""
        latest: dict[str, Told] = {}
        for identifier, told in self.by_identifier.items():
            customer_id = customer_of[identifier]
            latest[customer_id] = max(told, latest.get(customer_id, told))
        return latest

    def settle(self, customer_of: Mapping[str, str]) -> set[str]:
        """Bring `of` up to date; the customers of whom another persona is said now."""
        before, self.of = self.of, {one: told.persona for one, told in self.latest(customer_of).items()}
        self.stale = False
        return {one for one in before.keys() | self.of.keys() if before.get(one) != self.of.get(one)}
