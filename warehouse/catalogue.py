"""Every analysis, by its name: what the command line, HTTP and saved queries offer."""

from warehouse.analysis import Analysis

ANALYSES: dict[str, Analysis[...]] = {one.name: one for one in ()}
