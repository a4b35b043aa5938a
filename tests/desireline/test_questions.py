"""Questions on the command line and over HTTP: the same analyses, the same arguments, the same answers."""

import contextlib
import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pandas as pd
import pytest

from dashboards.app import create_app
from dashboards.config import DashboardsConfig
from desireline.cli.app import run
from models.journey_model import default_model
from tests.dashboards.serving import served
from warehouse import connect, conversion, funnel_customers, funnels, journey_map, paths
from warehouse.catalogue import names
from warehouse.connection import client


@pytest.fixture(scope="module")
def pages(filled: str) -> Iterator[str]:
    app = create_app(
        DashboardsConfig(warehouse_url=filled, model=default_model(), refresh_interval_ms=60_000)
    )
    with served(app) as base:
        yield base


ASKED: dict[str, tuple[list[str], dict[str, object]]] = {
    # of each analysis one question: as it is typed, and as JSON
    "retention": (
        ["--start", "conversion", "--per", "month", "--unit", "week", "--periods", "2", "--rolling"],
        {"start": "conversion", "per": "month", "unit": "week", "periods": 2, "rolling": True},
    ),
    "life-cycle": (
        ["--per", "day", "--timezone", "Europe/Berlin"],
        {"per": "day", "timezone": "Europe/Berlin"},
    ),
    "stickiness": (["--step", "*", "--per", "month"], {"step": "*", "per": "month"}),
    "alerts": (["--open-only"], {"open_only": True}),
    "attempts": (["--by", "kind", "--every", "week"], {"by": ["kind"], "every": "week"}),
    "drop-offs": (["--by", "phase", "--by", "persona"], {"by": ["phase", "persona"]}),
    "pain-points": (["--per", "journey"], {"per": "journey"}),
    "costs": (
        ["drop-offs", "--by", "phase", "--least", "1"],
        {"of": "drop-offs", "by": ["phase"], "least": 1},
    ),
    "moments": (["--outcome", "return", "--least", "1"], {"outcome": "return", "least": 1}),
    "pain-before-drop-off": (["--by", "phase", "--least", "1"], {"by": ["phase"], "least": 1}),
    "what-differs": (["--of", "type", "--of", "pain", "--least", "1"], {"of": ["type", "pain"], "least": 1}),
    "funnel": (
        ["product_view", "add_to_cart?", "purchase", "--within", "30d", "--by", "channel", "--trend", "week"],
        {
            "steps": ["product_view", "add_to_cart?", "purchase"],
            "within": "30d",
            "by": "channel",
            "trend": "week",
        },
    ),
    "funnel-customers": (["product_view", "add_to_cart"], {"steps": ["product_view", "add_to_cart"]}),
    "paths": (["--of", "phase", "--per", "journey"], {"of": "phase", "per": "journey"}),
    "variants": (["--of", "phase"], {"of": "phase"}),
    "desire-line": (["--least", "1"], {"least": 1}),
    "conversion": (["--by", "campaign"], {"by": "campaign"}),
    "attribution": ([], {}),
    "map": (["--by", "persona"], {"by": "persona"}),
    "customer": (["CUSTOMER"], {"identifier": "CUSTOMER"}),
}


@dataclass(frozen=True)
class Typed:
    """What a command line came to."""

    returncode: int
    stdout: str
    stderr: str


def typed(url: str, *words: str) -> Typed:
    """Run a command line, in this process: to import all that analyses need takes seconds."""
    said, complained = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
    ):
        patch.setenv("DESIRELINE_WAREHOUSE_URL", url)
        code = run(words)
    return Typed(code, said.getvalue(), complained.getvalue())


def asked(name: str, url: str) -> tuple[list[str], dict[str, object]]:
    """The question, about a customer who is there."""
    words, given = ASKED[name]
    if "CUSTOMER" not in words:
        return words, given
    with client(url) as asking:
        someone = str(asking.command("select min(customer_id) from journeys"))
    return [someone], {"identifier": someone}


