"""Households judged under another journey model, from the archive into tables of that model's own.

What is said of a household is a function of its elements, a watermark and the model, so nothing of the live
stream is needed. Rows carry the ordinary versions (as many elements as the live tables had seen of them), so
that what a worker says of them later, having seen more, wins as ever.
"""

from collections.abc import Callable, Iterator, Mapping
from uuid import uuid4

from clickhouse_connect.driver.client import Client

from models.fold import Household
from models.journey_model import JourneyModel
from models.routing import partition_of
from models.verdict import Facts
from warehouse.aggregates import Aggregates, Touched
from warehouse.archive import Behind, Past
from warehouse.connection import client
from warehouse.judged_tables import JudgedTables
from warehouse.rows import Rows
from warehouse.write_errors import RowsRefused
from warehouse.writer import Writer

_ELEMENTS_TOGETHER = 10_000  # one insert per table; some 50 MB meanwhile


def judged(past: Past, watermark: int, model: JourneyModel) -> Facts:
    """All that this model says of a household, with the version of as many elements as were seen of it.

    `watermark`: UTC ms; the household's own counts if it is later.
    """
    household = Household(past.household_id, model)
    household.add(past.elements)
    household.see(max(0, past.elements_seen - household.count))
    facts = household.judge(max(past.watermark, watermark), full=True)
    household.let_go()  # of its cycles: hundreds of thousands follow
    return facts


class Rejudging:
    """Brings the tables `into` of a model up to what the tables `said` know. Not for several threads at once."""

    def __init__(self, url: str, said: JudgedTables, into: JudgedTables, model: JourneyModel) -> None:
        self._model = model
        self._reading: Client = client(url)
        self._writing: Client = client(url)
        self._writer = Writer(self._writing, into)
        self._aggregates = Aggregates(self._writing, self._writer, model.phases, into)
        self._behind = Behind(self._reading, said, into)

    def __enter__(self) -> "Rejudging":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._reading.close()
        self._writing.close()

    def behind(self) -> int:
        """Of how many households the tables lack something."""
        return self._behind.count()

    def run(
        self,
        watermarks: Mapping[int, int],
        partitions: int,
        done: Callable[[int], None],
        *,
        all_buckets: bool,
    ) -> int:
        """Judge those households; how many there were. `done` is told of some at a time.

        `watermarks`: by partition of `partitions`, UTC ms. `all_buckets`: recompute every bucket and not only
        those of the rows written now, for an earlier run may have ended between rows and buckets.
        """
        touched = Touched()
        count = 0
        for households in self._together():
            rows = Rows()
            for past in households:
                partition = partition_of(past.household_id, partitions)
                facts = judged(past, watermarks.get(partition, 0), self._model)
                # elements and their copies lie in tables of no model, and are there
                facts.identifications, facts.corrections, facts.duplicates = [], [], []
                rows.add(facts)
            token = uuid4().hex  # what is not answered is not sent again, but judged again
            some = self._aggregates.announce(rows, token)
            if refused := self._writer.write(rows, token):
                raise RowsRefused(refused[0].what, refused[0].reason)
            if not all_buckets:
                touched.update(some)
            count += len(households)
            done(len(households))
        if all_buckets:
            self._aggregates.settle_all()
        else:
            self._aggregates.settle(touched)
        return count

    def _together(self) -> Iterator[list[Past]]:
        households: list[Past] = []
        elements = 0
        for past in self._behind.pasts():
            households.append(past)
            elements += len(past.elements)
            if elements >= _ELEMENTS_TOGETHER:
                yield households
                households, elements = [], 0
        if households:
            yield households
