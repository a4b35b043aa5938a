"""The real parts, once per run: a broker process, a warehouse process with our tables; and Hypothesis' profiles."""

import os
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from streams.embedded_broker import EmbeddedBroker
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate

# `long` is for a machine at night; `test` is what everyone runs; `dev` answers at once
_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile(
    "test",
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "300")),
    deadline=None,
    print_blob=True,
    suppress_health_check=_SLOW_IS_FINE,
)
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))


_PIPELINES = frozenset(
    f"tests/desireline/test_{name}.py" for name in ("identity", "rebuild_live", "reconcile_up", "up")
)
"""Each test of these starts a whole pipeline of its own."""
_MINUTES = frozenset(
    f"tests/{name}.py"
    for name in (
        "warehouse/test_any_funnel",
        "warehouse/test_paths",
        "desireline/test_rebuild",
        "desireline/test_start",
        "streams/test_stitching",
        "streams/test_watch",
    )
)

_PROCESSES = frozenset(("broker", "browser", "filled", "pipeline", "up", "warehouse"))
"""Fixtures that start a broker, a warehouse or a browser, or all of them."""
_STARTERS = frozenset(("CollectorProcess", "EmbeddedBroker", "EmbeddedWarehouse"))


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: pipelines, then modules that take minutes, then the warehouse."""
    for item in items:
        if _waits_for_a_process(item):
            item.add_marker("slow")

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        module = _module_of(item.nodeid)
        return module not in _PIPELINES, module not in _MINUTES, not module.startswith("tests/warehouse/")

    items.sort(key=place)


def _waits_for_a_process(item: pytest.Item) -> bool:
    """Whether a test, or one of its module, starts a server or a browser."""
    module = item.getparent(pytest.Module)
    fixtures = getattr(item, "fixturenames", ())
    return not _PROCESSES.isdisjoint(fixtures) or not _STARTERS.isdisjoint(vars(module.obj) if module else ())


class _ByModule(LoadScopeScheduling):
    """Tests of one module in one process, whose fixtures they share; pipelines in three, which run at a time."""

    def _split_scope(self, nodeid: str) -> str:
        module = _module_of(nodeid)
        return f"pipelines {crc32(nodeid.encode()) % 3}" if module in _PIPELINES else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByModule:
    """How xdist shares tests out."""
    return _ByModule(config, log)


def _module_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """`host:port` of an embedded broker process; topics are the tests' own to create."""
    with EmbeddedBroker() as running:
        yield running.bootstrap_servers


@pytest.fixture(scope="session")
def warehouse() -> Iterator[str]:
    """URL of an embedded warehouse process that holds our tables and no rows."""
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        yield running.url
