"""What a request to ClickHouse's HTTP interface asks: one statement, the data that follows it, the answer's
format.

Only the outer form is read here: where the data of an INSERT begin, which FORMAT was said, that it is one
statement. Whether someone may do it is the engine's to say (`access`).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from warehouse.refusals import EngineError

_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|/\*.*?\*/|\#[!\ ][^\n]*)
    |(?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\$(?P<mark>\w*)\$.*?\$(?P=mark)\$)
    |(?P<open>['"`]|/\*|\$\w*\$)
    |(?P<word>[A-Za-z_][\w$]*)
    |(?P<other>\d[\w.]*|.)""",
    re.DOTALL | re.VERBOSE,
)
_AFTER_FORMAT = re.compile(rb"[ \t]*;?[ \t]*(?:\r?\n)?")
_READS = frozenset({b"SELECT", b"WITH", b"FROM"})
# a handle is as it was before them
_LEAVE_NO_TRACE = _READS | {
    b"INSERT",
    b"SHOW",
    b"DESCRIBE",
    b"DESC",
    b"EXISTS",
    b"EXPLAIN",
    b"KILL",
    b"OPTIMIZE",
}


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement without the data that came with it."""

    text: str
    form: str = ""  # the FORMAT it says for the answer; empty: none
    verb: str = ""  # its first word, in capitals
    reads: bool = False
    totals: bool = False  # answers that are more than rows
    leaves_no_trace: bool = False
    data: "InsertedData | None" = None


class InsertedData(msgspec.Struct, frozen=True):
    """Rows that came with an INSERT; `statement_from` says how to insert them from a file."""

    form: str
    data: memoryview
    _head: bytes
    _settings: bytes
    _input: tuple[int, int, str] | None = None

    def statement_from(self, path: str) -> str:
        """The statement that inserts the rows from the file at `path`: a name of ours, never a client's."""
        settings = _text(self._settings)
        if self._input is None:
            return (
                f"{_text(self._head)} FROM INFILE '{path}' COMPRESSION 'none' {settings} FORMAT {self.form}"
            )
        begin, end, structure = self._input
        source = f"file('{path}', '{self.form}', {structure})"
        return f"{_text(self._head[:begin])}{source}{_text(self._head[end:])} {settings}"


class _Word(NamedTuple):
    text: bytes
    begin: int
    end: int
    depth: int


def read(argument: str, body: bytes) -> Statement:
    """The statement of a request, of its `query` argument and its body. EngineError: they are not one."""
    if argument:
        head = argument.encode()
        statement = _read(head, memoryview(body))
        if statement is not None:
            return statement
        body = head + b"\n" + body if body else head
    statement = _read(body, memoryview(b""), whole=True)
    assert statement is not None  # noqa: S101  # `whole` always gives one
    return statement


def words(text: str) -> Iterator[str]:
    """The words and signs of a statement, in capitals, without comments; what is quoted is one word."""
    return (_text(token.text).upper() for token in _tokens(text.encode()))


def _read(head: bytes, body: memoryview, *, whole: bool = False) -> Statement | None:
    """None: the body belongs to the text of the statement."""
    tokens = _tokens(head)
    first = next(tokens, None)
    if first is None:
        raise EngineError("Code: 62. DB::Exception: Syntax error: the query is empty. (SYNTAX_ERROR)")
    verb = first.text.upper()
    if verb == b"INSERT":
        inserted = _insert(head, tokens, body)
        if inserted is not None:
            return inserted
    if len(body) and not whole:
        return None
    return _plain(head, verb)


