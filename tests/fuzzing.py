"""How many generated requests a route gets: a few whenever tests run, hundreds by night."""

from __future__ import annotations

import pytest

FEW, MANY = 3, 300
BY_DAY_AND_NIGHT = [
    pytest.param(FEW, id="day"),
    pytest.param(
        MANY, id="night", marks=[pytest.mark.slow, pytest.mark.fuzz, pytest.mark.timeout(3600)]
    ),
]
"""Values of `examples`; the many of the night find what a few do not."""