def test_of_every_analysis_a_question_is_tried() -> None:
    assert set(names()) == set(ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_command_line_and_http_give_the_same_answer(
    name: str, filled: str, pages: str, tmp_path: Path
) -> None:
    words, given = asked(name, filled)
    shown = typed(filled, name, *words, "--format", "json")
    assert shown.returncode == 0, shown.stderr
    said = json.loads(shown.stdout)
    assert {"watermark", "sql"} < said.keys()
    posted = httpx.post(f"{pages}/api/{name}", json=given, timeout=60)
    assert posted.status_code == 200, posted.text
    assert same(posted.json(), said)
    got = httpx.get(f"{pages}/api/{name}", params=as_address(given), timeout=60)
    assert same(got.json(), said)
    query = tmp_path / "saved.yaml"
    query.write_text(json.dumps({"analysis": name, **given}))  # JSON is YAML
    assert same(json.loads(typed(filled, "ask", str(query), "--format", "json").stdout), said)


def same(one: object, other: object) -> bool:
    """Equal, but for the last digits of a float: the engine adds up in parallel, in no fixed order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return type(one) is type(other) and one == other


def as_address(given: dict[str, object]) -> list[tuple[str, str]]:
    return [
        (key, one if isinstance(one, str) else json.dumps(one))
        for key, value in given.items()
        for one in (value if isinstance(value, list) else [value])
    ]


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_is_readable_in_a_hundred_columns_and_written_as_csv_and_parquet(
    name: str, filled: str, pages: str, tmp_path: Path
) -> None:
    words, given = asked(name, filled)
    table = typed(filled, name, *words)
    assert table.returncode == 0, table.stderr
    assert max(map(len, table.stdout.splitlines())) <= 100
    assert "true until" in table.stdout
    for ending in ("csv", "parquet"):
        assert typed(filled, name, *words, "--output", str(tmp_path / f"rows.{ending}")).returncode == 0
    by_http = httpx.post(f"{pages}/api/{name}", json={**given, "format": "csv"}, timeout=60)
    assert by_http.headers["content-type"].startswith("text/csv")
    by_command = (tmp_path / "rows.csv").read_text()
    assert by_http.text.splitlines()[0] == by_command.splitlines()[0]
    # the engine adds up in several threads: means differ in their last digits
    pd.testing.assert_frame_equal(*map(pd.read_csv, map(io.StringIO, (by_http.text, by_command))), rtol=1e-9)
    rows = list(csv.reader(by_command.splitlines()))
    kept = pd.read_parquet(tmp_path / "rows.parquet")
    assert (rows[0], len(rows) - 1) == (list(kept.columns), len(kept))


def test_how_many_journeys_come_into_a_phase_is_the_same_whichever_way_it_is_asked(
    filled: str, pages: str
) -> None:
    engine = connect(filled)
    entered = conversion.conversion(engine, by="persona").groupby("phase")["entered"].sum()
    on_the_map = journey_map.journey_map(engine).set_index("phase")["journeys"]
    nodes = paths.paths(engine, of="phase", per="journey").parts["nodes"].set_index("node")["count"]
    assert (entered > 0).sum() > 3
    for phase, count in entered[entered > 0].items():
        steps, per = [f"@{phase}"], "journey"
        [row] = funnels.funnel(engine, steps, per=per).to_dict("records")
        listed = funnel_customers.funnel_customers(engine, steps, per=per).parts["total"]["customers"]
        shown = json.loads(typed(filled, "funnel", *steps, "--per", per, "--format", "json").stdout)
        got = httpx.get(f"{pages}/api/funnel", params={"steps": steps[0], "per": per}, timeout=60).json()
        assert [row["count"], listed, on_the_map[phase], nodes[phase]] == [count] * 4, phase
        assert [shown["steps"][0]["count"], got["steps"][0]["count"]] == [count] * 2, phase
    engine.dispose()


def test_http_says_what_it_offers_and_what_is_wrong(pages: str) -> None:
    described = httpx.get(f"{pages}/openapi.json").json()["paths"]
    for name in names():
        assert {"get", "post"} <= described[f"/api/{name}"].keys()
    schema = described["/api/alerts"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["open_only"]["type"] == "boolean"
    wrong = httpx.get(f"{pages}/api/alerts", params={"open": "true"})
    assert wrong.status_code == 400
    assert wrong.json()["remedy"] == "Did you mean open_only?"
    assert (
        httpx.post(f"{pages}/api/alerts", content=b"[]").json()["message"].startswith("the body is no JSON")
    )
    assert httpx.get(f"{pages}/api/alerts", params={"format": "xls"}).status_code == 400


def test_what_cannot_be_written_is_said(filled: str, tmp_path: Path) -> None:
    for words, said in (
        (["--format", "parquet"], "Give it a name with --output."),
        (["--output", str(tmp_path / "rows.xls")], "End its name with .csv, .parquet or .json."),
        (["--output", str(tmp_path / "nowhere" / "rows.csv")], "No such file or directory"),
    ):
        refused = typed(filled, "alerts", *words)
        assert refused.returncode == 1
        assert said in refused.stderr


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_rows_of_a_view_are_exported_as_they_stand(ending: str, filled: str, tmp_path: Path) -> None:
    file = tmp_path / f"touchpoints.{ending}"
    done = typed(filled, "export", "touchpoints", str(file), "--from", "2026-02-01")
    assert done.returncode == 0, done.stderr
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": lambda f: pd.read_json(f, lines=True)}
    rows = read[ending](file)
    with client(filled) as asked:
        count = asked.command("select count() from touchpoints where occurred_at >= '2026-02-01'")
    assert len(rows) == count > 0


def test_a_view_that_cannot_be_exported_is_said_and_leaves_no_file(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    for words, said in (
        (("touchpoint", str(file)), "Did you mean touchpoints"),
        (("identities", str(file), "--from", "2026-01-01"), 'rows of "identities" have no time'),
        (("touchpoints", str(tmp_path / "rows.xls")), "End its name with one of"),
    ):
        refused = typed(filled, "export", *words)
        assert refused.returncode == 1
        assert said in refused.stderr
        assert not file.exists()
