"""Cohorts on the command line and over HTTP: what one door saves, every other shows; and who may save."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dashboards.app import create_app
from desireline import configs
from desireline.settings import Settings
from tests.dashboards.serving import served

BUYERS = {"all": [{"did": "purchase"}, {"not": {"did": "purchase", "at_least": 1_000}}]}


@pytest.fixture(scope="module")
def pages(filled: str) -> Iterator[str]:
    """Pages that one of two write keys may save cohorts on."""
    settings = Settings(
        warehouse_url=filled,
        warehouse_reader_url=filled.replace("http://", "http://reader:@"),
        write_keys={"public": "shop", "private": "desk"},
        cohort_editors="desk",
    )
    with served(create_app(configs.dashboards(settings))) as base:
        yield base


def typed(url: str, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "desireline", *words],
        capture_output=True,
        text=True,
        input=given,
        timeout=120,
        check=False,
        env={**os.environ, "DESIRELINE_WAREHOUSE_URL": url},
    )


def test_what_the_command_line_saves_http_shows_and_every_question_is_narrowed_by(
    filled: str, pages: str, tmp_path: Path
) -> None:
    file = tmp_path / "buyers.yaml"
    file.write_text("all:\n- did: purchase\n- not: {did: purchase, at_least: 1000}\n")
    saved = typed(filled, "cohort", "save", "buyers", str(file), "--author", "ada")
    assert saved.returncode == 0, saved.stderr
    found = httpx.get(f"{pages}/api/cohorts/buyers").json()
    assert (found["definition"], found["author"], found["customers"] > 0) == (BUYERS, "ada", True)
    assert f"{found['customers']} customers now" in saved.stdout
    listed = httpx.get(f"{pages}/api/cohorts").json()["cohorts"]
    assert [one["name"] for one in listed] == ["buyers"]
    shown = json.loads(typed(filled, "cohort", "show", "buyers", "--format", "json").stdout)
    assert (shown["customers"], json.loads(shown["definition"])) == (found["customers"], BUYERS)
    members = httpx.get(f"{pages}/api/cohorts/buyers/members").json()["members"]
    by_command = json.loads(typed(filled, "cohort", "members", "buyers", "--format", "json").stdout)
    assert members == by_command
    assert len(members) == found["customers"]
    sizes = [
        httpx.get(f"{pages}/api/retention", params={"periods": 1, "cohort": cohort}).json()["cohorts"][-1][
            "size"
        ]
        for cohort in ("buyers", "!buyers")
    ]
    everybody = httpx.get(f"{pages}/api/retention", params={"periods": 1}).json()["cohorts"][-1]["size"]
    assert sizes == [found["customers"], everybody - found["customers"]]
    deleted = typed(filled, "cohort", "delete", "buyers")
    assert deleted.returncode == 0, deleted.stderr
    assert typed(filled, "cohort", "list", "--format", "json").stdout.strip() == "[]"


def test_over_http_only_a_write_key_that_may_saves_and_deletes(filled: str, pages: str) -> None:
    where = f"{pages}/api/cohorts/buyers"
    for key in (None, "public", "unknown", ""):
        auth = None if key is None else (key, "")
        for refused in (httpx.put(where, json=BUYERS, auth=auth), httpx.delete(where, auth=auth)):
            assert (refused.status_code, "DESIRELINE_COHORT_EDITORS" in refused.json()["remedy"]) == (
                403,
                True,
            )
    assert httpx.get(f"{pages}/api/cohorts").json()["cohorts"] == []
    saved = httpx.put(where, json=BUYERS, auth=("private", ""))
    assert (saved.status_code, saved.json()["author"], saved.json()["definition"]) == (200, "desk", BUYERS)
    assert httpx.delete(where, auth=("private", "")).json() == {"deleted": "buyers"}
    assert httpx.get(where).status_code == 400


def test_where_nobody_may_nobody_saves_over_http(filled: str) -> None:
    settings = Settings(warehouse_url=filled, write_keys={"public": "shop"})
    assert configs.dashboards(settings).cohort_editing is None
    with served(create_app(configs.dashboards(settings))) as base:
        refused = httpx.put(f"{base}/api/cohorts/buyers", json=BUYERS, auth=("public", ""))
    assert refused.status_code == 403


def test_what_is_wrong_is_said_at_both_doors(filled: str, pages: str, tmp_path: Path) -> None:
    private = ("private", "")
    where = f"{pages}/api/cohorts/buyers"
    wrong = httpx.put(where, json={"did": "purchas"}, auth=private)
    assert wrong.status_code == 400
    assert wrong.json()["message"] == 'touchpoint type "purchas" is not known'
    assert '"purchase"' in wrong.json()["remedy"]
    assert httpx.put(where, content=b"{", auth=private).json()["message"].startswith("the body is no JSON")
    refused = typed(filled, "cohort", "save", "buyers", "-", given='{"did": "purchas"}')
    assert refused.returncode == 1
    assert 'touchpoint type "purchas" is not known' in refused.stderr
    file = tmp_path / "broken.yaml"
    file.write_text("did: purchase\nat_least: [")
    broken = typed(filled, "cohort", "save", "buyers", str(file))
    assert f"{file}:2: this is no YAML" in broken.stderr
    absent = typed(filled, "cohort", "save", "buyers", str(tmp_path / "none.yaml"))
    assert "No such file" in absent.stderr
    unknown = typed(filled, "cohort", "show", "buyers")
    assert 'cohort "buyers" is not known' in unknown.stderr
