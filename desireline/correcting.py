"""Decisions of people about identities, sent through the collector like everything, and watched until they show."""

import time
from pathlib import Path
from typing import Literal, NamedTuple

import httpx
import msgspec
import pandas as pd
from sqlalchemy import Engine

from desireline.errors import NotCorrected
from desireline.running import DataFolder
from desireline.settings import Settings
from models.journey_model import JourneyModel
from warehouse import identities

_LOOK_EVERY_S = 0.3
_TIMEOUT_S = 30.0

Relation = Literal["same", "not_same", "undone"]
Pair = tuple[str, str]
Effect = Literal["shown", "refused", "on its way"]


class Door(NamedTuple):
    """A collector, and a write key that may correct identities there."""

    url: str
    write_key: str


class Taken(msgspec.Struct, frozen=True):
    """A decision that was answered 200. `see`: the command that shows its effect."""

    id: str
    see: str


class Corrected(NamedTuple):
    """A decision and what it did: the customers of the two identifiers `before` and `after`."""

    id: str
    pair: Pair
    effect: Effect
    see: str
    before: pd.DataFrame
    after: pd.DataFrame


def door(
    settings: Settings, data: Path | None = None, collector: str | None = None, write_key: str | None = None
) -> Door:
    """The running `up`, or the collector that is named. NotCorrected if there is none, or no key that may."""
    running = (
        DataFolder((data or settings.data).expanduser().absolute()).alive() if collector is None else None
    )
    keys = running.write_keys if running else settings.write_keys
    editors = running.identity_editors if running else settings.editors
    url = collector or (running.urls.collector if running else None)
    if url is None:
        raise NotCorrected("no collector is known", remedy="Start `desireline up`, or give --collector.")
    key = write_key or next((key for key, instance in keys.items() if instance in editors), None)
    if key is None:
        raise NotCorrected(
            "no write key may correct identities",
            remedy="Name its source instance in DESIRELINE_IDENTITY_EDITORS, or give --write-key.",
        )
    return Door(url, key)


def pair_of(connection: Engine, relation: Relation, a: str, b: str | None, model: JourneyModel) -> Pair:
    """The two identifiers that are meant, the stronger first; to undo, also by the id of a decision.

    QuestionError if one is not known, NotCorrected if they are the same one or nothing stands to be undone.
    """
    if b is None:
        decided = identities.decisions(connection, all=True)
        named = decided[decided["id"] == a]
        if named.empty:
            raise NotCorrected(
                f'no decision has the id "{a}"',
                remedy="Name two identifiers, or see `desireline identity decisions`.",
            )
        a, b = str(named["identifier_a"].iloc[0]), str(named["identifier_b"].iloc[0])
    else:
        a, b = (identities.find(connection, one, model=model) for one in (a, b))
    if a == b:
        raise NotCorrected(f'"{a}" was given twice', remedy="Name two identifiers.")
    rank = model.identifier_order.rank
    pair = (a, b) if rank(a) < rank(b) else (b, a)
    if relation == "undone":
        decided = identities.decisions(connection)
        holds = zip(decided["identifier_a"], decided["identifier_b"], strict=True)
        if not any({*pair} == {one, other} for one, other in holds):
            raise NotCorrected(
                f"no decision about {pair[0]} and {pair[1]} holds",
                remedy="`desireline identity decisions` lists those that do.",
            )
    return pair


def correct(
    connection: Engine,
    at: Door,
    relation: Relation,
    pair: Pair,
    *,
    author: str,
    reason: str | None,
    wait_s: float,
) -> Corrected:
    """Send a decision and wait until the warehouse shows what it did, or `wait_s` have passed.

    NotCorrected if the collector does not take it.
    """
    before = identities.owners(connection, pair)
    taken = _send(at, relation, pair, author, reason)
    deadline = time.monotonic() + wait_s
    while True:
        after = identities.owners(connection, pair)
        effect = _effect(connection, taken.id, relation, pair, before, after)
        if effect != "on its way" or time.monotonic() >= deadline:
            break
        time.sleep(_LOOK_EVERY_S)
    return Corrected(taken.id, pair, effect, taken.see, before, identities.owners(connection, pair))


def _send(at: Door, relation: Relation, pair: Pair, author: str, reason: str | None) -> Taken:
    said = {
        "relation": relation,
        "identifiers": [{"kind": key.partition(":")[0], "value": key.partition(":")[2]} for key in pair],
        "author": author,
        "reason": reason,
    }
    try:
        answer = httpx.post(
            f"{at.url}/v1/corrections", json=said, auth=(at.write_key, ""), timeout=_TIMEOUT_S
        )
        answered = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise NotCorrected(
            f"the collector does not answer: {error}",
            where=at.url,
            remedy="Whether it took the decision shows `desireline identity decisions`.",
        ) from error
    if answer.status_code != 200:
        detail = str(answered.get("detail", "")).strip().rstrip(".")
        raise NotCorrected(str(answered.get("message")), where=at.url, remedy=f"{detail}.")
    return msgspec.convert(answered["corrections"][0], Taken)


def _effect(
    connection: Engine, id: str, relation: Relation, pair: Pair, before: pd.DataFrame, after: pd.DataFrame
) -> Effect:
    """What the warehouse shows of a decision. Its row is written after the identifiers that it changed.

    `before`, `after`: the customers of the pair, as they were and as they are now.
    """
    decided = identities.decisions(connection, all=True)
    if id not in set(decided["id"]):
        return "on its way"
    if relation == "same" and len(after) > 1:
        # the households may still be on their way to each other; or another decision keeps them apart
        return "refused" if identities.refused(connection, pair) else "on its way"
    if relation == "not_same" and len(after) < 2:
        return "on its way"
    customers = list(before["customer_id"]), list(after["customer_id"])
    return "on its way" if identities.settling(connection, *customers) else "shown"
