"""What a new embedded broker lacks, put back: it keeps nothing on disk, and the spool and the warehouse do.

In this order: the partitions' watermarks; what the spool holds and the warehouse lacks; the alerts that are
open; the households of the cache horizon, whole, those with open attempts and the recent ones first. All of
it goes into the inbox marked as put back, so that each household is said in full once it is known again;
until then the versions of the rows keep a half-known household from overwriting what is known. New
touchpoints are taken all the while, and pages answer from the warehouse.

Afterwards it keeps an eye on what the warehouse has: up to the *confirmed* position of the spool every
element is there, so that the next start need not look at what lies before.
"""

import logging
import re
import time
from typing import Any

import httpx
import msgspec
import psutil

from desireline import configs, lacking, loaded, spooled
from desireline.inbox import Inbox
from desireline.progress import Progress, now_ms, write
from desireline.running import DataFolder
from desireline.settings import Settings
from ingest.mapped import Mapped
from ingest.publisher import FILE_HEADER, pack
from models.alerts import Alert
from models.touchpoint import Clock
from streams.pace import rest_s
from streams.putting_back import encode_open_alerts, encode_pasts, encode_put_back, encode_watermark
from streams.topics import ABANDONMENT, topic_status
from warehouse.archive import Past
from warehouse.connection import client
from warehouse.put_back import pasts
from warehouse.urgency import LEAST_URGENT, stand_back

log = logging.getLogger(__name__)

CONFIRM_EVERY_S = 30.0
_CONFIRM_SHARE = 0.2  # of the time: enough for 5,000 elements per second, and not felt by what is on its way
_ON_ITS_WAY_MS = 10_000  # what came later need not be there yet
_TOGETHER = 2_000  # elements that are packed together: several households share a record
_AHEAD = 24  # records that may wait, so that a live touchpoint waits no longer than these take
_LOAD_WAIT_S = 1.0
_LOOK_EVERY_S = 0.25
_SAY_EVERY_S = 1.0
_LOST_AFTER_S = 120.0
_SHARE_FOR_PUTTING_BACK = 0.8  # of the broker's memory


def run(settings: Settings) -> None:
    """Put back what the broker lacks, then confirm for ever."""
    republisher = Republisher(settings)
    republisher.put_back()
    stand_back(LEAST_URGENT)  # confirming yields to everything that a touchpoint waits for
    while True:
        time.sleep(CONFIRM_EVERY_S)
        republisher.confirm()


