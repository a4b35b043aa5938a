"""The tables as the live engine has them: each explains itself, replaces its rows, has a cluster form."""

import re
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from sqlalchemy import Engine, select

from models.journey_model import template
from tests.warehouse.stories import EPOCH_MS, MINUTE_MS, Told, empty, insert, load, moment
from warehouse import connect, ddl, schema, views
from warehouse.connection import WarehouseUrlError, client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.journey_models import register_first
from warehouse.judged_tables import judged_tables
from warehouse.migrations import MIGRATIONS, migrate

TABLES = sorted(schema.metadata.tables)
VIEWS = sorted(views.metadata.tables)
PROMISED = {
    "touchpoints", "journeys", "identities", "identity_conflicts", "rejected_touchpoints", "alerts",
    "attempts", "drop_offs", "pain_points", "delights",
    "attempts_1m", "drop_offs_1m", "pain_points_1m", "stage_conversion_1d",
}  # fmt: skip
UNITS = {
    "_ms": r"\bms\b", "_at": "UTC", "_ats": "UTC", "_rate": "0 to 1", "_on": "UTC", "severity": "0 to 1",
    "severities": "0 to 1",
}  # fmt: skip
CLUSTER = list(ddl.statements("journeys_cluster"))


def comments(loader: Client) -> dict[tuple[str, str], tuple[str, str]]:
    rows = loader.query(
        "select table, name, type, comment from system.columns where database = 'desireline'"
    ).result_rows
    return {(table, name): (type_, comment) for table, name, type_, comment in rows}


def test_what_is_promised_is_there(loader: Client) -> None:
    names = {
        row[0]
        for row in loader.query("select name from system.tables where database = 'desireline'").result_rows
    }
    assert names == {*TABLES, *VIEWS}
    assert set(VIEWS) >= PROMISED


def test_every_table_and_view_says_what_it_is(loader: Client) -> None:
    silent = loader.query(
        "select name from system.tables where database = 'desireline' and length(comment) < 15"
    ).result_rows
    assert silent == []


def test_every_column_says_what_it_means(loader: Client) -> None:
    assert [where for where, (_, comment) in comments(loader).items() if len(comment) < 6] == []


def test_every_column_that_may_be_null_says_what_null_means(loader: Client) -> None:
    unexplained = [
        where
        for where, (type_, comment) in comments(loader).items()
        if "Nullable" in type_ and "NULL:" not in comment
    ]
    assert unexplained == []


def test_every_quantity_says_its_unit(loader: Client) -> None:
    unexplained = [
        where
        for where, (_, comment) in comments(loader).items()
        for ending, unit in UNITS.items()
        if where[1].endswith(ending) and not re.search(unit, comment)
    ]
    assert unexplained == []


def test_columns_of_the_definitions_are_those_of_the_engine(loader: Client) -> None:
    found: dict[str, set[str]] = {}
    for table, name in comments(loader):
        found.setdefault(table, set()).add(name)
    defined = {
        t.name: {c.name for c in t.c} for m in (schema.metadata, views.metadata) for t in m.tables.values()
    }
    assert found == defined


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_can_be_asked_by_its_sqlalchemy_table(asked: Engine, name: str) -> None:
    with asked.connect() as connection:
        connection.execute(select(views.metadata.tables[name]).limit(1)).all()


def test_of_one_key_the_greater_version_is_shown_however_it_came(loader: Client) -> None:
    empty(loader)
    for version, customer in ((2, "new"), (1, "old")):
        load(loader, [Told(customer, EPOCH_MS, "view", "t1")], version=version)
    assert loader.query("select customer_id from touchpoints").result_rows == [("new",)]
    assert loader.query("select customer_id from journeys").result_rows == [("new",)]


def test_a_tombstone_hides_the_row_until_something_greater_comes(loader: Client) -> None:
    empty(loader)
    load(loader, [Told("ann", EPOCH_MS, "view", "t1")])
    [row] = [{"occurred_on": moment(EPOCH_MS).date(), "id": "t1", "version": 2, "deleted": 1}]
    insert(loader, "touchpoint_rows", [row])
    assert loader.command("select count() from touchpoints") == 0
    load(loader, [Told("ann", EPOCH_MS, "view", "t1")], version=3)
    assert loader.command("select count() from touchpoints") == 1


def test_final_looks_at_each_month_by_itself_and_still_sees_all(loader: Client) -> None:
    empty(loader)
    months = [EPOCH_MS + n * 31 * 86_400_000 for n in range(3)]
    for version in (1, 2):
        load(loader, [Told("ann", at, "view", f"t{at}") for at in months], version=version)
    assert loader.command("select count() from touchpoints") == 3
    assert "do_not_merge_across_partitions_select_final" in loader.command("show create view touchpoints")


