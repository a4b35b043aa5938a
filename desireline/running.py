"""What runs on a data folder, as `DATA/run.json` says while `desireline up` is there, and what lies in it."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psutil


class Child(msgspec.Struct, frozen=True):
    """A process that `up` started. The system uses a pid again; with its start time it names one process."""

    name: str
    pid: int
    created_at: float  # seconds since 1970, as the system says it

    @classmethod
    def of(cls, name: str, pid: int) -> "Child":
        """A process that is there now. psutil.Error if it is not."""
        return cls(name, pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it is still there and still the same."""
        try:
            process = psutil.Process(self.pid)
            same = (
                abs(process.create_time() - self.created_at) < 1 and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return None
        return process if same else None


class Urls(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts answer."""

    pages: str
    collector: str
    warehouse: str  # with database, as the user that may write
    warehouse_reader: str  # the same as the read-only user
    broker: str  # host:port
    worker: str | None = None


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline on this machine: what a sender or a query needs to know of it."""

    data_dir: str
    supervisor: Child
    urls: Urls
    write_keys: Mapping[str, str] = {}  # write key -> source instance
    identity_editors: tuple[str, ...] = ()  # source instances that may correct identities
    stripe_secret: str = ""
    partitions: int = 8  # of every topic
    children: tuple[Child, ...] = ()

    @property
    def write_key(self) -> str:
        """Some write key; there is always one while `up` runs."""
        return next(iter(self.write_keys))


class DataFolder:
    """The places in a data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool = path / "spool"
        self.warehouse = path / "warehouse"
        self.worker = path / "worker"
        self.logs = path / "logs"
        self.run = path / "run.json"
        self.lock = path / "up.lock"
        self.progress = path / "republish.json"
        self.journey_model = path / "journey_model.yaml"
        self.confirmed_file = path / "confirmed"

    def create(self) -> None:
        """Make what is missing; the folder is the owner's alone, since it holds what customers did."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.spool, self.warehouse, self.worker, self.logs):
            folder.mkdir(exist_ok=True)

    @property
    def confirmed(self) -> int:
        """Up to this position of the spool the warehouse has everything; 0 at first."""
        try:
            return int(self.confirmed_file.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def write_confirmed(self, position: int) -> None:
        """Remember it. Losing it costs comparing again."""
        write_whole(self.confirmed_file, str(position).encode())

    def running(self) -> Running | None:
        """What the last `up` wrote, whether or not it still runs."""
        try:
            return msgspec.json.decode(self.run.read_bytes(), type=Running)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def alive(self) -> Running | None:
        """What runs here now."""
        running = self.running()
        return running if running and running.supervisor.process() else None

    def write_running(self, running: Running) -> None:
        """Say what runs; readers never see half of it. It holds the keys: for the owner's eyes alone."""
        write_whole(self.run, msgspec.json.format(msgspec.json.encode(running), indent=2))


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner alone."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
