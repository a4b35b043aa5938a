"""`desireline rebuild --model`: what stands afterwards is what a batch computation under that model gives."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import Phase, given, seed, settings

from desireline.rebuild import RebuildError, change_model
from desireline.settings import Settings
from models.fold import Household
from models.identifier import Identifier
from models.journey_model import load_model
from models.touchpoint import Element, Touchpoint
from models.verdict import Facts
from tests.desireline.standing import differences, load, load_batch, standing
from tests.desireline.ups import environment, until
from tests.histories import MODEL, MODEL_TEXT, NOON, OTHER_TEXT, histories, households, root_of
from warehouse import judged_tables, schema
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.journey_models import fingerprint, register, register_first, registered
from warehouse.loading import Group, Loading
from warehouse.migrations import migrate
from warehouse.write_errors import TablesSwitched

NEW_TEXT = re.sub(r"\bAwareness\b", "Discovery", OTHER_TEXT).replace("gap: 9ms", "gap: 5ms")
NEW = load_model(NEW_TEXT, where="new.yaml")
NOW = NOON + 60
PARTITIONS = 4


class Silent:
    """Is told how far it is."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, what: str, households: int | None) -> None:
        self.said.append(what)

    def advance(self, households: int) -> None:
        pass

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedWarehouse]:
    """A warehouse whose rows are judged under `MODEL`."""
    monkeypatch.setattr("desireline.rebuild._QUIET_S", 0.0)
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        with client(running.url) as connected:
            register_first(connected, MODEL_TEXT, where="short.yaml")
        yield running


@pytest.fixture(scope="module")
def batch() -> Iterator[Client]:
    """A warehouse for what must come out."""
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        with client(running.url) as connected:
            yield connected


def made_up(number: int, *, how_many: int = 60) -> list[list[Element]]:
    """Households for a run of this number: far too many to be shown or shrunk where a test fails."""
    told: list[list[Element]] = []

    @seed(number)
    @settings(max_examples=how_many, phases=[Phase.generate], database=None)
    @given(histories())
    def take(history: list[Element]) -> None:
        told.append(history)

    take()
    return told_apart(told)


def told_apart(all_histories: list[list[Element]]) -> list[list[Element]]:
    """Households of people who never met, from histories of people with the same names."""
    together = (household for history in all_histories for household in households(history))
    return [[_renamed(element, number) for element in household] for number, household in enumerate(together)]


def _renamed(element: Element, number: int) -> Element:
    names = tuple(Identifier(one.kind, f"{number}-{one.value}") for one in element.identifiers)
    return msgspec.structs.replace(element, id=f"{number}-{element.id}", identifiers=names)


def said(elements: list[Element], watermark: int) -> Iterator[Facts]:
    """What a worker says of a household under `MODEL` as its elements come in two records."""
    household = Household(root_of(elements, MODEL), MODEL)
    for some, at in ((elements[::2], watermark - 30), (elements[1::2], watermark)):
        household.add(some)
        facts = household.judge(at)
        yield Facts(
            facts.touchpoints, facts.journeys, facts.identities, facts.conflicts, facts.identifications,
            facts.corrections, facts.duplicates, model=fingerprint(MODEL), copies=facts.copies,
        )  # fmt: skip


def change(url: str, text: str = NEW_TEXT) -> list[str]:
    progress = Silent()
    change_model(Settings(warehouse_url=url, partitions=PARTITIONS), text, progress, file="new.yaml")
    return progress.said


@pytest.mark.parametrize("number", range(3))
def test_all_is_judged_under_the_new_model(number: int, live: EmbeddedWarehouse, batch: Client) -> None:
    told = made_up(number)
    watermarks = Facts(watermarks=dict.fromkeys(range(PARTITIONS), NOW), model=fingerprint(MODEL))
    load(live.url, [*(facts for one in told for facts in said(one, NOON + 30)), watermarks], MODEL.phases)
    change(live.url)
    load_batch(batch, told, NOW, NEW)
    with client(live.url) as connected:
        assert differences(standing(connected), standing(batch)) == {}


def visits(people: range) -> list[list[Element]]:
    """Five touchpoints of each of these people."""
    types = ("page_view", "product_view", "add_to_cart", "checkout_started", "purchase")
    return [
        [
            Touchpoint(
                id=f"{person}-{place}", source="segment", source_instance="shop", source_event_id="1",
                source_type="track", channel="web", type=types[(person + place) % 5],
                occurred_at=NOON + person % 10 + 2 * place, received_at=NOON,
                identifiers=(Identifier("user_id", f"u{person}"),),
            )
            for place in range(5)
        ]
        for person in people
    ]  # fmt: skip


def start(url: str, file: Path) -> subprocess.Popen[bytes]:
    variables = {"DESIRELINE_WAREHOUSE_URL": url, "DESIRELINE_PARTITIONS": str(PARTITIONS)}
    with (file.parent / "rebuild.out").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "desireline", "rebuild", "--model", str(file)],
            env=environment() | variables, stdout=output, stderr=output,
        )  # fmt: skip


