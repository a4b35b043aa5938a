"""Where the warehouse is: a URL, whichever engine answers there."""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httpclient import HttpClient
from clickhouse_connect.driver.httputil import get_pool_manager
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL

from models.errors import DesirelineError
from warehouse.asker import connections

DATABASE = "desireline"
_QUERY_TIMEOUT_S = 300


class WarehouseUrlError(DesirelineError):
    """A warehouse URL that names no ClickHouse over HTTP."""


class _Place:
    """A warehouse URL, taken apart."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WarehouseUrlError(
                "this is no URL of a ClickHouse over HTTP",
                where=url,
                remedy="Write http://USER:PASSWORD@HOST:8123/desireline.",
            )
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (8443 if self.secure else 8123)
        self.user = unquote(parts.username or "default")
        self.password = unquote(parts.password or "")
        self.database = parts.path.strip("/") or DATABASE


def connect(url: str) -> Engine:
    """A SQLAlchemy engine on the warehouse at `http://USER:PASSWORD@HOST:PORT/DATABASE`; nothing is
    asked yet.
    """
    place = _Place(url)
    return create_engine(
        URL.create(
            "clickhousedb",
            username=place.user,
            password=place.password,
            host=place.host,
            port=place.port,
            database=place.database,
            query={
                "secure": str(place.secure).lower(),
                # a session would let one query run at a time, and pages ask several at once
                "autogenerate_session_id": "false",
                "send_receive_timeout": str(_QUERY_TIMEOUT_S),
            },
        ),
        pool_size=8,
        max_overflow=24,
        connect_args={"pool_mgr": connections(32)},
    )


def client(url: str, *, database: str | None = None) -> HttpClient:
    """A clickhouse-connect client on the warehouse, for inserts; with connections of its own."""
    place = _Place(url)
    made = clickhouse_connect.get_client(
        host=place.host,
        port=place.port,
        username=place.user,
        password=place.password,
        database=place.database if database is None else database,
        secure=place.secure,
        autogenerate_session_id=False,
        compress=False,
        send_receive_timeout=_QUERY_TIMEOUT_S,
        pool_mgr=cast(Any, get_pool_manager(maxsize=16)),
    )
    return cast(HttpClient, made)


def insert_row(client: Client, table: str, row: Mapping[str, Any]) -> None:
    """Insert one row, by column, as JSON: the driver's own insert reads in pandas, which takes longer than all
    that a start has to say. Raises what the driver does.
    """
    client.raw_insert(
        f"{DATABASE}.{table}",
        insert_block=msgspec.json.encode(row),
        settings={"date_time_input_format": "best_effort"},
        fmt="JSONEachRow",
    )
