"""What the collector is given."""

import msgspec

from models.journey_model import JourneyModel


class CollectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the spool lies, who may send, and how much. Sizes in bytes.

    `write_keys`: write key → name of the source instance. `stripe_secret` empty: the webhook is off.
    """

    spool_dir: str
    bootstrap_servers: str
    model: JourneyModel
    partitions: int = 8
    write_keys: dict[str, str] = {}
    stripe_secret: str = ""
    public_url: str = ""
    spool_limit_bytes: int = 20_000_000_000
    spool_days: int = 7
    body_limit_bytes: int = 8 * 1024 * 1024
    event_limit_bytes: int = 512 * 1024
    strict: bool = False  # an event that no rule maps is rejected instead of kept as `custom`
