"""The worker: a Faust app with its topics, its table and its agents. Nothing happens on import."""

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import faust
from faust.web import Request, Response, View
from prometheus_client import generate_latest, start_http_server

from models.routing import topic_of
from streams import metrics
from streams.changelog import Households
from streams.compression import use_fastest_lz4
from streams.config import WorkerConfig
from streams.consumer import App
from streams.recovery import TableManager
from streams.stitch import add_stitch_agent
from streams.stuck import end_for_sure
from streams.topics import GROUP, INBOX, LARGEST_MESSAGE_BYTES, create_topics
from streams.watch import Watch

log = logging.getLogger(__name__)

_STREAM_BUFFER = 64
"""Records that wait per topic; each holds hundreds of touchpoints."""


class Worker:
    """A Faust app, its parts, and what made it fail, if anything did."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.failure: BaseException | None = None
        self.app = _faust_app(config)
        sources = (*map(topic_of, config.model.channels), INBOX)
        self.households = Households(self.app, config, sources=sources, failed=self.failed)
        self.app.tables.add(self.households)
        self.stitcher = add_stitch_agent(self.app, config, self.households, self.failed)
        if config.warehouse_url is not None:
            # only here: the warehouse's client takes long to import, and stitching does without
            from streams.alert import add_alert_agent
            from streams.load import add_load_agent
            from streams.rehydrate import add_rehydrate_agent

            add_load_agent(self.app, config, self.failed)
            add_rehydrate_agent(self.app, config, self.failed)
            add_alert_agent(self.app, config.partitions, self.failed)
        self._add_watch()
        if config.web_port is not None:
            _add_pages(self)

    @property
    def ready(self) -> bool:
        """Whether records are being taken: partitions were assigned and the state was recovered."""
        return bool(self.households.nodes) and not self.households.recovering and self.failure is None

    async def failed(self, error: BaseException) -> None:
        """Stop, since going on would do harm."""
        if self.failure is None:
            self.failure = error
            log.error("the worker stops: %s", error)
            end_for_sure(error)
            await self.app.crash(error)

    def _add_watch(self) -> None:
        watch = Watch(
            self.app,
            self.households,
            self.stitcher,
            patience_s=self.config.recovery_patience_s,
            failed=self.failed,
        )

        self.app.watch = watch.run


def create_app(config: WorkerConfig) -> faust.App:
    """The Faust app of a worker, for whoever runs it in a way of their own."""
    return Worker(config).app


def run_worker(config: WorkerConfig) -> int:
    """Run a worker until it is told to end (SIGTERM, SIGINT); its exit code. Creates the topics first."""
    create_topics(
        config.bootstrap_servers,
        config.partitions,
        replication_factor=config.replication_factor,
        own_channels=config.model.own_channels,
    )
    if config.metrics_port is not None:
        start_http_server(config.metrics_port, addr=config.host)
    worker = Worker(config)
    Path(config.data_dir).mkdir(parents=True, exist_ok=True)
    use_fastest_lz4()
    # The state is millions of objects; by default half the time went into looking through them. What leaves it is
    # untied by us, so that little is left to find: a twentieth of an object per touchpoint.
    gc.set_threshold(700_000, 10, 10)
    runner = _Runner(worker.app, loglevel=None, redirect_stdouts=False, override_logging=False)
    code = 0
    try:
        runner.execute_from_commandline()
    except SystemExit as ended:
        code = int(ended.code or 0)
    if worker.failure is None:
        return code
    log.info(
        "the worker ended: %s", worker.failure
    )  # Faust said much since; a supervisor shows the last line
    return 1


class _Runner(faust.Worker):
    """Ends with the last of its tasks; Faust would look on for a second more."""

    async def _sentinel_task(self) -> None:
        """Let what was cancelled end."""
        await asyncio.sleep(0)


def _faust_app(config: WorkerConfig) -> App:
    data_dir = Path(config.data_dir)
    return App(
        GROUP,
        broker=";".join(f"kafka://{server.strip()}" for server in config.bootstrap_servers.split(",")),
        store="memory://",
        TableManager=TableManager,
        datadir=data_dir / "worker",
        topic_partitions=config.partitions,
        topic_replication_factor=config.replication_factor,
        topic_disable_leader=True,
        topic_allow_declare=False,  # they are created with their settings before
        key_serializer="raw",
        value_serializer="raw",
        broker_session_timeout=config.session_timeout_s,
        broker_heartbeat_interval=max(0.5, config.session_timeout_s / 10),
        broker_rebalance_timeout=config.broker_rebalance_timeout_s,
        broker_commit_interval=1.0,
        # while a recovery reads, nothing is polled; one that gets stuck is ended by the watch
        broker_max_poll_interval=max(1800.0, config.broker_rebalance_timeout_s),
        broker_check_crcs=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        producer_compression_type=config.compression,
        producer_max_request_size=LARGEST_MESSAGE_BYTES,
        producer_max_batch_size=1_000_000,
        producer_linger=0.0,
        table_standby_replicas=0,
        stream_buffer_maxsize=_STREAM_BUFFER,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        web_enabled=config.web_port is not None,
        web_bind=config.host,
        web_host=config.host,
        web_port=config.web_port or 6066,
        web_in_thread=False,
    )


def _add_pages(worker: Worker) -> None:
    app = worker.app

    @app.page("/healthz")
    async def health(view: View, request: Request) -> Response:
        return view.json(_state(worker), status=200 if worker.failure is None else 500)

    @app.page("/readyz")
    async def readiness(view: View, request: Request) -> Response:
        return view.json(_state(worker), status=200 if worker.ready else 503)

    @app.page("/metrics")
    async def measured(view: View, request: Request) -> Response:
        worker.stitcher.observe()
        return view.bytes(generate_latest(), content_type="text/plain")


def _state(worker: Worker) -> dict[str, Any]:
    households = worker.households
    return {
        "state": "failed" if worker.failure else "ready" if worker.ready else "recovering",
        "failure": str(worker.failure) if worker.failure else None,
        "partitions": sorted(households.nodes),
        "households": sum(len(nodes.households) for nodes in households.nodes.values()),
        "touchpoints_stitched": int(
            sum(
                metrics.STITCHED.labels(topic_of(channel))._value.get()
                for channel in worker.config.model.channels
            )
        ),
        "watermarks": {str(nodes.partition): nodes.watermark.value for nodes in households.nodes.values()},
        "recovery_entries_left": households.entries_left if households.recovering else 0,
    }
