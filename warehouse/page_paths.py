"""Page paths as nodes: those that differ in a number only are one page, and so are those of one pattern.

A segment that is a number or a UUID is `:n`, whatever its value: /product/123 is /product/:n. A pattern has
segments that stand for any one (`:id`), and `*` at its end for whatever follows: /blog/*. The first pattern that
a path meets is its name. A slash at the end makes no other page.
"""

import re
from collections.abc import Sequence

from warehouse.answer import QuestionError
from warehouse.binds import Binds

_NUMBERED = "^([0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"
_PLACEHOLDER = re.compile(r":\w+")


def expression(patterns: Sequence[str], binds: Binds) -> str:
    """SQL: the name of the page of a touchpoint that has one. QuestionError for what is no pattern."""
    path = "if(length(page_path) > 1, trimRight(page_path, '/'), page_path)"
    segment = f"if(match(segment, {binds.bound(_NUMBERED)}), {binds.bound(':n')}, segment)"
    numbered = f"arrayStringConcat(arrayMap(segment -> {segment}, splitByChar('/', {path})), '/')"
    if not patterns:
        return numbered
    cases = [f"match({path}, {binds.bound(_regex(one))}), {binds.bound(one)}" for one in patterns]
    return f"multiIf({', '.join(cases)}, {numbered})"


def _regex(pattern: str) -> str:
    """A pattern as RE2 has it."""
    if not pattern.startswith("/"):
        raise QuestionError(
            f'"{pattern}" is no pattern of page paths',
            remedy="Begin it with a slash, e.g. /product/:id or /blog/*.",
        )
    kept, rest = (pattern[:-2], "(/.*)?") if pattern.endswith("/*") else (pattern.rstrip("/"), "")
    if "*" in kept:
        raise QuestionError(
            f'"{pattern}" has a * before its end',
            remedy="Let :name stand for one segment, and * for all that follow.",
        )
    segments = ["[^/]+" if _PLACEHOLDER.fullmatch(one) else re.escape(one) for one in kept.split("/")]
    return f"^{'/'.join(segments)}{rest}$"
