"""An analysis: a function from a connection and arguments to an answer, known by the noun of its question.

The function's signature is the analysis's interface everywhere: command line, HTTP, saved queries and docs are
made from its parameters, their types and what is said of each (`Annotated[…, Doc(…)]`).
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec

from sqlalchemy import Engine

from warehouse.answer import Answer
from warehouse.basis import one_basis

P = ParamSpec("P")


class Analysis(Generic[P]):
    """A function that can be asked by its name, and of two of anything at once (`compare`)."""

    def __init__(
        self, name: str, function: Callable[Concatenate[Engine, P], Answer], hidden: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.hidden = hidden
        self.function = function
        update_wrapper(self, function)

    def __call__(self, connection: Engine, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Ask; with `compare`, ask of both and set them against each other."""
        arguments: dict[str, Any] = dict(kwargs)
        compare = arguments.pop("compare", None)

        def ask(**among: Any) -> Answer:
            return self.function(connection, *args, **(arguments | among))

        with one_basis(connection):
            if compare is None:
                return ask()
            from warehouse.compare import both

            return both(ask, str(compare), arguments)


def analysis(
    name: str, *, hidden: tuple[str, ...] = ()
) -> Callable[[Callable[Concatenate[Engine, P], Answer]], Analysis[P]]:
    """Make a function the analysis of this name, e.g. `drop-offs`. Its last parameter is `**among:
    Unpack[Among]`. `hidden`: columns that a table for people leaves out; JSON and CSV have them.
    """

    def named(function: Callable[Concatenate[Engine, P], Answer]) -> Analysis[P]:
        return Analysis(name, function, hidden)

    return named
