"""What a worker is given: no module of ours but `desireline.settings` reads the environment."""

import msgspec

from models.journey_model import JourneyModel


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one worker. Durations in the unit that the name ends with."""

    bootstrap_servers: str  # host:port, commas between
    model: JourneyModel
    fingerprint: str = ""  # by which the warehouse knows the model; empty: it knows none
    partitions: int = 8
    replication_factor: int = 1
    warehouse_url: str | None = None  # None: stitch only; facts wait in their topic for another worker
    allowed_lateness_ms: int | None = None  # None: the model's
    live: bool = True  # the wall clock moves the watermark
    data_dir: str = "desireline-data"  # Faust's own files; the state is in the changelog
    host: str = "127.0.0.1"  # of the health and metrics server
    web_port: int | None = None  # of /healthz, /readyz, /metrics; None: no server
    metrics_port: int | None = None  # another port for /metrics alone; None: no other
    broker_rebalance_timeout_s: float = 60.0
    session_timeout_s: float = 30.0
    zombie_grace_s: float | None = None  # how long a predecessor may still write; None: the session timeout
    compression: str | None = "lz4"  # of what the worker publishes; the embedded broker keeps all in memory
    send_interval_s: float = 0.05  # verdicts and messages wait so long for company
    send_interval_at_most_s: float = 0.5  # where judging would take more than `judge_share` of the time
    judge_share: float = 0.2
    checkpoint_interval_s: float = 1.0  # journey rows are sent and offsets released so often
    awake_elements: int = 120_000  # held as objects, 3 kB each, a household like four; others rest as bytes
    waiting_bytes: int = 16_000_000  # input taken and not yet answered for; beyond it no more is taken
    recovery_patience_s: float = 120.0  # a recovery or commit without progress for so long ends the worker
    log_level: str = "INFO"

    @property
    def lateness_ms(self) -> int:
        """The allowed lateness that holds."""
        return (
            self.model.allowed_lateness_ms if self.allowed_lateness_ms is None else self.allowed_lateness_ms
        )

    @property
    def grace_s(self) -> float:
        """For how long after an assignment a predecessor may still be writing."""
        return self.session_timeout_s if self.zombie_grace_s is None else self.zombie_grace_s
