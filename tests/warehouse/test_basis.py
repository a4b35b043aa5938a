"""What an answer stands on: one watermark and one journey model, whatever arrives while it is worked out."""

from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from models.journey_model import default_model
from tests.warehouse.stories import EPOCH_MS, MINUTE_MS, empty, moment, set_watermark
from warehouse import conversion
from warehouse.basis import model_of, one_basis, watermark
from warehouse.journey_models import change_state, register


@pytest.fixture(autouse=True)
def nothing_left(loader: Client) -> Iterator[None]:
    yield
    empty(loader, "watermarks")
    empty(loader, "journey_models")


def test_the_least_watermark_of_all_partitions_counts(asked: Engine, loader: Client) -> None:
    empty(loader, "watermarks")
    assert watermark(asked) is None
    set_watermark(loader, EPOCH_MS + 5, EPOCH_MS + MINUTE_MS)
    assert watermark(asked) == moment(EPOCH_MS + 5)


def test_the_current_model_is_taken_and_the_default_one_where_there_is_none(
    asked: Engine, loader: Client
) -> None:
    empty(loader, "journey_models")
    assert model_of(asked) == default_model()
    telecom = files("models").joinpath("templates", "telecom.yaml").read_text()
    first = register(loader, telecom, where="telecom.yaml", number=1, state="current")
    assert model_of(asked) == first.model != default_model()
    change_state(loader, first, "retired")
    banking = files("models").joinpath("templates", "banking.yaml").read_text()
    second = register(loader, banking, where="banking.yaml", number=2, state="current")
    assert model_of(asked) == second.model != first.model


def test_what_arrives_meanwhile_changes_nothing_in_an_answer(asked: Engine, loader: Client) -> None:
    set_watermark(loader, EPOCH_MS)
    with one_basis(asked):
        set_watermark(loader, EPOCH_MS + MINUTE_MS)
        with one_basis(asked):
            assert watermark(asked) == moment(EPOCH_MS)
        assert conversion.conversion(asked).watermark == moment(EPOCH_MS)
    assert watermark(asked) == moment(EPOCH_MS) + timedelta(minutes=1)


def test_a_warehouse_that_knows_no_models_yet_is_asked_all_the_same(asked: Engine, loader: Client) -> None:
    set_watermark(loader, EPOCH_MS)
    loader.command("rename table desireline.journey_models to desireline.put_away")
    try:
        assert watermark(asked) == moment(EPOCH_MS)
        assert model_of(asked) == default_model()
    finally:
        loader.command("rename table desireline.put_away to desireline.journey_models")
