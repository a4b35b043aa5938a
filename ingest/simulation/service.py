"""Chats and calls: who writes or rings, how long they wait, what becomes of it.

A chat goes by an email, a call by a phone number, each under a contact id of its own. Nothing links them to
the web until an agent finds the account.
"""

from collections.abc import Iterator
from typing import Any

from ingest.simulation.customer import Customer
from ingest.simulation.world import HOUR, MINUTE, SECOND, Happening, World

TOPICS = (
    *("delivery",) * 5, *("billing",) * 3, *("technical",) * 3, *("returns",) * 2, *("order change",) * 2,
    "complaint",
)  # fmt: skip
"""What contacts are about, as often as they are."""
QUEUES = {
    "delivery": "Orders", "billing": "Billing", "technical": "Support", "returns": "Orders",
    "order change": "Orders", "complaint": "Complaints", "product advice": "Sales",
}  # fmt: skip
_REMARKS = {
    "delivery": "Where is my parcel? It was due two days ago.",
    "billing": "I was charged twice for the same order.",
    "technical": "The page shows an error whenever I log in.",
    "returns": "How do I send this back?",
    "order change": "Can I still change the delivery address?",
    "complaint": "This is the third time I ask. I am not happy.",
    "product advice": "Which of the two models fits a small flat?",
}
_REPEATS_AT_MOST = 3


def help_wanted(
    c: Customer, at: int, topic: str | None = None, *, by: str | None = None
) -> Iterator[Happening]:
    """A customer needs help: by chat or phone, again if it was not solved, now and then by the other way."""
    world = c.world
    topic = topic or world.pick(TOPICS)
    by = by or ("call" if world.happens(0.55) else "chat")
    for attempt in range(1, _REPEATS_AT_MOST + 1):
        solved = False
        for happening in call(c, at, topic) if by == "call" else chat(c, at, topic):
            yield happening
            at = happening[0]
            solved = solved or happening[2].get("event") in ("call_resolved", "chat_resolved")
        if solved or attempt == _REPEATS_AT_MOST or world.happens(0.4):
            return
        if world.happens(0.35):
            by = "call" if by == "chat" else "chat"
            at += world.moment(4 * MINUTE)  # they give up on this way and take the other one at once
        elif world.happens(0.5):
            at += world.moment(25 * MINUTE)
        else:
            at = world.later(at, 20 * HOUR)


def call(c: Customer, at: int, topic: str) -> Iterator[Happening]:
    """One call: queued, then answered, or abandoned when the caller's patience ends before the wait does."""
    world = c.world
    conversation = f"call-{world.serial()}"
    queue = QUEUES[topic]
    said: dict[str, Any] = {
        "channel": "voice", "conversation_id": conversation, "phone": c.phone, "queue": queue, "topic": topic,
        "direction": "inbound",
    }  # fmt: skip
    wait = _wait_for_agent(world, at)
    patience = 45 * SECOND + world.about(4 * MINUTE)
    yield c.contact(at, conversation, "call_queued", said)
    if wait > patience:
        yield c.contact(
            at + patience,
            conversation,
            "call_abandoned",
            {**said, "wait_ms": patience, "outcome": "abandoned"},
        )
        return
    at += wait
    begun = at
    said["agent_id"] = f"agent-{world.number(1, 24)}"
    yield c.contact(at, conversation, "call_answered", {**said, "wait_ms": wait})
    if c.account and (c.phone_known or world.happens(0.75)):
        at += world.moment(40 * SECOND)
        c.phone_known = True
        yield c.found_by_agent(at, conversation, phone=c.phone)
    transfers = hold = 0
    while transfers < 3 and world.happens(0.16):
        transfers += 1
        at += world.moment(2 * MINUTE)
        hold += world.moment(75 * SECOND)
        said = {**said, "queue": world.pick(("Billing", "Support", "Orders", "Second line"))}
        yield c.contact(at, conversation, "call_transferred", {**said, "transfers": transfers})
    at += 60 * SECOND + world.about(4 * MINUTE) + hold
    satisfaction = 4.5 - wait / (4 * MINUTE) - transfers - hold / (3 * MINUTE) + world.random()
    solved = world.happens(0.86 - 0.12 * transfers)
    ended = {
        **said,
        "transfers": transfers,
        "hold_ms": hold,
        "talk_ms": at - begun - hold,
        "duration_ms": at - begun,
    }
    if solved:
        yield c.contact(at, conversation, "call_resolved", {**ended, "outcome": "resolved"})
    if world.happens(0.3):
        mood = max(-0.9, min(0.9, (satisfaction - 3.2 - (not solved)) / 2))
        yield c.contact(
            at + world.moment(20 * SECOND),
            conversation,
            "call_analyzed",
            {**said, "sentiment": round(mood, 2)},
        )
    if world.happens(0.25):
        yield _csat(c, at + world.moment(3 * MINUTE), conversation, said, satisfaction - 2 * (not solved))


def chat(c: Customer, at: int, topic: str) -> Iterator[Happening]:
    """One chat: a bot's answer or an agent's, messages, a good end or none, sometimes a score."""
    world = c.world
    conversation = f"chat-{world.serial()}"
    said: dict[str, Any] = {
        "channel": "chat", "conversation_id": conversation, "email": c.email, "queue": QUEUES[topic],
        "topic": topic,
    }  # fmt: skip
    begun = at
    wait = 4 * SECOND + world.about(35 * SECOND)
    yield c.contact(
        at, conversation, "chat_started", {**said, "text": _REMARKS[topic], "direction": "inbound"}
    )
    if wait > 90 * SECOND and world.happens(0.5):
        yield c.contact(
            at + 90 * SECOND,
            conversation,
            "chat_abandoned",
            {**said, "wait_ms": 90 * SECOND, "outcome": "abandoned"},
        )
        return
    at += wait
    said["agent_id"] = f"agent-{world.number(1, 24)}"
    yield c.contact(at, conversation, "chat_answered", {**said, "wait_ms": wait})
    if c.account and world.happens(0.8):
        at += world.moment(30 * SECOND)
        yield c.found_by_agent(at, conversation, email=c.email)
    for _ in range(world.number(0, 3)):
        at += world.moment(50 * SECOND)
        yield c.contact(at, conversation, "chat_message_received", {**said, "direction": "inbound"})
    solved = world.happens(0.8)
    if not solved and world.happens(0.5):
        at += world.moment(40 * SECOND)
        yield c.contact(at, conversation, "chat_escalated", said)
    at += world.moment(90 * SECOND)
    if solved:
        yield c.contact(
            at, conversation, "chat_resolved", {**said, "outcome": "resolved", "duration_ms": at - begun}
        )
    if world.happens(0.3):
        score = 4.6 - wait / (60 * SECOND) - 2.5 * (not solved) + world.random()
        yield _csat(c, at + world.moment(2 * MINUTE), conversation, said, score)


def _wait_for_agent(world: World, at: int) -> int:
    if world.incident("queue_jam", at):
        return 10 * MINUTE + world.about(7 * MINUTE)
    return 4 * SECOND + world.about((28 + 14 * world.busy(at)) * SECOND)


def _csat(c: Customer, at: int, conversation: str, said: dict[str, Any], score: float) -> Happening:
    whole = max(1, min(5, round(score)))
    return c.contact(at, conversation, "csat_submitted", {**said, "csat": whole})
