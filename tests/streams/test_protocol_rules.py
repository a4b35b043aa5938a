"""Each rule of the protocol is needed: without it, the scheduler finds a history that ends wrong."""

from itertools import chain

import pytest

from tests.histories import MODEL, NOON
from tests.streams.rules import RULES, Rule
from tests.streams.scheduler import differences

SEEDS = 6_000


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_without_it_a_counter_example_is_found(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    rule.leave_out(monkeypatch)
    # first where one was found before
    for seed in chain(rule.found_at, range(SEEDS)):
        if differences(seed, MODEL, NOON)[1]:
            return
    pytest.fail(f"{SEEDS} runs end right without the rule")
