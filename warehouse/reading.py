"""A reader's statement is looked at before it runs: what the engine does not refuse by itself (`access`).

Three things an embedded session has no grant for: leaving its role (SET ROLE and whatever else is no query), writing
an answer to a file, and functions that read files. The engine parses the statement, its tree is looked at, and what
runs is the text that the engine makes of that tree; nothing is guessed from what was sent.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from warehouse.refusals import read_only
from warehouse.statement import words

_QUERIES = frozenset({"SelectWithUnionQuery", "SelectQuery", "SelectIntersectExceptQuery", "ExplainQuery"})
# they are called queries in the tree, and are parts of one
_PARTS = frozenset({"TablesInSelectQuery", "SetQuery"})
_DESCRIPTIONS = re.compile(r"(?:DESCRIBE|EXISTS|SHOW(?! PROCESSLIST)) ")
_HARMFUL = frozenset(
    {"file", "catboostevaluate", "evalmlmethod", "executable", "hascolumnintable", "getserversetting"}
    | {"getmacro", "addresstoline", "addresstolinewithinlines", "addresstosymbol", "getclienthttpheader"}
)
_CALLS_A_MODEL = re.compile(r"ai[A-Z]\w*")
_PLAIN_NAME = re.compile(r"\w+(?:\.\w+)*")


def checked(connection: Any, text: str, parameters: Mapping[str, str]) -> str:
    """The statement as the engine understands it, to be run instead. EngineError: a reader may not."""
    bound = {"text": escaped(text)}
    understood = "SELECT formatQuery({text:String}) AS canonical"
    try:
        asked = f"{understood}, parseQueryToJSON(canonical) AS tree"
        answer = msgspec.json.decode(connection.query(asked, "JSONEachRow", params=bound).bytes())
    except Exception as error:
        if "does not support JSON serialization" not in str(error):
            raise
        answer = msgspec.json.decode(connection.query(understood, "JSONEachRow", params=bound).bytes())
    canonical = str(answer["canonical"])
    tree = msgspec.json.decode(answer.get("tree", "{}"))
    if tree.get("type") not in _QUERIES:
        _check_description(canonical)
        return canonical
    for node in _nodes(tree):
        _check(node, parameters)
    return canonical


def escaped(value: str) -> str:
    """A text as ClickHouse wants the value of a bound parameter."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _check(node: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    kind = node.get("type", "")
    if kind.endswith("Query") and kind not in _QUERIES and kind not in _PARTS:
        raise read_only("only queries that read")
    if "out_file" in node:
        raise read_only("answers are not written to files")
    if kind == "QueryParameter" and node.get("param_type") == "Identifier":
        # where a name stands, the name of a function may stand
        name = parameters.get(node.get("name", ""), "")
        if not _PLAIN_NAME.fullmatch(name):
            raise read_only(f"nothing is called {name!r}")
        _check_name(name)
    for key, value in node.items():
        if isinstance(value, str) and key != "alias":
            _check_name(value)


def _check_name(name: str) -> None:
    if name.lower() in _HARMFUL or _CALLS_A_MODEL.fullmatch(name):
        raise read_only(f"the function {name} is not for readers")


def _check_description(canonical: str) -> None:
    """DESCRIBE, EXISTS, SHOW … of what has a name: without a bracket there is no function and no query in it."""
    if not _DESCRIPTIONS.match(canonical):
        raise read_only("only queries that read")
    before = ""
    for word in words(canonical):
        if word == "(":
            raise read_only("only what has a name is described")
        if (before, word) == ("INTO", "OUTFILE"):
            raise read_only("answers are not written to files")
        before = word


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """All of them but the insides of literals, which are the reader's own text."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict) and node.get("type") != "Literal":
            yield node
            waiting.extend(node.values())
