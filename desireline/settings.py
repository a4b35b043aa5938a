"""The settings, each with its unit in its name, a bound and a sentence; read here and nowhere else.

A value is taken from, in this order: an option of the command; the variable `DESIRELINE_<NAME>`; the TOML
file named by `--config` or `DESIRELINE_CONFIG`; the default. All are checked at start; a message says where.
"""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from models.errors import DesirelineError
from models.journey_model import templates

PREFIX = "DESIRELINE_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
_NO_SETTINGS = {CONFIG_VARIABLE, f"{PREFIX}BROWSER"}  # the latter is for the tests of the pages


class SettingsError(DesirelineError):
    """A setting has a value it must not have, or does not exist."""


_Duration = Annotated[int, Meta(ge=0)]
_Size = Annotated[int, Meta(ge=50_000_000)]
_Count = Annotated[int, Meta(ge=1)]


def _says(sentence: str, **bounds: Any) -> Meta:
    return Meta(description=sentence, **bounds)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. Maps are written `a=x,b=y` in a variable and as a table in TOML."""

    # what everything shares
    data_dir: Annotated[
        str, _says("folder of the spool, the embedded warehouse, worker state and logs", min_length=1)
    ] = "desireline-data"
    bootstrap_servers: Annotated[str, _says("Kafka brokers, host:port, commas between", min_length=3)] = (
        "127.0.0.1:9092"
    )
    warehouse_url: Annotated[
        str, _says("ClickHouse over HTTP, with user, password and database", pattern=r"^https?://.+")
    ] = "http://127.0.0.1:8123/desireline"
    warehouse_reader_url: Annotated[
        str, _says("the same warehouse as a read-only user, for pages and queries; empty: warehouse_url")
    ] = ""
    journey_model: Annotated[
        str,
        _says(
            "the journey model that a new warehouse begins with: a YAML file, or the name of a shipped one, e.g. "
            "retail; empty: default; `desireline rebuild --model` changes it"
        ),
    ] = ""
    partitions: Annotated[
        int, _says("partitions of every topic; fixed once topics exist; also the most workers", ge=1, le=1024)
    ] = 8
    replication_factor: Annotated[int, _says("copies of every topic's partitions", ge=1, le=7)] = 1
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("least level that is logged")
    ] = "info"

    # where each part listens
    host: Annotated[str, _says("address the servers listen on; 0.0.0.0: all", min_length=1)] = "127.0.0.1"
    dashboards_port: Annotated[int, _says("port of the pages and the query API", ge=0, le=65535)] = 8080
    collector_port: Annotated[int, _says("port of the collector", ge=0, le=65535)] = 8081
    worker_port: Annotated[int, _says("port of the worker's health and metrics; 0: none", ge=0, le=65535)] = (
        8082
    )
    warehouse_port: Annotated[int, _says("port of the embedded warehouse", ge=0, le=65535)] = 8123
    broker_port: Annotated[int, _says("port of the embedded broker", ge=0, le=65535)] = 9092

    # collector
    write_keys: Annotated[
        dict[str, str], _says("who may send: write key = name of the source instance; none: nobody")
    ] = {}
    identity_editors: Annotated[
        str,
        _says(
            "source instances whose write key may merge and split customers, commas between; empty: nobody,"
            " but `up` without write_keys"
        ),
    ] = ""
    stripe_secret: Annotated[
        str, _says("signing secret of the Stripe webhook; empty: the webhook is off")
    ] = ""
    public_url: Annotated[
        str, _says("URL that senders see the collector under, which some sign; empty: as requested")
    ] = ""
    spool_limit_bytes: Annotated[
        int, _says("size of the spool from which on senders are told to come later, bytes", ge=1_048_576)
    ] = 20_000_000_000

    spool_days: Annotated[
        int, _says("how long the spool keeps what is published and loaded, days", ge=1, le=3_650)
    ] = 7
    body_limit_bytes: Annotated[
        int, _says("largest body that is taken, decoded, bytes", ge=65_536, le=268_435_456)
    ] = 8_388_608
    event_limit_bytes: Annotated[
        int, _says("largest event that is taken, bytes; below Kafka's own limit", ge=1_024, le=900_000)
    ] = 524_288
    calls_per_second: Annotated[
        _Count | None,
        _says("requests of one source instance, beyond which it is told to come later; none: any"),
    ] = None
    linger_ms: Annotated[
        int,
        _says(
            "how long touchpoints wait for company in a Kafka record, ms; under load 300 at least",
            ge=0,
            le=10_000,
        ),
    ] = 100
    compression: Annotated[
        Literal["", "gzip", "lz4"], _says("of what the collector publishes; empty: none, the quickest")
    ] = ""
    strict: Annotated[bool, _says("an event that no rule maps is rejected instead of kept as custom")] = False

    # worker
    live: Annotated[
        bool, _says("the wall clock moves the watermark; off: only touchpoints and clock records do")
    ] = True
    allowed_lateness_ms: Annotated[
        _Duration | None,
        _says("how late a touchpoint may be before it is a correction, ms; none: the model's"),
    ] = None
    broker_rebalance_timeout_s: Annotated[
        int,
        _says(
            "how long a rebalance waits for members, s; the embedded broker always waits it out", ge=1, le=600
        ),
    ] = 60
    session_timeout_s: Annotated[
        int, _says("silence after which a worker is taken for dead, s", ge=3, le=600)
    ] = 30

    # pages
    refresh_interval_ms: Annotated[
        int, _says("how often a page asks again for its numbers, ms", ge=1_000, le=3_600_000)
    ] = 5_000

    cohort_editors: Annotated[
        str,
        _says(
            "source instances whose write key may save and delete cohorts over HTTP, commas between; empty: nobody,"
            " but `up` without write_keys"
        ),
    ] = ""

    # what `up` starts
    broker_memory_limit_bytes: Annotated[
        _Size | None,
        _says(
            "memory of the embedded broker at which it is renewed, bytes; none: a quarter of the machine's"
        ),
    ] = None
    query_memory_limit_bytes: Annotated[
        int, _says("memory that one query of the embedded warehouse may take, bytes", ge=100_000_000)
    ] = 4_000_000_000
    warehouse_password: Annotated[
        str, _says("password of the embedded warehouse, needed when it listens beyond this machine")
    ] = ""
    cache_horizon_ms: Annotated[
        _Duration | None,
        _says("how far back touchpoints are put back into a new broker, ms; none: the model's history"),
    ] = None

    @property
    def reader_url(self) -> str:
        """Where pages and queries ask."""
        return self.warehouse_reader_url or self.warehouse_url

    @property
    def editors(self) -> tuple[str, ...]:
        """The source instances that may correct identities."""
        return tuple(name for part in self.identity_editors.split(",") if (name := part.strip()))

    @property
    def data(self) -> Path:
        """The data folder as an absolute path."""
        return Path(self.data_dir).expanduser().absolute()


class Line(NamedTuple):
    """One setting as people read it."""

    variable: str
    key: str
    default: str
    allowed: str
    meaning: str


def describe() -> list[Line]:
    """Every setting in the order of the struct."""
    return [
        Line(
            variable_of(field.name),
            field.name,
            _written(field.get_default()),
            _allowed(field.name),
            field.meaning,
        )
        for field in _fields()
    ]


def read(*, config: str | None = None, environment: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """The settings of this process. `given`: what an option of the command line says, before all others.

    SettingsError names the variable, the file's key or the option, and what is allowed.
    """
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    path = config or environment.get(CONFIG_VARIABLE)
    if path:
        for key, value in _file(path, CONFIG_VARIABLE if config is None else "--config").items():
            values[key], where[key] = value, f"{path}: {key}"
    known = {variable_of(field.name): field for field in _fields()}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in _NO_SETTINGS:
            continue
        if variable not in known:
            raise SettingsError(
                f'there is no setting "{variable}"',
                remedy=_guess(variable, list(known), PREFIX) or "`desireline settings` lists them all.",
            )
        field = known[variable]
        values[field.name], where[field.name] = _parsed(field, text, variable), variable
    for name, value in given.items():
        if value is not None:
            values[name], where[name] = value, f"--{name.replace('_', '-')}"
    for field in _fields():
        if field.name in values:
            values[field.name] = _checked(field, values[field.name], where[field.name])
    return _consistent(Settings(**values))


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that make another process read the same settings; those at their default are left out."""
    return {
        variable_of(field.name): _written(getattr(settings, field.name))
        for field in _fields()
        if getattr(settings, field.name) != field.get_default()
    }