def test_what_is_said_of_a_touchpoint_unfolds(loader: Client) -> None:
    empty(loader)
    at, later = EPOCH_MS, EPOCH_MS + MINUTE_MS
    fields = {
        "queue": "Sales", "attempt_kinds": ["cart", "form"], "attempt_outcomes": ["abandoned", "open"],
        "attempt_ended_ats": [moment(later), None], "attempt_recovered_ats": [moment(later + 1), None],
        "pain_kinds": ["failure", "loop"], "pain_severities": [0.5, 0.25], "delight_kinds": ["reward"],
        "drop_off_at": moment(later), "drop_off_pain_kind": "loop",
    }  # fmt: skip
    load(loader, [Told("ann", at, "add_to_cart", "t1", fields)])
    load(loader, [Told("bob", at, "view", "t2")])
    asked = {
        "attempts": "touchpoint_id, customer_id, kind, outcome, opened_at, ended_at, recovered_at, queue",
        "pain_points": "touchpoint_id, kind, severity, at",
        "delights": "touchpoint_id, kind, at",
        "drop_offs": "touchpoint_id, at, last_seen_at, recovered_at, pain_kind, channel",
    }
    found = {
        view: loader.query(f"select {columns} from {view} order by 1, 2, 3", tz_mode="aware").result_rows
        for view, columns in asked.items()
    }
    assert found == {
        "attempts": [
            ("t1", "ann", "cart", "abandoned", moment(at), moment(later), moment(later + 1), "Sales"),
            ("t1", "ann", "form", "open", moment(at), None, None, "Sales"),
        ],
        "pain_points": [("t1", "failure", 0.5, moment(at)), ("t1", "loop", 0.25, moment(at))],
        "delights": [("t1", "reward", moment(at))],
        "drop_offs": [("t1", moment(later), moment(at), None, "loop", "web")],
    }


def test_one_customer_is_found_without_reading_all(loader: Client) -> None:
    empty(loader)
    load(loader, [Told("ann", EPOCH_MS, "view", "t1")])
    plan = loader.query("explain indexes = 1 select * from touchpoints where customer_id = 'x'").result_rows
    assert "by_customer" in "\n".join(row[0] for row in plan)


def test_migrations_run_once_and_can_be_run_again() -> None:
    with EmbeddedWarehouse() as fresh:
        numbers = [number for number, _, _ in MIGRATIONS]
        before = datetime.now(UTC).replace(microsecond=0)
        assert migrate(fresh.url) == numbers
        assert migrate(fresh.url) == []
        with client(fresh.url) as connection:
            rows = connection.query(
                "select number, name, applied_at from migrations order by number"
            ).result_rows
            # somebody else may have made the tables and not have come to say so
            connection.command("truncate table migrations")
        assert [(row[0], bool(row[1])) for row in rows] == [(number, True) for number in numbers]
        assert all(row[2].replace(tzinfo=UTC) >= before for row in rows)
        assert migrate(fresh.url) == numbers


def test_tables_of_an_earlier_version_get_the_columns_that_came_since() -> None:
    with EmbeddedWarehouse() as old:
        migrate(old.url)
        with client(old.url) as connection:
            said = comments(connection)
            for judged in schema.JUDGED:
                connection.command(f"alter table {judged.name} drop constraint one_model")
            for table, name in schema.LATER_COLUMNS:
                connection.command(f"alter table {table} drop column {name}")
            connection.command("drop view journeys")
            connection.command("insert into journey_rows (started_on, id) values ('2026-01-01', 't1')")
            connection.command("truncate table migrations")
            for _ in range(2):
                migrate(old.url)
                assert comments(connection) == said
                connection.command("truncate table migrations")
            found = connection.query(
                "select shape, paved_path_distance, paved_path_steps from journeys"
            ).result_rows
        assert found == [("", None, 0)]


def test_touchpoints_that_were_kept_whole_beside_their_verdict_are_so_in_the_archive_only() -> None:
    with EmbeddedWarehouse() as old:
        migrate(old.url)
        with client(old.url) as connection:
            connection.command("alter table touchpoint_rows add column element String")
            connection.command("insert into touchpoint_rows (id, element) values ('t1', '{}')")
            connection.command("alter table migrations delete where number >= 5 settings mutations_sync = 2")
            said = migrate(old.url)
            assert said[0] == 5
            assert connection.query("select kind, id, element from element_rows").result_rows == [
                ("touchpoint", "t1", "{}")
            ]
            assert "element" not in {
                name for table, name in comments(connection) if table == "touchpoint_rows"
            }


