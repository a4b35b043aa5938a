"""Every analysis, by its name: what the command line, HTTP and saved queries offer."""

from collections.abc import Sequence
from typing import Any

from warehouse.analysis import Analysis

_ALL: Sequence[Analysis[Any]] = ()

ANALYSES = {one.name: one for one in _ALL}