class Republisher:
    """One putting back. It ends with KafkaError or ClickHouseError; doing it again harms nothing."""

    def __init__(self, settings: Settings) -> None:
        self.folder = DataFolder(settings.data)
        self.client = client(settings.warehouse_url)
        self._http = httpx.Client(timeout=5)
        self._settings = settings
        self._collector = configs.collector(settings)
        self._model = self._collector.model
        self._inbox = Inbox(settings.bootstrap_servers)
        self._producer = self._inbox.producer
        self._progress = Progress(started_at=now_ms())
        self._said_at = 0.0
        self._stuck_since: float | None = None

    def put_back(self) -> None:
        """All of it, and wait until the worker has taken it."""
        self._say(step="spool")
        watermarks = self._watermarks()
        # whoever comes while households are put back, or is not put back at all, is asked for in the archive
        partial = any(watermarks.values())
        self._inbox.send(
            encode_watermark(partition, at, partial=partial) for partition, at in watermarks.items()
        )
        self._publish_missing()
        self._send_alerts()
        horizon_ms = self._settings.cache_horizon_ms
        if horizon_ms is None:
            # a silence that is still to be said may have begun as long ago as its phase is patient
            horizon_ms = max(self._model.history_ms, *self._model.patience_ms.values())
        self._say(step="archive", to_put_back=self._archived(now_ms() - horizon_ms))
        together: list[Past] = []
        count = 0
        for past in pasts(self.client, now_ms(), horizon_ms=horizon_ms):
            together.append(past)
            count += len(past.elements)
            if count >= _TOGETHER:
                self._put_households(together)
                together, count = [], 0
                if self._broker_full():
                    break
        self._put_households(together)
        self._await_worker(0)
        self._say(step="done", to_put_back=self._progress.put_back, finished_at=now_ms())
        log.info(self._progress.sentence)

    def _watermarks(self) -> dict[int, int]:
        """Of each partition the watermark that it was judged at, UTC ms; 0: it never was."""
        rows = self.client.query(
            "select partition, toUnixTimestamp64Milli(max(watermark)) from watermarks group by partition"
        ).result_rows
        known = dict.fromkeys(range(self._settings.partitions), 0)
        return known | {partition: at for partition, at in rows if partition in known}

    def _archived(self, since: int) -> int:
        """About how many touchpoints are to be put back: the rows since then, UTC ms."""
        count: int = self.client.query(
            "select uniq(id) from touchpoint_rows"
            " where occurred_at >= fromUnixTimestamp64Milli({since:Int64})",
            parameters={"since": max(since, 0)},
        ).result_rows[0][0]
        return count

    def _broker_full(self) -> bool:
        """Whether putting back more would soon have the broker renewed, and all begin again."""
        running = self.folder.running()
        child = next((one for one in running.children if one.name == "broker"), None) if running else None
        process = child.process() if child else None
        if process is None:
            return False
        limit = self._settings.broker_memory_limit_bytes or psutil.virtual_memory().total // 4
        if process.memory_info().rss < _SHARE_FOR_PUTTING_BACK * limit:
            return False
        log.warning(
            "the broker is full after %d touchpoints; households quiet for longer are not put back. "
            "Set DESIRELINE_BROKER_MEMORY_LIMIT_BYTES higher, or DESIRELINE_CACHE_HORIZON_MS lower.",
            self._progress.put_back,
        )
        return True

    def _publish_missing(self) -> None:
        """From the confirmed position to what was published; what lies behind that is the publisher's."""
        for batch in spooled.published(self._collector, self.folder.confirmed):
            if lost := self._lacking(batch):
                self._publish_again(lost)

    def confirm(self) -> None:
        """Move the confirmed position on, up to the first element that the warehouse does not have yet.

        What is still not there after a long time was lost on the way, and is published again.
        """
        settled = now_ms() - _ON_ITS_WAY_MS
        began = time.monotonic()
        for batch in spooled.published(
            self._collector, self.folder.confirmed, received_before=settled, at_a_time=lacking.TOGETHER
        ):
            lost = self._lacking(batch)
            if not lost:
                self.folder.write_confirmed(batch.end)
                self._stuck_since = None
                time.sleep(rest_s(time.monotonic() - began, _CONFIRM_SHARE))
                began = time.monotonic()
                continue
            self._stuck_since = self._stuck_since or time.monotonic()
            if time.monotonic() - self._stuck_since > _LOST_AFTER_S and not self._worker_lags():
                log.warning("%d accepted elements did not arrive, and are published again", _count(lost))
                self._publish_again(lost)
                self._stuck_since = None
            return

    def _lacking(self, batch: spooled.Batch) -> list[Mapped]:
        """Of a batch what the warehouse knows neither by a row nor as rejected, with the clock records."""
        elements = {id(element) for element in lacking.lacking(self.client, batch.elements)}
        rejections = set(loaded.missing_rejections(self.client, batch.rejection_ids))
        if not elements and not rejections:
            return []
        lost = []
        for mapped in batch.mapped:
            records = [
                record for record in mapped.records if isinstance(record, Clock) or id(record) in elements
            ]
            rejected = [rejected for rejected in mapped.rejected if rejected.id in rejections]
            if records or rejected:
                lost.append(Mapped(records, rejected, mapped.from_file))
        return lost

    def _publish_again(self, lost: list[Mapped]) -> None:
        """As the publisher does, for the watermark; and put back, so that households are said in full."""
        order, partitions = self._model.identifier_order, self._settings.partitions
        for record in pack(lost, order, partitions):
            self._producer.send(
                record.topic,
                record.value,
                key=record.key,
                partition=record.partition,
                headers=[(FILE_HEADER, b"1")] if record.from_file else [],
            )
        elements = [record for mapped in lost for record in mapped.records if not isinstance(record, Clock)]
        self._inbox.send(encode_put_back(elements, order, partitions))
        self._await_worker(_AHEAD)
        self._say(published_again=self._progress.published_again + len(elements))

    def _worker_lags(self) -> bool:
        return any(topic.lag for topic in topic_status(self._settings.bootstrap_servers))

    def _send_alerts(self) -> None:
        for partition, key, value in encode_open_alerts(self._open_alerts(), self._settings.partitions):
            self._producer.send(ABANDONMENT, value, key=key, partition=partition)
        self._producer.flush()

    def _open_alerts(self) -> list[Alert]:
        names = (
            "id",
            "kind",
            "channel",
            "observed_rate",
            "expected_rate",
            "attempts",
            "abandoned",
            "message",
        )
        rows = self.client.query(
            f"select {', '.join(names)}, toUnixTimestamp64Milli(opened_at), toFloat64(probability)"  # noqa: S608
            " from alert_rows final where resolved_at is null"
        ).result_rows
        return [
            Alert(**dict(zip(names, row, strict=False)), opened_at=row[-2], probability=row[-1], window_ms=0)
            for row in rows
        ]

    def _put_households(self, households: list[Past]) -> None:
        order, partitions = self._model.identifier_order, self._settings.partitions
        self._inbox.send(encode_pasts(households, order, partitions))
        self._await_worker(_AHEAD)
        put_back = self._progress.put_back + sum(len(past.elements) for past in households)
        # those with an open attempt are put back however old they are, and were not counted
        self._say(put_back=put_back, to_put_back=max(put_back, self._progress.to_put_back))

    def _await_worker(self, ahead: int) -> None:
        """Wait until at most so many of the records that were sent wait, and loading does not lag."""
        if ahead and self._inbox.unhandled < ahead:
            return
        while self._inbox.waiting() > ahead or self._load_lags():
            self._say()
            time.sleep(_LOOK_EVERY_S)

    def _load_lags(self) -> bool:
        """Whether a live touchpoint would wait for what was put back to be loaded, or no worker answers."""
        try:
            said = self._http.get(f"http://127.0.0.1:{self._settings.worker_port}/metrics").text
        except httpx.TransportError:
            return True
        waited = re.search(r"^desireline_load_waiting_seconds (\S+)", said, re.MULTILINE)
        return waited is not None and float(waited[1]) > _LOAD_WAIT_S

    def _say(self, **changed: Any) -> None:
        self._progress = msgspec.structs.replace(self._progress, **changed)
        if changed.keys() - {"put_back", "to_put_back"} or time.monotonic() - self._said_at > _SAY_EVERY_S:
            self._said_at = time.monotonic()
            write(self.folder, self._progress)


def _count(lost: list[Mapped]) -> int:
    return sum(len(mapped.records) + len(mapped.rejected) for mapped in lost)