def test_projections_that_were_made_without_their_settings_are_made_anew() -> None:
    with EmbeddedWarehouse() as old:
        migrate(old.url)
        with client(old.url) as connection:
            for table, name, columns in schema.PROJECTIONS:
                connection.command(f"alter table {table} drop projection {name}")
                added = ddl.add_projection(name, columns, settled=False)
                connection.command(f"alter table {table} {added} settings mutations_sync = 2")
            connection.command(
                "insert into touchpoint_rows (id, customer_id) select toString(number), 'user_id:ann'"
                " from numbers(10_000)"
            )
            steps = "select sum(marks) from system.projection_parts where active and name = 'stories'"
            [[before]] = connection.query(steps).result_rows
            connection.command("alter table migrations delete where number = 11 settings mutations_sync = 2")
            assert migrate(old.url) == [11]
            connection.command(
                "alter table touchpoint_rows materialize projection stories settings mutations_sync = 2"
            )
            [[after]] = connection.query(steps).result_rows
        assert after > 3 * before


def test_projections_have_settings_only_where_the_engine_takes_them() -> None:
    added = [
        [s for s in ddl.statements(settled=settled) if "ADD PROJECTION" in s] for settled in (False, True)
    ]
    assert [sum("WITH SETTINGS" in s for s in some) for some in added] == [0, len(schema.PROJECTIONS)]


