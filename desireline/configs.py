"""What each part is given: the settings, turned into the parts' own configurations."""

from typing import TYPE_CHECKING, Any

from desireline.current_model import await_current, configured_model, current_or_set
from desireline.running import DataFolder
from desireline.settings import Settings

if TYPE_CHECKING:
    from dashboards.config import DashboardsConfig
    from ingest.config import CollectorConfig
    from streams.config import WorkerConfig

_STARTING_S = 30.0  # the pages are read in while the warehouse opens


def collector(settings: Settings) -> "CollectorConfig":
    """What the collector is given."""
    from ingest.config import CollectorConfig

    folder = DataFolder(settings.data)
    return CollectorConfig(
        spool_dir=str(folder.spool),
        bootstrap_servers=settings.bootstrap_servers,
        model=configured_model(settings),
        partitions=settings.partitions,
        write_keys=settings.write_keys,
        identity_editors=settings.editors,
        stripe_secret=settings.stripe_secret,
        public_url=settings.public_url,
        spool_limit_bytes=settings.spool_limit_bytes,
        spool_days=settings.spool_days,
        body_limit_bytes=settings.body_limit_bytes,
        event_limit_bytes=settings.event_limit_bytes,
        strict=settings.strict,
        # `up` makes this file; where the broker keeps what it took, the spool is done with it
        confirmed_file=str(folder.confirmed_file) if folder.confirmed_file.exists() else None,
        calls_per_second=settings.calls_per_second,
        linger_ms=settings.linger_ms,
        compression=settings.compression or None,
    )


def worker(settings: Settings) -> "WorkerConfig":
    """What the worker is given. The journey model is the warehouse's current one; waits until it answers."""
    from streams.config import WorkerConfig

    known = await_current(settings)
    return WorkerConfig(
        bootstrap_servers=settings.bootstrap_servers,
        model=known.model if known else configured_model(settings),
        fingerprint=known.fingerprint if known else "",
        partitions=settings.partitions,
        replication_factor=settings.replication_factor,
        warehouse_url=settings.warehouse_url,
        allowed_lateness_ms=settings.allowed_lateness_ms,
        live=settings.live,
        data_dir=str(settings.data),
        host=settings.host,
        web_port=settings.worker_port or None,
        broker_rebalance_timeout_s=settings.broker_rebalance_timeout_s,
        session_timeout_s=settings.session_timeout_s,
        log_level=settings.log_level.upper(),
    )


def dashboards(settings: Settings) -> "DashboardsConfig":
    """What the pages are given. The journey model is the warehouse's current one, if it answers soon."""
    from dashboards.config import CohortEditing, DashboardsConfig
    from ingest.write_keys import instance_of

    editors = {name.strip() for name in settings.cohort_editors.split(",")}
    keys = {key: instance for key, instance in settings.write_keys.items() if instance in editors}
    editing = CohortEditing(
        warehouse_url=settings.warehouse_url, author=lambda header: instance_of(header, None, keys)
    )
    return DashboardsConfig(
        warehouse_url=settings.reader_url,
        model=current_or_set(settings, patience_s=_STARTING_S),
        refresh_interval_ms=settings.refresh_interval_ms,
        cohort_editing=editing if keys else None,
    )


def serve_warehouse(settings: Settings, host: str) -> None:
    """Serve the warehouse of the data folder until SIGTERM. DesirelineError if it is open elsewhere."""
    from warehouse.embedded import Limits, serve
    from warehouse.urgency import BEHIND_STITCHING, stand_back

    stand_back(BEHIND_STITCHING)
    limit = settings.query_memory_limit_bytes
    serve(
        str(DataFolder(settings.data).warehouse),
        host=host,
        port=settings.warehouse_port,
        password=settings.warehouse_password,
        limits=Limits(memory_bytes=limit, reader_memory_bytes=limit // 2),
    )


def serve(app: Any, host: str, port: int) -> None:
    """Serve an ASGI application until SIGTERM; requests that are under way are answered."""
    import uvicorn

    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,  # ours stands already
        access_log=False,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
