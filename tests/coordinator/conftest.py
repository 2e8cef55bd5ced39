"""Import once what warns when it is imported, so that our own warnings stay errors."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # typer 0.20 imports a name that click 8.5 deprecates (Flower imports typer), and
    # starlette 1.3 one that anyio 4.16 does.
    warnings.simplefilter("ignore", DeprecationWarning)
    import flwr.app
    import starlette.testclient
    import typer

__all__ = ["flwr", "starlette", "typer"]
