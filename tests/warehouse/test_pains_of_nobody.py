"""Of an empty warehouse each of these analyses has its columns and no rows that say anything."""

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from tests.warehouse.stories import EPOCH_MS, empty, set_watermark
from warehouse.catalogue import named

NAMES = ("attempts", "drop-offs", "pain-points", "costs", "moments", "pain-before-drop-off", "what-differs")


@pytest.mark.parametrize("watermark", [False, True], ids=["nothing ever arrived", "time went on"])
@pytest.mark.parametrize("name", NAMES)
def test_of_nobody(asked: Engine, loader: Client, name: str, watermark: bool) -> None:
    empty(loader)
    if watermark:
        set_watermark(loader, EPOCH_MS)
    answer = named(name)(asked)
    assert answer.empty
    assert len(answer.columns) > 8
    for part in answer.parts.values():
        assert not hasattr(part, "columns") or part.empty
    for question in filter(None, answer.sql().split(";\n\n")):
        loader.query(question)


@pytest.mark.parametrize("name", ["attempts", "drop-offs", "pain-points"])
def test_in_all_there_is_one_row_of_nothing(asked: Engine, loader: Client, name: str) -> None:
    empty(loader)
    assert len(named(name)(asked, by=[])) == 1
