"""The real parts, once per run: a broker process, a warehouse process with our tables; and Hypothesis' profiles."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start a whole pipeline take longest, so they begin first, two at a time; the others stay together by
    module, whose fixtures they share.
    """
    pipelines = [item for item in items if "up" in getattr(item, "fixturenames", ())]
    for number, item in enumerate(pipelines):
        item.add_marker(pytest.mark.xdist_group(f"up-{number % 2}"))
    others = [item for item in items if item not in pipelines]
    for item in others:
        item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    others.sort(key=lambda item: not item.nodeid.startswith("tests/warehouse/"))
    items[:] = [*pipelines, *others]


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
