"""What the engine's own read-only mode still lets through, and a reader must not have: the machine's files.

The engine refuses writes, settings and most table functions on a read-only handle by itself. It would
still open a
file that is named where a table belongs, or by the function `file`. So a reader's query is parsed by the
engine, and refused by what its syntax tree names; nothing is guessed from the text.
"""

import re
from collections.abc import Mapping
from typing import Any

_ROOTS = ("SelectWithUnionQuery", "SelectQuery", "Show", "Describe", "Exists", "Explain", "Use")
_TABLE = re.compile(r"^\s*TableIdentifier (.*?)(?: \(|$)")
_FUNCTION = re.compile(r"^\s*Function (\S+)")
_PLAIN_TABLE = re.compile(r"(?:\w+\.)?\w+(?:-\w+)*")
# table functions that only compute, or read tables that may be read anyway
_HARMLESS = frozenset(
    {
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "one", "null", "primes", "loop"),
        *("values", "view", "viewIfPermitted", "format", "merge", "dictionary"),
        *("generateSeries", "generate_series", "generateRandom", "mergeTreeIndex", "mergeTreeProjection"),
    }
)
_HARMFUL = frozenset(
    {"file", "catboostEvaluate", "sleep", "sleepEachRow", "addressToLine", "addressToLineWithInlines"}
)
_table_functions: set[str] = set()


class Refused(Exception):
    """In ClickHouse's words, so that the engine's errors and ours are of one kind."""


def refuse_what_reads_the_machine(connection: Any, text: str, parameters: Mapping[str, str]) -> None:
    """Raise if the query is not one statement that reads, or names a file, an address or a program.

    The message is ClickHouse's READONLY (164) or, for a query that does not parse, the engine's own.
    """
    quoted = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    # fails on more than one statement; EXPLAIN alone would run the second
    connection.query("SELECT formatQuery({text:String})", "TSV", params={"text": quoted})
    explained = connection.query(
        f"EXPLAIN AST {text.rstrip().rstrip(';')}", "TSVRaw", params=dict(parameters)
    )
    tree = explained.bytes().decode()
    lines = tree.splitlines()
    if not lines or not lines[0].startswith(_ROOTS):
        raise _refusal("only queries that read")
    if not _table_functions:
        listed = connection.query("SELECT name FROM system.table_functions", "TSV").bytes().decode()
        _table_functions.update(listed.split())
    for line in lines:
        if (table := _TABLE.match(line)) and not _PLAIN_TABLE.fullmatch(table[1]):
            raise _refusal(f"no table is called {table[1]!r}")
        if (function := _FUNCTION.match(line)) and (
            function[1] in _HARMFUL or (function[1] in _table_functions and function[1] not in _HARMLESS)
        ):
            raise _refusal(f"the function {function[1]} is not for readers")
        if line.startswith(" Literal"):  # INTO OUTFILE 'name' hangs on the query itself
            raise _refusal("answers are not written to files")


def _refusal(why: str) -> Refused:
    return Refused(
        f"Code: 164. DB::Exception: reader: Cannot execute query in readonly mode: {why}. (READONLY)"
    )
