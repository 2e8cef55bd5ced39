"""For whom each route is, and what it takes: one table a service, no route without a row.

Staff routes say their roles themselves (`audit.staff.only`). The service's own description
(OpenAPI) is made from its routes and this table, because bodies that are signed or sealed are
read byte for byte and FastAPI does not see their shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel

from audit.staff import StaffRole


class Audience(StrEnum):
    """Who a route is for, where it is not for staff."""

    ANYONE = "anyone"
    NODE = "node"  # signs the request with an enrolled key
    SUBJECT = "subject-or-node"  # the customer by manage token, or their node for them
    SEALED = "sealed"  # whoever holds the key that sealed the body
    HOLDER = "holder"  # whoever has the one-time token or password that the body carries


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """For whom a route is, and the shapes of body that it takes; none: FastAPI knows, or text."""

    audience: Audience
    bodies: tuple[type[BaseModel], ...] = ()
    media_type: str = "application/json"


Table = Mapping[tuple[str, str], Row]
"""Rows by method and path."""

FRAME: Table = {
    ("GET", "/portal.css"): Row(audience=Audience.ANYONE),
    ("GET", "/portal.js"): Row(audience=Audience.ANYONE),
    ("GET", "/tour.js"): Row(audience=Audience.ANYONE),
    ("GET", "/verify.js"): Row(audience=Audience.ANYONE),
    ("GET", "/favicon.svg"): Row(audience=Audience.ANYONE),
    ("GET", "/favicon.ico"): Row(audience=Audience.ANYONE),
    ("GET", "/sign-in"): Row(audience=Audience.ANYONE),
    ("GET", "/sign-in/provider"): Row(audience=Audience.ANYONE),
    ("GET", "/sign-in/provider/return"): Row(audience=Audience.ANYONE),
    ("GET", "/welcome"): Row(audience=Audience.ANYONE),
    ("POST", "/sign-in"): Row(audience=Audience.HOLDER),
    ("POST", "/sign-in/provider/logout"): Row(audience=Audience.SEALED),
    ("POST", "/welcome"): Row(audience=Audience.HOLDER),
    ("POST", "/welcome/code"): Row(audience=Audience.HOLDER),
    ("POST", "/v1/activation"): Row(audience=Audience.HOLDER),
    ("POST", "/v1/activation/code"): Row(audience=Audience.HOLDER),
    ("POST", "/v1/tokens"): Row(audience=Audience.HOLDER),
}
"""The frame's own routes."""

SIGN_ON: Table = {
    ("GET", "/.well-known/openid-configuration"): Row(audience=Audience.ANYONE),
    ("GET", "/sign-on"): Row(audience=Audience.ANYONE),
    ("GET", "/sign-on/keys"): Row(audience=Audience.ANYONE),
    ("GET", "/sign-on/leave"): Row(audience=Audience.ANYONE),
    ("POST", "/sign-on/token"): Row(audience=Audience.HOLDER),
}
"""The routes of single sign-on, where a service signs staff in at the other site."""


def routes_of(app: FastAPI) -> Iterator[tuple[str, str, frozenset[StaffRole]]]:
    """Yield every method and path of an app, and the roles that its route names."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or {"*"}):
            yield method, route.path or "", _roles(route)


def describe(app: FastAPI, table: Table) -> dict[str, Any]:
    """Return the app's OpenAPI document, with audiences and bodies from the table."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    shapes = document.setdefault("components", {}).setdefault("schemas", {})
    for method, path, roles in routes_of(app):
        operation = document["paths"].get(path, {}).get(method.lower())
        row = table.get((method, path))
        if operation is None:
            continue
        operation["x-audience"] = sorted(roles) if row is None else [row.audience.value]
        operation["responses"]["4XX"] = {"description": "a problem document (RFC 9457)"}
        if row is not None and row.bodies:
            operation["requestBody"] = _body(row, shapes)
    return document


def _body(row: Row, shapes: dict[str, Any]) -> dict[str, Any]:
    references = []
    for body in row.bodies:
        made = body.model_json_schema(ref_template="#/components/schemas/{model}")
        shapes.update(made.pop("$defs", {}))
        shapes[body.__name__] = made
        references.append({"$ref": f"#/components/schemas/{body.__name__}"})
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"required": True, "content": {row.media_type: {"schema": schema}}}


def _roles(route: Any) -> frozenset[StaffRole]:
    found: frozenset[StaffRole] = frozenset()
    dependant = getattr(route, "dependant", None)
    for dependency in dependant.dependencies if dependant is not None else ():
        found |= getattr(dependency.call, "roles", frozenset())
    return found
