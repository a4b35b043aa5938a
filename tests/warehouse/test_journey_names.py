"""A persona or a campaign that no journey has is said, and not answered with nothing."""

from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from tests.warehouse.stories import MINUTE_MS, empty, insert, load, story
from warehouse import conversion, drop_offs, funnels, paths, retention
from warehouse.answer import QuestionError

ASKING: dict[str, Any] = {
    "conversion": conversion.conversion,
    "drop-offs": drop_offs.drop_offs,
    "funnel": lambda asked, **among: funnels.funnel(asked, ["view", "purchase"], **among),
    "paths": paths.paths,
    "retention": retention.retention,
}
WRONG = {
    "persona": ("Glod", 'persona "Glod" is not known. Did you mean "Gold"?'),
    "campaign": ("sprong", 'campaign "sprong" is not known. Did you mean "spring"?'),
}


@pytest.fixture(scope="module", autouse=True)
def told(loader: Client) -> None:
    empty(loader)
    rows = load(
        loader,
        story("ann", "0 view persona=Gold, 1 purchase") + story("bob", "0 view"),
        gap_ms=60 * MINUTE_MS,
    )
    for version, campaign in ((2, "summer"), (3, "spring")):
        insert(
            loader, "journey_rows", [row | {"campaign_first": campaign, "version": version} for row in rows]
        )


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING.keys())
def test_a_name_that_no_journey_has_is_said_with_the_nearest(asked: Engine, ask: Any, kind: str) -> None:
    name, said = WRONG[kind]
    for written in (name, f"!{name}"):
        with pytest.raises(QuestionError) as raised:
            ask(asked, **{kind: written})
        assert str(raised.value) == said
    with pytest.raises(QuestionError, match="is not known"):
        ask(asked, compare=f"{kind}:{name}")


@pytest.mark.parametrize(
    "among", [{"persona": "Gold"}, {"persona": "!Gold"}, {"campaign": "spring"}, {"persona": ""}]
)
def test_names_that_occur_and_having_none_are_answered(asked: Engine, among: dict[str, str]) -> None:
    assert funnels.funnel(asked, ["view", "purchase"], **among)["count"].sum() > 0


def test_a_name_that_was_corrected_is_not_known(asked: Engine) -> None:
    with pytest.raises(QuestionError, match='campaign "summer" is not known'):
        conversion.conversion(asked, campaign="summer")
