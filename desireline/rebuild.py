"""`desireline rebuild`: what stands, said again; under the same journey model, or all of it under another one.

Under the same model the households' pasts are put into the workers' state, and the workers say them in full.

Under another model nothing of the live stream is touched. A set of tables is made for it beside the live ones,
and filled from the archive: every household of which the live tables know more than the new ones, until few are
left. Then the tables change names, which makes the model current; workers start again under it and say in full
what they hold; and what the old ones still said, which lies in the old tables, is judged once more. Ended
anywhere in between, the same command goes on from there: what is left to do is asked of the tables.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from desireline.errors import UpError
from desireline.running import DataFolder
from desireline.settings import Settings
from models.errors import DesirelineError
from models.journey_model import JourneyModel, load_model
from warehouse import journey_models, judged_tables
from warehouse.archive import Past, past, pasts_with_deadlines
from warehouse.connection import client
from warehouse.journey_models import RegisteredModel, change_state, in_state, register, registered
from warehouse.judged_tables import JudgedTables
from warehouse.put_back import pasts
from warehouse.rejudging import Rejudging
from warehouse.schema import BUILDING, RETIRED

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from sqlalchemy import Engine

    from desireline.inbox import Inbox

log = logging.getLogger(__name__)

_ELEMENTS_TOGETHER = 2_000  # are packed together: several households share a record
_AHEAD = 24  # records that may wait in the inbox, so that a live touchpoint waits no longer than these take
_FACTS_AHEAD = 200  # records of facts, likewise
_LOOK_EVERY_S = 0.25
_FEW = 200  # households that may be left when the tables are switched
_PASSES_AT_MOST = 10
_FOLLOW_EVERY_S = 1.0
_QUIET_S = 10.0  # after the switch: the old workers have ended when their tables stay as they are for so long


class RebuildError(DesirelineError):
    """A rebuild cannot be done as it was asked for; nothing was changed."""


class Progress(Protocol):
    """Is told how far a rebuild is. Counts are of households."""

    def begin(self, what: str, households: int | None) -> None:
        """A part begins; None: nobody knows how many there are."""

    def advance(self, households: int) -> None:
        """So many more are done."""

    def say(self, sentence: str) -> None:
        """Something happened."""


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild did."""

    households: int
    elements: int  # 0 under another model, where they are not counted
    seconds: float


def where(settings: Settings, data: Path | None) -> Settings:
    """The settings with the addresses of a running `up`, where there is one on the data folder.

    UpError if the folder is named and nothing runs on it.
    """
    folder = DataFolder((data or settings.data).expanduser().absolute())
    running = folder.alive()
    default = Settings()
    if running and (data or settings.warehouse_url == default.warehouse_url):
        return msgspec.structs.replace(
            settings,
            data_dir=str(folder.path),
            warehouse_url=running.urls.warehouse,
            bootstrap_servers=running.urls.broker,
            partitions=running.partitions,
            journey_model=str(folder.journey_model) if folder.journey_model.exists() else "",
        )
    if data:
        raise UpError(
            f'nothing runs on "{folder.path}"', remedy=f"Start it: desireline up --data {folder.path}."
        )
    return settings


# --- the same model ---


def put_back(settings: Settings, customers: Sequence[str], progress: Progress) -> Rebuilt:
    """Let the workers say these customers' households in full, or all; waits until that is loaded.

    `customers`: identifiers as they are sent or kept; QuestionError if nobody goes by one. The order is that of
    a broker that was renewed: open attempts and recent ones first.
    """
    from desireline.current_model import current_or_set
    from desireline.inbox import Inbox
    from desireline.progress import now_ms
    from streams.putting_back import encode_pasts
    from warehouse import connect

    began = time.monotonic()
    order = current_or_set(settings).identifier_order
    households = elements = 0
    with (
        closing(client(settings.warehouse_url)) as asking,
        closing(Inbox(settings.bootstrap_servers)) as inbox,
    ):
        found: Iterable[Past]
        if customers:
            found = list(_pasts_of(asking, connect(settings.warehouse_url), customers))
        else:
            found = pasts(asking, now_ms(), order="rebuild_order")
        progress.begin("putting into the state", len(customers) if customers else _households(asking))
        for together in _together(found):
            inbox.send(encode_pasts(together, order, settings.partitions))
            _await_workers(settings, inbox, _AHEAD)
            progress.advance(len(together))
            households += len(together)
            elements += sum(len(one.elements) for one in together)
        progress.begin("waiting until all is loaded", None)
        _await_workers(settings, inbox, 0)
        _await_loaded(settings)
    return Rebuilt(households=households, elements=elements, seconds=time.monotonic() - began)


