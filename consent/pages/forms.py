"""A page's form, read by the same shapes as the interface's bodies, so that both say no alike."""

from __future__ import annotations

import json
from typing import TypeVar

from fastapi import Request

from audit.portal.frame import form_of
from consent.wire import Shape

_S = TypeVar("_S", bound=Shape)


async def read_form(request: Request, shape: type[_S]) -> _S:
    """Return a form's fields in a shape; an empty field is one that was not given.

    Raises:
        RequestInvalid: A field is missing, unknown or wrong.
        RequestForged: The form is from no page of ours.
    """
    fields = {n: v.strip() for n, v in (await form_of(request)).items() if n != "csrf"}
    return shape.read(json.dumps({n: v for n, v in fields.items() if v}).encode())
