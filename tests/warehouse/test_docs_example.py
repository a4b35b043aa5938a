"""The example in the docs is an analysis, and answers."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from tests.warehouse.stories import empty, load, story
from warehouse.parameters import parameters

PAGE = Path(__file__).parents[2] / "docs" / "adding-an-analysis.md"


def test_the_analysis_of_the_docs_answers_and_compares(loader: Client, asked: Engine) -> None:
    [code] = [
        one for one in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "@analysis" in one
    ]
    made: dict[str, Any] = {"__name__": "waits"}
    exec(compile(code, str(PAGE), "exec"), made)  # noqa: S102  our own docs
    waits = made["waits"]
    assert [one.written for one in parameters(waits)][:3] == ["by", "from", "to"]
    empty(loader)
    load(
        loader,
        [
            *story("ann", "0 call_answered channel=voice wait_ms=30000 persona=Gold, 5 purchase"),
            *story(
                "bob",
                "0 call_answered channel=voice wait_ms=90000, 9 chat_answered channel=chat wait_ms=1000",
            ),
        ],
    )
    rows = pd.DataFrame(waits(asked)).set_index("channel")
    assert rows["mean_ms"].to_dict() == {"chat": 1000, "voice": 60_000}
    assert rows["answered"].to_dict() == {"chat": 1, "voice": 2}
    both = waits(asked, by="channel", compare="persona:Gold")
    assert set(both["measure"]) == {"answered", "mean_ms", "median_ms"}
