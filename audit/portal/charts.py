"""Charts as SVG, drawn on the server from Vega-Lite by `vl-convert`; each with its words.

A chart is its own small file, so that the page does not wait for it, and the same chart is drawn
once. What it shows stands in a table beside it, for whoever cannot see it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import Request, Response

from audit.visible import visible

_WIDTH, _HEIGHT = 560, 200  # points; pages scale it
_PADDING = {"left": 32, "right": 16, "top": 8, "bottom": 8}
"""Room for a browser's letters, which are wider than those that the drawing is measured with."""
_KEPT = 64
_COLOURS = ("#0b5566", "#b0621a", "#5a6168", "#8c2f63")  # told apart without red and green
_ON_DARK = ("#7cc7d6", "#e8a46a", "#a9b1b6", "#dd8fbb")
_LINES = {"light": ("#1f2428", "#eceae4"), "dark": ("#e9ebe8", "#363e44")}
"""Words and axes, then the grid, for each of the page's two looks; the paper is the page's."""

_FONT = "system-ui, sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing: where its file is, what it says in words, and what it is drawn from."""

    path: str
    alt: str
    caption: str
    rows: Sequence[Mapping[str, Any]]
    encoding: Mapping[str, Any]
    mark: str = "bar"
    band: Mapping[str, Any] | None = None
    """Encoding of a band around the line, such as an interval; none without."""
    points: bool = True
    """Whether each row of a line is marked."""
    behind: Sequence[Mapping[str, Any]] = ()
    """Layers of Vega-Lite that are drawn first, such as a limit or what would be ideal."""


def svg_of(chart: Chart, request: Request) -> Response:
    """Return the drawing as a file, for dark pages where `?look=dark` asks for it."""
    look = "dark" if request.query_params.get("look") == "dark" else "light"
    drawn = _draw(json.dumps(_shown(_spec(chart, look)), sort_keys=True))
    kept = {"cache-control": "private, max-age=60"}
    return Response(drawn, media_type="image/svg+xml", headers=kept)


def limit_line(at: float) -> dict[str, Any]:
    """Return a layer: a line across the drawing at a limit on its horizontal axis."""
    return {"mark": {"type": "rule", "strokeDash": [6, 4]}, "encoding": {"x": {"datum": at}}}


def diagonal(x: Mapping[str, Any], y: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer: the line on which two fields are the same, each from 0 to 1.

    `x` and `y` are the drawing's own encodings, so that both layers share their axes.
    """
    ends = [{x["field"]: end, y["field"]: end} for end in (0, 1)]
    return {
        "data": {"values": ends},
        "mark": {"type": "line", "strokeDash": [6, 4], "point": False, "opacity": 0.6},
        "encoding": {"x": x, "y": y},
    }


def axis(field: str, title: str, kind: str = "quantitative", **more: Any) -> dict[str, Any]:
    """Return how a field is laid along an axis."""
    return {"field": field, "title": title, "type": kind, **more}


@lru_cache(maxsize=_KEPT)
def _draw(spec: str) -> bytes:
    import vl_convert  # noqa: PLC0415 (70 MB that a service without charts need not carry)

    return bytes(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]), "utf-8")


def _shown(value: Any) -> Any:
    """Return a drawing whose every word can be drawn: what XML cannot hold ends the process."""
    if isinstance(value, str):
        return visible(value, one_line=True)
    if isinstance(value, Mapping):
        return {_shown(name): _shown(of) for name, of in value.items()}
    return [_shown(of) for of in value] if isinstance(value, Sequence) else value


def _spec(chart: Chart, look: str) -> dict[str, Any]:
    drawn = {
        "mark": {"type": chart.mark, "point": chart.mark == "line" and chart.points},
        "encoding": chart.encoding,
    }
    layers = [*chart.behind, drawn]
    if chart.band is not None:
        layers.insert(0, {"mark": {"type": "rule", "opacity": 0.5}, "encoding": chart.band})
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "padding": _PADDING,
        "data": {"values": list(chart.rows)},
        "layer": layers,
        "config": _config(look),
    }


def _config(look: str) -> dict[str, Any]:
    ink, grid = _LINES[look]
    colours = _ON_DARK if look == "dark" else _COLOURS
    words = {"labelColor": ink, "titleColor": ink}
    return {
        "font": _FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "range": {"category": list(colours)},
        "mark": {"color": colours[0]},
        "bar": {"discreteBandSize": 18},
        "point": {"filled": True, "size": 60},
        "rule": {"color": ink},
        "legend": {"orient": "top", "title": None, "labelFontSize": 13, **words},
        "axis": {
            "grid": True,
            "gridColor": grid,
            "domainColor": ink,
            "tickColor": ink,
            "labelFontSize": 13,
            "titleFontSize": 13,
            **words,
        },
    }
