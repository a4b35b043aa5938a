"""The tree of our exceptions.

DesirelineError                 anything of ours that a user can do something about
├── JourneyModelError           the YAML model says something it must not (models.yaml_reader)
├── IdentifierError             an identifier has no usable value (models.identifier)
└── …                           further ones live beside what raises them
"""

from typing import Any


class DesirelineError(Exception):
    """What was wrong, where, and what to do: `where: what. remedy`."""

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        said = f"{self.where}: {self.what}" if self.where else self.what
        return f"{said}. {self.remedy}" if self.remedy else said

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors go from one process to another, whatever their classes are made from."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[DesirelineError], arguments: tuple[Any, ...], state: dict[str, Any]) -> DesirelineError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error
