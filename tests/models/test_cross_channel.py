"""Cart on the web, a call, a payment by card: one customer and one journey, in any order of arrival."""

from itertools import permutations

from models.fold import Household
from models.identifier import Identifier
from models.journey_model import default_model
from models.routing import partition_of, routing_key
from models.touchpoint import Element, Identification
from tests.histories import Standing, touchpoint

VISITOR = Identifier("anonymous_id", "visitor-7")
PHONE = Identifier("phone", "+4930901820")
CARD = Identifier("customer_id", "cus_1"), Identifier("email", "ann@example.com")
HOUR = 3_600_000

HAPPENED: list[Element] = [
    touchpoint("cart", 0, "add_to_cart", identifiers=(VISITOR,)),
    touchpoint("call", HOUR, "call_queued", identifiers=(PHONE,), conversation_id="call-1"),
    touchpoint("pays", 2 * HOUR, "purchase", "billing", identifiers=CARD, amount="49.90", currency="EUR"),
    Identification(
        id="form", source="segment", source_instance="shop", channel="web", at=HOUR // 2, received_at=HOUR,
        identifiers=(VISITOR, CARD[1]),
    ),
    Identification(
        id="crm", source="zendesk", source_instance="desk", channel="chat", at=3 * HOUR, received_at=3 * HOUR,
        identifiers=(CARD[1], PHONE),
    ),
]  # fmt: skip


def test_three_sets_of_identifiers_become_one_customer_and_one_journey_in_any_order() -> None:
    model = default_model()
    for arriving in permutations(HAPPENED):
        held, standing = Household("customer_id:cus_1", model), Standing()
        for element in arriving:
            held.add([element])
            standing.load(held.judge(2 * HOUR))
        said = standing.said(held.count)
        assert {row["customer_id"] for row in said.identities.values()} == {"customer_id:cus_1"}
        (journey,) = said.journeys.values()
        assert journey["touchpoint_ids"] == ("cart", "call", "pays")
        assert journey["channels"] == ("web", "voice", "billing")
        assert (journey["conversions"], journey["attempts_completed"]) == (1, 1)


def test_the_three_begin_at_three_different_routing_keys() -> None:
    order = default_model().identifier_order
    keys = [routing_key(element.identifiers, order) for element in HAPPENED[:3]]
    assert keys == ["anonymous_id:visitor-7", "phone:+4930901820", "customer_id:cus_1"]
    assert all(0 <= partition_of(key, 8) < 8 for key in keys)
