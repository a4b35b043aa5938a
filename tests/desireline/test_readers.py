"""The read-only user of a ClickHouse server; that it cannot change anything is tested with its role."""

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from desireline import readers
from desireline.settings import Settings
from warehouse.connection import client


def test_the_user_and_its_password_are_those_of_the_url() -> None:
    made = readers.statements("http://some%20one:it%27s%5C@clickhouse:8123/desireline")
    assert made[0] == r"CREATE USER IF NOT EXISTS `some one` IDENTIFIED BY 'it\'s\\'"


@pytest.mark.parametrize(
    "url", ["", "http://clickhouse:8123/desireline", "http://reader@clickhouse:8123/desireline"]
)
def test_a_url_without_a_password_makes_no_user(url: str) -> None:
    assert readers.statements(url) == []


def test_the_engine_understands_every_statement_and_the_embedded_one_has_its_reader_already(
    warehouse: str,
) -> None:
    url = "http://reader:it%27s@127.0.0.1/desireline"
    assert readers.ensure(Settings(warehouse_url=warehouse, warehouse_reader_url=url)) is False
    connection = client(warehouse)
    for statement in readers.statements(url):
        with pytest.raises(DatabaseError) as raised:
            connection.command(statement)
        assert "SYNTAX_ERROR" not in str(raised.value)
