"""What the collector is given."""

from typing import Literal

import msgspec

from models.journey_model import JourneyModel

Compression = Literal["gzip", "lz4"]


class CollectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the spool lies, who may send, and how much. Sizes in bytes.

    `write_keys`: write key → name of the source instance. `stripe_secret` empty: the webhook is off; several
    may stand there with commas between, while one takes over from another.
    """

    spool_dir: str
    bootstrap_servers: str
    model: JourneyModel
    partitions: int = 8
    write_keys: dict[str, str] = {}
    identity_editors: tuple[str, ...] = ()  # source instances that may correct identities
    stripe_secret: str = ""
    public_url: str = ""
    spool_limit_bytes: int = 20_000_000_000
    spool_days: int = 7
    # up to the position in it nobody needs the spool any more; None: up to where it was published
    confirmed_file: str | None = None
    body_limit_bytes: int = 8 * 1024 * 1024
    event_limit_bytes: int = 512 * 1024
    calls_per_second: int | None = None  # of one source instance, beyond it 429; None: no limit
    strict: bool = False  # an event that no rule maps is rejected instead of kept as `custom`
    linger_ms: int = 25  # touchpoints wait so long for company in a Kafka record; under load longer
    compression: Compression | None = None  # of what is published