def variable_of(name: str) -> str:
    """`collector_port` is set by `DESIRELINE_COLLECTOR_PORT`."""
    return PREFIX + name.upper()


class _Field(NamedTuple):
    name: str
    type: Any  # with its bounds
    meaning: str
    default: Any
    default_factory: Any

    def get_default(self) -> Any:
        return self.default if self.default is not msgspec.NODEFAULT else self.default_factory()


def _fields() -> list[_Field]:
    return [
        _Field(f.name, f.type, _meta(f.type).description or "", f.default, f.default_factory)
        for f in msgspec.structs.fields(Settings)
    ]


def _meta(annotated: Any) -> Meta:
    meta: Meta = annotated.__metadata__[0]
    return meta


def _file(path: str, named_by: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise SettingsError(f'"{path}" is not readable: {error.strerror}', where=named_by) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"this is no TOML: {error}", where=path) from error
    names = [field.name for field in _fields()]
    for key in table:
        if key not in names:
            remedy = _guess(key, names) or "`desireline settings` lists them all."
            raise SettingsError(f'there is no setting "{key}"', where=path, remedy=remedy)
    return table


def _guess(name: str, known: list[str], prefix: str = "") -> str | None:
    """What was meant; the `prefix` that all share makes none of them likelier."""
    near = get_close_matches(name.removeprefix(prefix), [each.removeprefix(prefix) for each in known], n=1)
    return f'Did you mean "{prefix}{near[0]}"?' if near else None


