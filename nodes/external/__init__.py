"""The inputs and outputs of a graph that is to be deployed.

A platform knows them by the names of their classes, so other packages have nodes of the same names.
"""

from __future__ import annotations

from . import inputs, outputs

NODES: dict[str, type] = {**inputs.NODES, **outputs.NODES}
NAMES: dict[str, str] = {**inputs.NAMES, **outputs.NAMES}