def test_numbers_of_migrations_follow_each_other() -> None:
    assert [number for number, _, _ in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_warehouse_of_before_there_were_several_models_keeps_its_rows_as_those_of_the_first() -> None:
    with EmbeddedWarehouse() as fresh:
        migrate(fresh.url)
        with client(fresh.url) as connection:
            for table in schema.JUDGED:
                connection.command(f"alter table {table.name} drop constraint one_model, drop column model")
            connection.command("drop table journey_models")
            insert(connection, "identity_rows", [{"identifier": "user_id:ann", "version": 1}])
            connection.command("alter table migrations delete where number >= 6 settings mutations_sync = 2")
            assert migrate(fresh.url) == [number for number, _, _ in MIGRATIONS if number >= 6]
            assert connection.query("select identifier, model from identity_rows").result_rows == [
                ("user_id:ann", 1)
            ]
            assert judged_tables(connection).keys() == {1}
            with pytest.raises(DatabaseError, match="VIOLATED_CONSTRAINT"):
                connection.command("insert into identity_rows (model) values (2)")


def test_on_a_cluster_the_local_tables_of_another_model_take_the_names() -> None:
    table, cluster = schema.identity_rows, "journeys_cluster"
    made = list(ddl.table_statements(table, cluster, suffix=schema.BUILDING, model=2))
    assert "'/clickhouse/tables/{shard}/desireline/identity_rows_model_2'" in made[0]
    assert "`model` UInt16 DEFAULT 2" in made[0]
    refuses_others = "ADD CONSTRAINT IF NOT EXISTS one_model CHECK model = 2"
    local = "ALTER TABLE desireline.identity_rows__building_local ON CLUSTER 'journeys_cluster'"
    assert f"{local} {refuses_others}" in made
    renamed = [(table, schema.BUILDING, schema.RETIRED)]
    exchange, rename, drop, spread = ddl.switch_statements([table.name], renamed, cluster)
    assert exchange == (
        "EXCHANGE TABLES desireline.identity_rows_local AND desireline.identity_rows__building_local"
        " ON CLUSTER 'journeys_cluster'"
    )
    assert rename == (
        "RENAME TABLE desireline.identity_rows__building_local TO desireline.identity_rows__retired_local"
        " ON CLUSTER 'journeys_cluster'"
    )
    assert drop == "DROP TABLE IF EXISTS desireline.identity_rows__building ON CLUSTER 'journeys_cluster'"
    assert "Distributed('journeys_cluster', desireline, identity_rows__retired_local" in spread


@pytest.mark.parametrize("name", TABLES)
def test_on_a_cluster_a_table_is_replicated_and_sharded_by_its_whole_key(name: str) -> None:
    table = schema.metadata.tables[name]
    [local] = [s for s in CLUSTER if s.startswith(f"CREATE TABLE IF NOT EXISTS desireline.{name}_local ")]
    [spread] = [s for s in CLUSTER if s.startswith(f"CREATE TABLE IF NOT EXISTS desireline.{name} ")]
    assert "ON CLUSTER 'journeys_cluster'" in local
    version = re.search(r"Engine ReplacingMergeTree(\((.*?)\))?", ddl.create_table(table))
    assert version is not None
    given = f", {version[2]}" if version[2] else ""
    path = f"'/clickhouse/tables/{{shard}}/desireline/{name}', '{{replica}}'"
    assert f"ENGINE = ReplicatedReplacingMergeTree({path}{given}) ORDER BY" in " ".join(local.split())
    # rows that replace each other must meet in one shard, and rows of other keys may go elsewhere
    key = re.search(r"ORDER BY \(?([\w,()]+?)\)?(?:\s|$)", local)
    assert key is not None
    assert f"cityHash64({key[1].replace(',', ', ')})" in spread
    assert f"Distributed('journeys_cluster', desireline, {name}_local" in spread


def test_on_a_cluster_every_statement_names_it() -> None:
    assert [s for s in CLUSTER if "ON CLUSTER 'journeys_cluster'" not in s] == []


def test_on_a_cluster_views_are_those_of_one_server() -> None:
    alone = [s for s in ddl.statements() if " VIEW " in s]
    spread = [s.replace(" ON CLUSTER 'journeys_cluster'", "") for s in CLUSTER if " VIEW " in s]
    assert alone == spread


def test_a_cluster_has_a_name_that_clusters_have() -> None:
    assert "ON CLUSTER '{cluster}'" in ddl.script("{cluster}")
    with pytest.raises(ddl.ClusterNameError):
        ddl.script("x' ; drop database desireline")


@pytest.mark.parametrize("url", ["clickhouse://h/d", "localhost:8123", "http://", "file:///x"])
def test_a_url_that_names_no_clickhouse_is_refused(url: str) -> None:
    with pytest.raises(WarehouseUrlError) as raised:
        connect(url)
    assert url in str(raised.value)


def test_a_url_may_hold_user_and_password_with_any_sign() -> None:
    engine = connect("https://an%40a:p%2Fw%3A@example.com/journeys")
    assert (engine.url.username, engine.url.password, engine.url.port) == ("an@a", "p/w:", 8443)
    assert engine.url.database == "journeys"


def test_days_of_conversion_of_before_are_counted_again() -> None:
    with EmbeddedWarehouse() as old:
        migrate(old.url)
        with client(old.url) as connection:
            register_first(connection, template("default"), where="default.yaml")
            on = moment(EPOCH_MS).date()
            phases = ["Consideration", "Awareness"]
            insert(
                connection, "journey_rows", [{"started_on": on, "id": "t1", "version": 1, "phases": phases}]
            )
            # went back, and was in neither count
            days = [{"day": on, "phase": phase, "entered": 1, "version": 1} for phase in phases]
            insert(connection, "stage_conversion_1d_rows", days)
            connection.command("alter table migrations delete where number = 8 settings mutations_sync = 2")
            assert migrate(old.url) == [8]
            asked = "select phase, entered, back, open from stage_conversion_1d order by phase"
            assert connection.query(asked).result_rows == [("Awareness", 1, 0, 1), ("Consideration", 1, 1, 1)]


@pytest.mark.parametrize("statement", CLUSTER, ids=lambda statement: statement[:60])
def test_every_statement_for_a_cluster_is_read_by_the_engines_own_parser(
    loader: Client, statement: str
) -> None:
    # columns of a view with their comments are read by CREATE, and not by EXPLAIN AST
    [[written]] = loader.query(
        "select formatQuery({said:String})", parameters={"said": statement}
    ).result_rows
    assert "ON CLUSTER journeys_cluster" in written


@pytest.mark.parametrize(("table", "name"), [row[:2] for row in schema.SKIP_INDEXES])
def test_a_cluster_has_every_index_on_its_local_tables(table: str, name: str) -> None:
    local = f"ALTER TABLE desireline.{table}_local ON CLUSTER 'journeys_cluster'"
    assert [s for s in CLUSTER if s.startswith(local) and f"ADD INDEX IF NOT EXISTS {name} " in s]


@pytest.mark.parametrize(("table", "name"), [row[:2] for row in schema.PROJECTIONS])
def test_a_cluster_has_every_projection_after_what_lets_rows_be_replaced_in_it(table: str, name: str) -> None:
    local = f"ALTER TABLE desireline.{table}_local ON CLUSTER 'journeys_cluster'"
    said = [s for s in CLUSTER if s.startswith(local)]
    [allowed] = [n for n, s in enumerate(said) if "deduplicate_merge_projection_mode" in s]
    [added] = [n for n, s in enumerate(said) if f"ADD PROJECTION IF NOT EXISTS {name} " in s]
    assert allowed < added
