"""How far putting back has come, as `DATA/republish.json` says."""

import time
from typing import Literal

import msgspec

from desireline.running import DataFolder, write_whole


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What the republisher has done for the broker that runs now. Instants in UTC ms."""

    step: Literal["spool", "archive", "done"] = "spool"
    published_again: int = 0  # elements that the spool held and the warehouse lacked
    put_back: int = 0  # elements of the warehouse that are in the state again, or on their way
    to_put_back: int = 0
    started_at: int = 0
    finished_at: int | None = None

    @property
    def sentence(self) -> str:
        """For people."""
        again = f"{self.published_again:,} touchpoints of the spool were published again"
        if self.step == "spool":
            return f"comparing the spool with the warehouse: {again}"
        first = f"{again}; " if self.published_again else ""
        if self.finished_at is None:
            share = self.put_back / self.to_put_back if self.to_put_back else 1.0
            return f"{first}putting back {self.put_back:,} of {self.to_put_back:,} touchpoints ({share:.0%})"
        took_s = (self.finished_at - self.started_at) / 1000
        return f"{first}{self.put_back:,} touchpoints were put back in {took_s:.1f} s"


def read(folder: DataFolder) -> Progress | None:
    """What the last republisher said; None before the first."""
    try:
        return msgspec.json.decode(folder.progress.read_bytes(), type=Progress)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write(folder: DataFolder, progress: Progress) -> None:
    """Say it."""
    write_whole(folder.progress, msgspec.json.encode(progress))


def now_ms() -> int:
    """The wall clock, UTC ms."""
    return time.time_ns() // 1_000_000
