"""An analysis: a function from a connection and arguments to an answer, known by the noun of its question.

The function's signature is the analysis's interface everywhere: command line, HTTP, saved queries and docs are
made from its parameters, their types and what is said of each (`Annotated[…, Doc(…)]`).
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, Generic, ParamSpec

from sqlalchemy import Engine

from warehouse.answer import Answer

P = ParamSpec("P")


class Analysis(Generic[P]):
    """A function that can be asked by its name, and of two of anything at once (`compare`)."""

    def __init__(self, name: str, function: Callable[Concatenate[Engine, P], Answer]) -> None:
        self.name = name
        self.function = function
        update_wrapper(self, function)

    def __call__(self, connection: Engine, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Ask; with `compare`, ask of both and set them against each other."""
        compare = kwargs.pop("compare", None)
        if compare is None:
            return self.function(connection, *args, **kwargs)
        from warehouse.compare import both

        return both(
            lambda **among: self.function(connection, *args, **(kwargs | among)), str(compare), kwargs
        )


def analysis(name: str) -> Callable[[Callable[Concatenate[Engine, P], Answer]], Analysis[P]]:
    """Make a function the analysis of this name, e.g. `drop-offs`. Its last parameter is `**among:
    Unpack[Among]`.
    """

    def named(function: Callable[Concatenate[Engine, P], Answer]) -> Analysis[P]:
        return Analysis(name, function)

    return named