def _together(found: Iterable[Past]) -> Iterator[list[Past]]:
    """Households that share records of the inbox."""
    together: list[Past] = []
    elements = 0
    for one in found:
        together.append(one)
        elements += len(one.elements)
        if elements >= _ELEMENTS_TOGETHER:
            yield together
            together, elements = [], 0
    if together:
        yield together


def _pasts_of(asking: "Client", connection: "Engine", customers: Sequence[str]) -> Iterable[Past]:
    from warehouse.answer import QuestionError
    from warehouse.customers import customer_of

    given: set[str] = set()
    for customer in customers:
        try:
            one = past(asking, [customer_of(connection, customer)])
        except QuestionError:
            one = past(asking, [customer])  # the table of identities may be what is damaged
            if one is None:
                raise
        if one is not None and one.household_id not in given:
            given.add(one.household_id)
            yield one


def _households(asking: "Client") -> int:
    asked = "select uniq(household_id) from identity_rows"
    count: int = asking.query(asked).result_rows[0][0]
    return count


def _await_workers(settings: Settings, inbox: "Inbox", ahead: int) -> None:
    """Wait until at most so many of our records wait, and few facts do."""
    if ahead and inbox.unhandled < ahead:
        return
    while inbox.waiting() > ahead or (ahead and _facts_lag(settings) > _FACTS_AHEAD):
        time.sleep(_LOOK_EVERY_S)


def _facts_lag(settings: Settings) -> int:
    from streams.topics import FACTS, topic_status

    return next(one.lag or 0 for one in topic_status(settings.bootstrap_servers) if one.topic == FACTS)


def _await_loaded(settings: Settings) -> None:
    """Wait until the facts that have been said by now are in the warehouse."""
    from streams.topics import FACTS, topic_status

    def facts() -> tuple[tuple[int, ...], tuple[int | None, ...]]:
        one = next(one for one in topic_status(settings.bootstrap_servers) if one.topic == FACTS)
        return one.ends, one.committed

    ends, committed = facts()
    while any((at or 0) < end for end, at in zip(ends, committed, strict=True)):
        time.sleep(_LOOK_EVERY_S)
        _, committed = facts()


# --- another model ---


def change_model(settings: Settings, text: str, progress: Progress, *, file: str) -> Rebuilt:
    """Judge all that was ever loaded under the model of this text, and make it current.

    JourneyModelError, RebuildError. May be ended and called again at any time.
    """
    began = time.monotonic()
    model = load_model(text, where=file)
    with closing(client(settings.warehouse_url)) as asking:
        change = _Change(settings, asking, progress)
        households = change.run(model, text, file)
    return Rebuilt(households=households, elements=0, seconds=time.monotonic() - began)


def drop_old(settings: Settings) -> bool:
    """Drop the tables of the model that was current before; whether there were some."""
    with closing(client(settings.warehouse_url)) as asking:
        return judged_tables.drop(asking, RETIRED)


