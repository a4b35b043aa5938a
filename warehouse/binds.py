"""Values bound to the SQL that is written as text."""

from typing import Any


class Binds(dict[str, Any]):
    """Values by the names under which they stand in the SQL."""

    def bound(self, value: Any) -> str:
        """Bind a value; the text that stands for it."""
        name = f"v{len(self)}"
        self[name] = value
        return f":{name}"
