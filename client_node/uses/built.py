"""The uses of this version, each once."""

from __future__ import annotations

from collections.abc import Mapping

from client_node.uses.assist import Assist
from client_node.uses.compensation import Compensation
from client_node.uses.handover import Handover
from client_node.uses.priority import Priority
from client_node.uses.upsell import REFUSED, refusable
from client_node.uses.use import BuiltUse
from policies.vocabulary import Use


def built_uses(assist: Assist, compensation: Compensation) -> Mapping[Use, BuiltUse]:
    """Return the uses that a caller may name, by name."""
    built: list[BuiltUse] = [Handover(), Priority(), assist, compensation, *map(refusable, REFUSED)]
    return {use.described.use: use for use in built}