def _parsed(field: _Field, text: str, variable: str) -> Any:
    default = field.get_default()
    if isinstance(default, dict):
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        if any(not middle or not key.strip() or not value.strip() for key, middle, value in pairs):
            raise SettingsError("this is no list of pairs", where=variable, remedy="Write KEY=NAME,KEY=NAME.")
        return {key.strip(): value.strip() for key, _, value in pairs}
    if default is None and text == "":
        return None
    return text


def _checked(field: _Field, value: Any, where: str) -> Any:
    # a variable is text; TOML's own types are taken as they are
    strict = not isinstance(value, str)
    try:
        return msgspec.convert(value, field.type, strict=strict)
    except msgspec.ValidationError as error:
        said = "…" if "secret" in field.name or "password" in field.name else str(value)
        raise SettingsError(
            f'"{said}" is not allowed',
            where=where,
            remedy=f"Allowed is {_allowed(field.name)}: {field.meaning}.",
        ) from error


def _allowed(name: str) -> str:
    annotated = Settings.__annotations__[name]
    meta, kind = _meta(annotated), annotated.__origin__
    if kind is bool:
        return "true or false"
    if hasattr(kind, "__args__") and all(isinstance(choice, str) for choice in kind.__args__):
        return " or ".join(choice or "nothing" for choice in kind.__args__)
    if kind is dict or getattr(kind, "__origin__", None) is dict:
        return "pairs KEY=NAME with commas between"
    for bounded in (_Duration, _Size, _Count):
        if bounded in getattr(kind, "__args__", ()):
            meta, kind = _meta(bounded), int
    if kind is int:
        if meta.ge is not None and meta.le is not None:
            return f"a whole number from {meta.ge:,} to {meta.le:,}"
        return f"a whole number from {meta.ge:,} on"
    return "a URL with http:// or https://" if meta.pattern else "a text"


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ",".join(f"{key}={name}" for key, name in value.items())
    return str(value)


def _consistent(settings: Settings) -> Settings:
    """What no bound of one setting can say."""
    for name in ("warehouse_url", "warehouse_reader_url"):
        url = getattr(settings, name)
        if url and not urlsplit(url).path.strip("/"):
            raise SettingsError(
                f'"{url}" names no database',
                where=variable_of(name),
                remedy=f'Write it behind the host, for example "{url.rstrip("/")}/desireline".',
            )
    named = settings.journey_model
    if named and named not in templates() and not Path(named).is_file():
        shipped = list(templates())
        raise SettingsError(
            f'there is no file "{named}"',
            where=variable_of("journey_model"),
            remedy=_guess(named, shipped) or f"Models that are shipped: {', '.join(shipped)}.",
        )
    return settings
