"""What the node sends and takes outside of request and answer, as an AsyncAPI 3.0 document.

Four channels: the socket, the stream of alerts, the panel's own stream, and webhooks. Closed sets
come from the vocabulary itself; what is taken comes from the shapes that check it
(`client_node.wire`). A test holds every message that a running node sends against its schema here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from client_node.alerts import AlertState
from client_node.things import Device, Kind
from client_node.things_api import SignalIn
from client_node.turn import AnswerKind
from client_node.webhook_outbox import WebhookType
from client_node.wire import CorrectionIn, TurnIn
from models.conversation import Trend
from policies.vocabulary import Emotion, Purpose, Use

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
WORDS: Schema = {"type": "array", "items": TEXT}


def _one_of(values: type[StrEnum]) -> Schema:
    return {"type": "string", "enum": [value.value for value in values]}


def _or_null(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    properties = dict(required) | dict(optional or {})
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _just(value: str) -> Schema:
    return {"type": "string", "const": value}


BECAUSE = {
    "type": "array",
    "items": _object({"turn": TEXT, "cue": _or_null(TEXT), "strain": NUMBER}),
}
CONTEXT = {
    "type": "array",
    "items": _object(
        {
            "conversation": TEXT,
            "event": TEXT,
            "device": _one_of(Device),
            "kind": _one_of(Kind),
            "value": NUMBER,
            "unit": TEXT,
            "at": COUNT,
            "says": TEXT,
        }
    ),
}
RULING = {
    "called": TEXT,
    "use": _one_of(Use),
    "answer": {"type": "string", "enum": ["done", "refused"]},
    "decision": TEXT,
    "rules": WORDS,
    "reasons": WORDS,
    "statutes": WORDS,
}
REMEDY = {"would_need": {"type": "array", "items": WORDS}}
SCHEMAS: Mapping[str, Schema] = {
    "Reading": _object(
        {
            "label": _or_null(TEXT),
            "emotion": _or_null(_one_of(Emotion)),
            "says": _or_null(TEXT),
            "confidence": NUMBER,
            "because": _or_null(TEXT),
            "release": TEXT,
            "local_head": _or_null(TEXT),
        }
    ),
    "Conversation": _object(
        {
            "trend": _or_null(_one_of(Trend)),
            "says": _or_null(TEXT),
            "warning": {"type": "boolean"},
            "silent": _or_null(TEXT),
            "level": _or_null(NUMBER),
            "risk": _or_null(NUMBER),
            "turns": COUNT,
            "because": BECAUSE,
        }
    ),
    "UseReply": {
        **_object(RULING, REMEDY),
        "additionalProperties": True,  # what the use itself tells of its act
    },
    "Context": _object(RULING, {**REMEDY, "context": CONTEXT}),
    "TurnReply": _object(
        {
            "turn": TEXT,
            "answer": _one_of(AnswerKind),
            "decision": TEXT,
            "rules": WORDS,
            "reasons": WORDS,
            "statutes": WORDS,
            "redacted": {"type": "object", "additionalProperties": COUNT},
            "sealed_for": {"type": "array", "items": _one_of(Purpose)},
        },
        {
            "reading": _ref("Reading"),
            "conversation": _ref("Conversation"),
            "why": {"type": "array", "items": _object({"words": TEXT, "weight": NUMBER})},
            "use": _ref("UseReply"),
            "alert": _ref("UseReply"),
            "context": _ref("Context"),
            "text_redacted": TEXT,
            "left_out": WORDS,
        },
    ),
    "CorrectionReply": _object(
        {"turn": TEXT, "decision": TEXT, "training": {"type": "boolean"}, "rules": WORDS}
    ),
    "Alert": _object(
        {
            "alert": TEXT,
            "state": _one_of(AlertState),
            "conversation": TEXT,
            "subject": TEXT,
            "decision": TEXT,
            "raised_at": NUMBER,
            "says": TEXT,
            "level": _or_null(NUMBER),
            "risk": _or_null(NUMBER),
            "trend": _or_null(_one_of(Trend)),
            "turns": COUNT,
            "because": BECAUSE,
        }
    ),
    "Thing": _object({"conversation": TEXT, "context": _ref("Context")}),
    "SignalReply": _object(
        {
            "answer": {"type": "string", "enum": ["kept", "known", "refused"]},
            "decision": TEXT,
            "rules": WORDS,
            "reasons": WORDS,
            "statutes": WORDS,
            "shown": {"type": "boolean"},
        }
    ),
    "Problem": {
        **_object({"type": TEXT, "title": TEXT, "status": COUNT, "detail": TEXT}),
        "additionalProperties": True,  # RFC 9457 lets a problem say more
    },
    "Nothing": _object({}),
}
SENT: Mapping[str, Mapping[str, Schema]] = {
    "socket": {
        "answer": _object(
            {
                "type": _just("answer"),
                "id": TEXT,
                "status": COUNT,
                "replayed": {"type": "boolean"},
                "body": {
                    "oneOf": [_ref("TurnReply"), _ref("CorrectionReply"), _ref("SignalReply")]
                },
            }
        ),
        "problem": _object(
            {
                "type": _just("problem"),
                "id": _or_null(TEXT),
                "status": COUNT,
                "body": _ref("Problem"),
            },
            {"retry_after_s": COUNT},
        ),
        "alert": _object({"type": _just("alert"), "body": _ref("Alert")}),
        "thing": _object({"type": _just("thing"), "body": _ref("Thing")}),
    },
    "alerts": {
        **{state.value: _ref("Alert") for state in AlertState},
        "behind": _ref("Nothing"),
        "leaving": _ref("Nothing"),
    },
    "panel": {
        "turn": _object({"conversation": TEXT, "answer": _ref("TurnReply")}),
        "thing": _ref("Thing"),
        "draft": _object(
            {
                "conversation": TEXT,
                "turn": TEXT,
                "approval": TEXT,
                "topic": TEXT,
                "drafted_by": TEXT,
                "waits_until": NUMBER,
            }
        ),
        "alert": _ref("Alert"),
        "behind": _ref("Nothing"),
        "leaving": _ref("Nothing"),
    },
    "webhook": {
        WebhookType.RAISED.value: _object(
            {
                "type": _just(WebhookType.RAISED.value),
                "timestamp": TEXT,
                "data": _object(
                    {
                        "alert": TEXT,
                        "conversation": TEXT,
                        "use": _one_of(Use),
                        "raised_at": NUMBER,
                        "decision": TEXT,
                    }
                ),
            }
        ),
        WebhookType.CLOSED.value: _object(
            {
                "type": _just(WebhookType.CLOSED.value),
                "timestamp": TEXT,
                "data": _object({"alert": TEXT}),
            }
        ),
        WebhookType.CORRECTED.value: _object(
            {
                "type": _just(WebhookType.CORRECTED.value),
                "timestamp": TEXT,
                "data": _object({"turn": TEXT}),
            }
        ),
    },
}
"""Every message that a node sends, by channel and name; a stream's names are its events'."""

TAKEN = ("turn", "correction", "signal", "watch")
CHANNELS: Mapping[str, tuple[str | None, str]] = {
    "socket": ("/v1/socket", "turns and what things tell in, answers, alerts and context out"),
    "alerts": ("/v1/alerts/stream", "server-sent events: each change of an alert, open ones first"),
    "panel": ("/panel/api/stream", "server-sent events for the agent's panel"),
    "webhook": (None, "a target that the operator names; signed as Standard Webhooks says"),
}


def taken_schemas() -> dict[str, Any]:
    """Return the JSON schemas of what the socket takes, by name, with whatever they name."""
    found: dict[str, Any] = {}
    for shape in (TurnIn, CorrectionIn, SignalIn):
        schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {}) | {shape.__name__: schema}
    return found


def document(version: str) -> dict[str, Any]:
    """Return the document for this version of the interface."""
    taken = {
        "turn": _asked("turn", "TurnIn"),
        "correction": _asked("correction", "CorrectionIn"),
        "signal": _asked("signal", "SignalIn"),
        "watch": _object({"type": _just("watch")}),
    }
    messages = {
        f"{channel}.{name}": {"name": name, "contentType": "application/json", "payload": payload}
        for channel, found in {**SENT, "in": taken}.items()
        for name, payload in found.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Undertone node",
            "version": version,
            "description": "Cues are expressed, never a truth about a person. Requests and answers "
            "over HTTP are in /openapi.json.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, [*SENT[name]]) for name in CHANNELS},
        "operations": {
            **{f"send-{name}": _operation("send", name, [*SENT[name]]) for name in CHANNELS},
            "receive-socket": _operation("receive", "socket", TAKEN, prefix="in"),
        },
        "components": {"messages": messages, "schemas": {**SCHEMAS, **taken_schemas()}},
    }


def _asked(kind: str, shape: str) -> Schema:
    key = {"type": "string", "minLength": 1, "maxLength": 128}
    return _object({"type": _just(kind), "id": key, "body": _ref(shape)})


def _channel(name: str, sent: Sequence[str]) -> dict[str, Any]:
    address, description = CHANNELS[name]
    found = [f"{name}.{one}" for one in sent]
    found += [f"in.{one}" for one in TAKEN] if name == "socket" else []
    return {
        "address": address,
        "description": description,
        "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in found},
    }


def _operation(
    action: str, channel: str, names: Sequence[str], *, prefix: str | None = None
) -> dict[str, Any]:
    where = f"#/channels/{channel}"
    found = [f"{prefix or channel}.{name}" for name in names]
    return {
        "action": action,
        "channel": {"$ref": where},
        "messages": [{"$ref": f"{where}/messages/{name}"} for name in found],
    }
