"""Half an hour of steady load at one node."""

from __future__ import annotations

import pytest

from tests.bench.node_load import FLAT_MIB, measure

MINUTES = 30


@pytest.mark.soak
@pytest.mark.timeout(60 * (MINUTES + 10))
def test_node_under_load_loses_nothing_and_its_memory_is_flat() -> None:
    """200 conversations for 30 minutes: every turn and withdrawal answered, memory as before."""
    rows = {row.name: float(row.value or 0) for row in measure(60.0 * MINUTES)}
    assert rows["turns and withdrawals lost"] == 0
    assert rows["memory grown"] <= FLAT_MIB
