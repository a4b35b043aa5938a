r"""The short spelling of steps.

| written                          | is taken by                                                        |
|----------------------------------|--------------------------------------------------------------------|
| `add_to_cart`                    | touchpoints of this type                                           |
| `@Purchase`                      | touchpoints in this phase                                          |
| `*`                              | any                                                                |
| `call_queued|chat_started`       | one of several                                                     |
| `view[channel=web,amount>100]`   | those for which all of it holds                                    |
| `call[queue=A]|chat[team=B]`     | each alternative has filters of its own                            |
| `(call|chat)[topic=Billing]`     | all of them have these                                             |
| `coupon?`                        | optional: a try may go on without it                               |
| `first purchase`                 | the customer's first ever of them                                  |
| `purchase within 2h`             | at most so long after the step before                              |
| `purchase after 1m`              | at least so long after it                                          |

Filters: `=` is, `!=` is not (one of several: `channel=chat|voice`), `~` contains, `!~` does not contain, `=~`
matches a regular expression, `>`, `<`, `>=`, `<=`, `amount=10..20` from 10 to 20, both included, `campaign=*`
is set, `campaign!=*` is not set. What is empty, missing and 0 are three things: `properties.plan=` is the empty
text. What holds one of `[ ] ( ) | , ? " *` or `..` is written in double quotes, `\"` for one of them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NoReturn

from warehouse.answer import QuestionError
from warehouse.durations import duration, duration_ms
from warehouse.step import SYMBOLS, Alternative, Condition, Step, check_limits, condition

ANYTHING = "*"
_LIMITS = re.compile(r"(?:\s+(?:within|after)\s+[^\s\[\]\"]+)*\s*\Z")
_LIMIT = re.compile(r"(within|after)\s+(\S+)")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf"\s*(?P<text>{_QUOTED}|[^\[\]()|?,\"]+|[\[\]()|?,])")
_CONDITION = re.compile(
    rf"(?P<field>{_QUOTED}|[^\s=!~<>\"]+)\s*(?P<op>!=|=~|!~|>=|<=|=|~|>|<)(?P<value>.*)", re.DOTALL
)
_SEVERAL = re.compile(rf"((?:{_QUOTED}|[^|])*?)\|")
_PLAIN = re.compile(r"[^\[\]()|?,\"*\s][^\[\]()|?,\"*]*")


def read(text: str) -> Step:
    """A step in its short spelling. QuestionError says what of it cannot be read."""
    limits = dict(_LIMIT.findall(_LIMITS.search(text)[0]))  # type: ignore[index]  # it finds at least nothing
    body = _LIMITS.sub("", text).strip()
    first_ever = body.startswith("first ")
    alternatives, optional = _Reader(text, body.removeprefix("first ")).step()
    step = Step(
        text.strip(),
        tuple(_merged(alternatives)),
        optional=optional,
        first_ever=first_ever,
        within_ms=duration_ms(limits["within"]) if "within" in limits else None,
        after_ms=duration_ms(limits["after"]) if "after" in limits else None,
    )
    check_limits(step)
    return step


def written(step: Step) -> str:
    """The short spelling of a step, which `read` takes."""
    groups = [_group(one) for one in step.alternatives]
    text = groups[0] if len(groups) == 1 else "|".join(groups)
    if step.optional:
        text += "?"
    if step.first_ever:
        text = f"first {text}"
    for name, limit in (("within", step.within_ms), ("after", step.after_ms)):
        if limit is not None:
            text += f" {name} {duration(limit)}"
    return text


class _Reader:
    """Reads the body of a step from left to right."""

    def __init__(self, whole: str, body: str) -> None:
        self._whole = whole
        self._tokens = list(self._split(body.strip()))
        self._place = 0

    def step(self) -> tuple[list[Alternative], bool]:
        alternatives = self._alternatives()
        optional = self._takes("?")
        if self._place < len(self._tokens):
            self._fail(f'"{self._tokens[self._place]}"')
        return alternatives, optional

    def _alternatives(self) -> list[Alternative]:
        found = self._group()
        while self._takes("|"):
            found += self._group()
        return found

    def _group(self) -> list[Alternative]:
        if self._takes("("):
            found = self._alternatives()
            if not self._takes(")"):
                self._fail('")" is missing')
        else:
            found = [self._what()]
        where = tuple(self._conditions()) if self._takes("[") else ()
        return [Alternative(one.types, one.phase, (*one.where, *where)) for one in found]

    def _what(self) -> Alternative:
        name = self._next()
        if name == ANYTHING:
            return Alternative()
        if name == "" or name in "[]()|?,":
            self._fail("a type is missing")
        if name.startswith("@"):
            quoted = name == "@" and self._peek().startswith('"')
            return Alternative(phase=_unquoted(self._next() if quoted else name[1:].strip()))
        return Alternative(types=(_unquoted(name),))

    def _conditions(self) -> Iterator[Condition]:
        said: list[str] = []
        while (piece := self._next()) != "]":
            if piece == "":
                self._fail('"]" is missing')
            if piece == ",":
                yield self._condition("".join(said))
                said = []
            else:
                said.append(piece)
        if said:
            yield self._condition("".join(said))

    def _condition(self, text: str) -> Condition:
        found = _CONDITION.fullmatch(text.strip())
        if not found:
            raise QuestionError(
                f'"{text.strip()}" in step "{self._whole}" is no condition',
                remedy="Write field=value, or field=* for what is set.",
            )
        field, op, value = _unquoted(found["field"]), found["op"], found["value"].strip()
        if value == ANYTHING and op in ("=", "!="):
            return condition(field, "set" if op == "=" else "not set", [])
        several = [_unquoted(one.strip()) for one in _SEVERAL.findall(value + "|")]
        if op in ("=", "!=") and len(several) > 1:
            return condition(field, op, several)
        low, dots, high = value.partition("..")
        if op == "=" and dots and not value.startswith('"'):
            return condition(field, "between", [low.strip(), high.strip()])
        return condition(field, op, [_unquoted(value)])

    def _split(self, body: str) -> Iterator[str]:
        place = 0
        while place < len(body):
            found = _TOKEN.match(body, place)
            if not found:
                self._fail("a quotation mark is missing")
            place = found.end()
            yield found["text"].strip() if not found["text"].startswith('"') else found["text"]

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._place += 1
        return token

    def _takes(self, token: str) -> bool:
        if self._peek() == token:
            self._place += 1
            return True
        return False

    def _fail(self, why: str) -> NoReturn:
        raise QuestionError(
            f'step "{self._whole}" cannot be read: {why}',
            remedy="Write e.g. add_to_cart, @Purchase or call_queued[queue=Billing].",
        )


def _merged(alternatives: Iterable[Alternative]) -> list[Alternative]:
    """Alternatives that differ in nothing but their types are one."""
    merged: list[Alternative] = []
    for one in alternatives:
        same = next((m for m in merged if m.types and one.types and m.where == one.where), None)
        if same is None or same.types is None or one.types is None:
            merged.append(one)
        else:
            types = tuple(dict.fromkeys((*same.types, *one.types)))
            merged[merged.index(same)] = Alternative(types, None, one.where)
    return merged


def _group(one: Alternative) -> str:
    where = ",".join(map(_written_condition, one.where))
    filters = f"[{where}]" if where else ""
    if one.phase is not None:
        return f"@{_quoted(one.phase)}{filters}"
    if one.types is None:
        return ANYTHING + filters
    return _types(one.types, grouped=bool(where)) + filters


def _types(types: tuple[str, ...], *, grouped: bool) -> str:
    text = "|".join(map(_quoted, types))
    return f"({text})" if grouped and len(types) > 1 else text


def _written_condition(one: Condition) -> str:
    field = one.field if re.fullmatch(r"[\w.]+", one.field) else _in_quotes(one.field)
    if one.op in ("set", "not set"):
        return f"{field}{SYMBOLS[one.op]}{ANYTHING}"
    if one.op == "between":
        return f"{field}={one.values[0]}..{one.values[1]}"
    return f"{field}{SYMBOLS[one.op]}{'|'.join(map(_quoted, one.values))}"


def _quoted(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text == text.strip() and ".." not in text and text[0] != "@"
    return text if plain and not text.startswith(("first ", "=", "~")) else _in_quotes(text)


def _in_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unquoted(text: str) -> str:
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return text