class _Change:
    """One change of the model, step by step; each step finds what an earlier run has done of it."""

    def __init__(self, settings: Settings, asking: "Client", progress: Progress) -> None:
        self._settings = settings
        self._client = asking
        self._progress = progress

    def run(self, model: JourneyModel, text: str, file: str) -> int:
        """All steps; of how many households rows were written."""
        before = self._current()
        if before.model == model:
            return self._finish(before)
        _check_order(before.model, model, file)
        building = self._begin(model, text, file)
        households = self._build(before, building)
        return households + self._switch(before, building)

    def _current(self) -> RegisteredModel:
        from desireline.current_model import configured_model_text

        if not self._client.command("EXISTS TABLE journey_models"):
            raise RebuildError(
                "the tables of this warehouse know no journey models yet",
                remedy="`desireline warehouse migrate` makes or changes them.",
            )
        text = configured_model_text(self._settings)
        return journey_models.register_first(
            self._client, text, where=self._settings.journey_model or "default.yaml"
        )

    def _begin(self, model: JourneyModel, text: str, file: str) -> RegisteredModel:
        """The model's row and its tables; those of another model that was never finished make way."""
        known = registered(self._client)
        building = in_state(known, "building")
        if building is not None and building.model != model:
            self._progress.say(f"journey model {building.number}, which was not finished, makes way")
            change_state(self._client, building, "retired")
            building = None
        if building is None:
            judged_tables.drop(self._client, BUILDING)
            judged_tables.drop(self._client, RETIRED)
            number = max(one.number for one in known) + 1
            building = register(self._client, text, where=file, number=number, state="building")
            self._progress.say(f'journey model {number}, "{model.name}", is built beside the current one')
        else:
            self._progress.say(f"journey model {building.number} was being built; that goes on")
        if building.number not in judged_tables.judged_tables(self._client):
            judged_tables.drop(self._client, BUILDING)
            judged_tables.create_building(self._client, building.number)
        return building

    def _build(self, before: RegisteredModel, building: RegisteredModel) -> int:
        """Judge what the new tables lack, again and again, until that is little."""
        tables = self._tables()
        if tables[building.number].current:
            return 0  # switched already, and not told so
        total = 0
        with Rejudging(
            self._settings.warehouse_url, tables[before.number], tables[building.number], building.model
        ) as rejudging:
            for number in range(_PASSES_AT_MOST):
                self._progress.begin(
                    "judging what has changed meanwhile" if number else "judging", rejudging.behind()
                )
                # an earlier run may have ended between rows and buckets: the first time all are recomputed
                some = rejudging.run(
                    self._watermarks(),
                    self._settings.partitions,
                    self._progress.advance,
                    all_buckets=not number,
                )
                total += some
                if number and some <= _FEW:
                    break
        return total

    def _switch(self, before: RegisteredModel, building: RegisteredModel) -> int:
        judged_tables.switch(self._client, building.number)
        current = change_state(self._client, building, "current")
        change_state(self._client, before, "retired")
        self._progress.say(f"journey model {current.number} is current now")
        return self._follow(current)

    def _finish(self, current: RegisteredModel) -> int:
        """The model is current already; what an earlier run may have left to be done."""
        known = registered(self._client)
        if (building := in_state(known, "building")) is not None:
            self._progress.say(f"journey model {building.number}, which was not finished, is given up")
            change_state(self._client, building, "retired")
            judged_tables.drop(self._client, BUILDING)
        for one in known:
            if one.state == "current" and one.number != current.number:
                change_state(self._client, one, "retired")
        judged_tables.switch(self._client, current.number)
        self._progress.say(f"journey model {current.number} is current")
        return self._follow(current)

    def _follow(self, current: RegisteredModel) -> int:
        households = self._judge_the_last(current)
        self._wake(current.model)
        return households

    def _judge_the_last(self, current: RegisteredModel) -> int:
        """Judge what workers under the old model still say into the old tables, until they say no more."""
        tables = self._tables()
        old = next((of for of in tables.values() if RETIRED in of.names["touchpoint_rows"]), None)
        if old is None:
            return 0
        total = 0
        self._progress.begin("waiting until all workers judge under it", None)
        with Rejudging(self._settings.warehouse_url, old, tables[current.number], current.model) as rejudging:
            quiet_since = time.monotonic()
            while True:
                looked = time.monotonic()
                # at the watermark they were judged at, and no later: what new workers say must win
                some = rejudging.run({}, self._settings.partitions, self._progress.advance, all_buckets=False)
                total += some
                if some:
                    quiet_since = time.monotonic()
                elif looked - quiet_since >= _QUIET_S:
                    break
                time.sleep(_FOLLOW_EVERY_S)
        return total

    def _wake(self, model: JourneyModel) -> None:
        """Put households into the workers' state that are too old to be there, and have deadlines now."""
        from desireline.inbox import Inbox
        from streams.putting_back import encode_pasts

        watermarks = self._watermarks()
        if not watermarks:
            return
        now, partitions = min(watermarks.values()), self._settings.partitions
        found = pasts_with_deadlines(
            self._client, before=now - model.history_ms, now=now, patience_ms=model.patience_ms
        )
        for number, households in enumerate(_together(found)):
            if not number:
                self._progress.say("old households that may still be abandoned are put into the state")
            with closing(Inbox(self._settings.bootstrap_servers)) as inbox:
                inbox.send(encode_pasts(households, model.identifier_order, partitions))
                _await_workers(self._settings, inbox, _AHEAD)

    def _tables(self) -> dict[int, JudgedTables]:
        return judged_tables.judged_tables(self._client)

    def _watermarks(self) -> dict[int, int]:
        asked = "select partition, toUnixTimestamp64Milli(max(watermark)) from watermarks group by partition"
        return {partition: at for partition, at in self._client.query(asked).result_rows}


def _check_order(before: JourneyModel, model: JourneyModel, file: str) -> None:
    if before.identifier_kinds != model.identifier_kinds:
        raise RebuildError(
            "the order of the kinds of identifiers cannot be changed: it decides where households are kept",
            where=file,
            remedy=f"Write identity.order: [{', '.join(before.identifier_kinds)}], or load into a new warehouse.",
        )