def _plain(head: bytes, verb: bytes) -> Statement:
    form, end, before, totals = "", len(head), b"", False
    for token in (tokens := _tokens(head)):
        if token.text == b";" and not token.depth:
            end = token.begin
            if next(tokens, None) is not None:
                message = "Syntax error (Multi-statements are not allowed)"
                raise EngineError(f"Code: 62. DB::Exception: {message}. (SYNTAX_ERROR)")
            break
        word = token.text.upper()
        if before == b"INTO" and word == b"OUTFILE":
            raise EngineError("Code: 1. DB::Exception: INTO OUTFILE is not for HTTP. (UNSUPPORTED_METHOD)")
        if before == b"FORMAT" and not token.depth and word.isalnum():
            form = _text(token.text)
        totals = totals or word == b"TOTALS"
        before = word
    return Statement(
        text=_text(head[:end]).strip(),
        form=form,
        verb=_text(verb),
        reads=verb in _READS or verb == b"(",
        totals=totals,
        leaves_no_trace=verb in _LEAVE_NO_TRACE or verb == b"(",
    )


def _insert(head: bytes, tokens: Iterator[_Word], body: memoryview) -> Statement | None:
    """An INSERT with data; None where it has none."""
    settings = selects = None
    asked: tuple[int, int, str] | None = None
    before = _Word(b"INSERT", 0, 0, 0)
    for token in tokens:
        word = token.text.upper()
        if word == b"INFILE" and before.text.upper() == b"FROM":
            raise EngineError("Code: 1. DB::Exception: FROM INFILE is not for HTTP. (UNSUPPORTED_METHOD)")
        if before.text == b"." or before.text.upper() in (b"INTO", b"TABLE"):
            pass  # a name, whatever it is
        elif word in (b"SELECT", b"WITH") and selects is None:
            selects = token.begin
        elif word == b"INPUT" and selects is not None:
            asked = _input(head, token)
        elif token.depth:
            pass
        elif word == b"SETTINGS":
            settings = token.begin
        elif word == b"VALUES" and selects is None:
            return _with_data(head, token.begin, settings, "Values", token.end, body, asked)
        elif word == b"FORMAT" and (selects is None or asked):
            named = next(tokens, None)
            if named is None or not named.text.isalnum():
                return None
            return _with_data(head, token.begin, settings, _text(named.text), named.end, body, asked)
        before = token
    return None


def _with_data(
    head: bytes,
    end: int,
    settings: int | None,
    form: str,
    data_from: int,
    body: memoryview,
    asked: tuple[int, int, str] | None,
) -> Statement:
    begin = data_from
    if form != "Values" and (blank := _AFTER_FORMAT.match(head, data_from)):
        begin = blank.end()
    data = memoryview(head)[begin:]
    if len(body):
        data = memoryview(bytes(data) + b"\n" + bytes(body)) if bytes(data).strip() else body
    written = head[: settings if settings is not None else end]
    inserted = InsertedData(form, data, written, head[settings:end] if settings is not None else b"", asked)
    return Statement(text=_text(written), verb="INSERT", leaves_no_trace=True, data=inserted)


def _input(head: bytes, token: _Word) -> tuple[int, int, str] | None:
    """Where `input('structure')` stands, and its structure as it was written."""
    depth = 0
    begin = -1
    for further in _tokens(head, token.end):
        if further.text == b"(":
            depth += 1
            begin = further.end if depth == 1 else begin
        elif depth == 0:
            return None
        elif further.text == b")":
            depth -= 1
            if depth == 0:
                return token.begin, further.end, _text(head[begin : further.begin])
    return None


def _tokens(text: bytes, begin: int = 0) -> Iterator[_Word]:
    depth = 0
    while match := _TOKEN.match(text, begin):
        begin = match.end()
        if match.lastgroup == "space":
            continue
        if match.lastgroup == "open":
            # to look for its end at every further quote would take hours
            raise EngineError(
                f"Code: 62. DB::Exception: Syntax error: {_text(match[0])} is not closed. (SYNTAX_ERROR)"
            )
        token = match[0]
        if token == b")":
            depth -= 1
        yield _Word(token, match.start(), match.end(), depth)
        if token == b"(":
            depth += 1


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