def test_ended_in_the_middle_it_goes_on_and_the_live_tables_are_untouched(
    live: EmbeddedWarehouse, batch: Client, tmp_path: Path
) -> None:
    told = visits(range(3_000))
    watermarks = Facts(watermarks=dict.fromkeys(range(PARTITIONS), NOW), model=fingerprint(MODEL))
    load(live.url, [*(facts for one in told for facts in said(one, NOON + 30)), watermarks], MODEL.phases)
    file = tmp_path / "new.yaml"
    file.write_text(NEW_TEXT)
    with client(live.url) as connected:
        before = standing(connected)

        def built() -> int:
            there = judged_tables.judged_tables(connected)
            count = "select count() from touchpoint_rows__building" if 2 in there else "select 0"
            return int(connected.command(count))

        running = start(live.url, file)
        until(lambda: built() > 0 or running.poll() is not None, within_s=120, what="some of it was built")
        running.kill()
        assert running.wait() == -signal.SIGKILL
        assert 0 < built() < 15_000
        assert differences(standing(connected), before) == {}
        said_now = change(live.url)
        assert said_now[0] == "journey model 2 was being built; that goes on"
        load_batch(batch, told, NOW, NEW)
        assert differences(standing(connected), standing(batch)) == {}
        assert [(one.number, one.state) for one in registered(connected)] == [(1, "retired"), (2, "current")]


@pytest.mark.parametrize("done", ["nothing", "some tables", "all tables", "all names"])
def test_ended_while_the_tables_are_switched_it_finishes_that(
    done: str, live: EmbeddedWarehouse, batch: Client
) -> None:
    told = visits(range(20))
    load(live.url, [facts for one in told for facts in said(one, NOW)], MODEL.phases)
    with client(live.url) as connected:
        stop = _stopping_at(connected, done)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judged_tables, "switch", stop)
            with pytest.raises(InterruptedError):
                change(live.url)
        change(live.url)
        load_batch(batch, told, NOW, NEW)
        assert differences(standing(connected), standing(batch)) == {}
        states = {one.number: one.state for one in registered(connected)}
        assert states == {1: "retired", 2: "current"}
        old, new = (judged_tables.judged_tables(connected)[number] for number in (1, 2))
        assert new.current
        assert set(old.names.values()) == {f"{name}__retired" for name in old.names}


def _stopping_at(connected: Client, done: str) -> Callable[[Client, int], None]:
    """What a switch does that ends so far."""
    names = [table.name for table in schema.JUDGED]
    exchanged = {"nothing": 0, "some tables": 3}.get(done, len(names))

    def switch(_client: Client, _number: int) -> None:
        for name in names[:exchanged]:
            connected.command(f"exchange tables {name} and {name}__building")
        for name in names[:4] if done == "all names" else []:
            connected.command(f"rename table {name}__building to {name}__retired")
        raise InterruptedError

    return switch


def test_what_workers_say_under_the_old_model_afterwards_is_judged_again(
    live: EmbeddedWarehouse, batch: Client
) -> None:
    told = visits(range(20))
    early = [one[:3] for one in told]
    loading = Loading(live.url, MODEL.phases)  # it knows the tables by their names of before the switch

    def write(households: list[list[Element]], at: int) -> None:
        records = [facts for one in households for facts in said(one, at)]
        group = Group([("facts", msgspec.msgpack.encode(facts)) for facts in records])
        for _ in range(2):
            with suppress(TablesSwitched):
                loading.write(group, NOW)
                loading.settle(NOW)
                return
        raise AssertionError("the loader does not find the tables")

    write(early, NOW - 30)
    change(live.url)
    write(told, NOW)
    with client(live.url) as connected:
        assert connected.command("select count() from touchpoints") == 60
        assert connected.command("select count() from touchpoint_rows__retired final") == 100
        change(live.url)
        load_batch(batch, told, NOW, NEW)
        assert differences(standing(connected), standing(batch)) == {}


def test_facts_of_a_model_without_tables_are_among_the_rejected(live: EmbeddedWarehouse) -> None:
    [told] = visits(range(1))
    facts = [msgspec.structs.replace(one, model="0badc0de") for one in said(told, NOW)]
    load(live.url, facts, MODEL.phases)
    with client(live.url) as connected:
        assert connected.command("select count() from touchpoints") == 0
        rows = connected.query("select reason, detail from rejected_touchpoints").result_rows
    assert [reason for reason, _ in rows] == ["unloadable"] * 2
    assert "0badc0de" in rows[0][1]


def test_another_model_takes_the_place_of_one_that_was_not_finished(live: EmbeddedWarehouse) -> None:
    with client(live.url) as connected:
        register(connected, OTHER_TEXT, where="other.yaml", number=2, state="building")
        judged_tables.create_building(connected, 2)
        change(live.url)
        states = {one.number: one.state for one in registered(connected)}
        assert states == {1: "retired", 2: "retired", 3: "current"}
        assert judged_tables.judged_tables(connected).keys() == {1, 3}


def test_the_order_of_kinds_of_identifiers_stays(live: EmbeddedWarehouse) -> None:
    text = NEW_TEXT.replace("order: [user_id, customer_id,", "order: [customer_id, user_id,")
    assert text != NEW_TEXT
    with pytest.raises(RebuildError, match="cannot be changed"):
        change(live.url, text)


def test_a_table_refuses_rows_of_another_model(live: EmbeddedWarehouse) -> None:
    with client(live.url) as connected:
        for table in schema.JUDGED:
            with pytest.raises(DatabaseError, match="VIOLATED_CONSTRAINT"):
                connected.command(f"insert into {table.name} (model) values (2)")
