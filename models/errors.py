"""The tree of our exceptions.

DesirelineError                 anything of ours that a user can do something about
├── JourneyModelError           the YAML model says something it must not (models.yaml_reader)
├── IdentifierError             an identifier has no usable value (models.identifier)
└── …                           further ones live beside what raises them
"""


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
