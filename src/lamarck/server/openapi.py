"""The OpenAPI document: what may be asked, and what may be answered, in a form that programs read.

It is written by hand and kept true by a test that asks thousands of random questions and compares every answer with what is said here.
"""

from __future__ import annotations

from typing import Any

from lamarck import __version__

__all__ = ["document"]

_JSON = "application/json"
_BYTES = "application/octet-stream"
_RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
_WORD = r"^[!-~]{1,200}$"
_CHECKPOINT = r"^[0-9]{4,}-[0-9]{5,}-[0-9a-f]{16}$"

_OBJECT = {"type": "object"}
_LIST = {"type": "array"}

_ERRORS = {
    400: "The connection broke before the body was complete.",
    404: "There is no such run, or no such checkpoint.",
    409: "The interval is not this worker's any more, another server writes the run, the upload stands elsewhere, or a decision may still name "
    "the checkpoint.",
    413: "The body is too large.",
    422: "What was asked cannot be; the message says what can.",
    503: "Nothing has changed; ask again after the time in Retry-After.",
}
_ALWAYS = {
    401: "A token is needed, or this one is not known.",
    403: "This token, or this origin, may not do this.",
    429: "Too many wrong tokens.",
}


def document() -> dict[str, Any]:
    """Returns the document.

    Example:
        >>> sorted(document()["paths"])[:2]
        ['/healthz', '/metrics']
    """
    runs, run = "/v1/runs", "/v1/runs/{run}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lamarck",
            "version": __version__,
            "description": "Population based training for workers anywhere. Records are those of the journal: see docs/journal.md.",
        },
        "security": [{}, {"bearer": []}],
        "paths": {
            "/healthz": {"get": _operation("Is the server there?", {200: _json("Yes.", _object("status", "version"))}, always=False)},
            "/metrics": {"get": _operation("Numbers for Prometheus.", {200: _answer("Numbers.", "text/plain", {"type": "string"})})},
            "/openapi.json": {"get": _operation("This document.", {200: _json("This document.", {"type": "object"})})},
            runs: {
                "get": _operation(
                    "All runs.", {200: _json("Runs, and those that cannot go on here.", _closed({"runs": _LIST, "refused": _OBJECT}))}
                ),
                "post": _operation(
                    "Begin a run, or make sure that it is there.",
                    {200: _json("It is there already.", _ref("Run")), 201: _json("It has begun.", _ref("Run")), **_errors(413, 422, 503)},
                    body=_body(_JSON, _ref("Plan"), required=True),
                ),
            },
            run: {"get": _operation("What a worker must know to join.", {200: _json("The run.", _ref("Run")), **_errors(404)}, [_run()])},
            f"{run}/state": {
                "get": _operation("What each member is doing.", {200: _json("The state.", _ref("State")), **_errors(404)}, [_run()])
            },
            f"{run}/events": {
                "get": _operation(
                    "What has happened, one record in each line.",
                    {200: _answer("Events.", "application/x-ndjson", {"type": "string"}, _text("Lamarck-Last")), **_errors(404, 422)},
                    [_run(), _whole("after", 0, 2**53), _whole("limit", 1, 10_000)],
                )
            },
            f"{run}/exchange": {
                "post": _operation(
                    "Say what came of an interval, and get the next.",
                    {
                        200: _answer("The next interval, or that the run is over.", _JSON, _ref("Told"), _text("Lamarck-Lease")),
                        204: {"description": "It was heard; there is nothing to train now."},
                        **_errors(404, 409, 413, 422, 503),
                    },
                    [_run(), _word("worker"), _word("lease", required=False), _truth("claim"), _number("wait", 0, 60)],
                    body=_body(_JSON, _ref("Message"), required=False),
                )
            },
            f"{run}/heartbeat": {"post": _held("Say that an interval is still being trained.", _errors(404, 409, 422, 503))},
            f"{run}/release": {"post": _held("Give an interval back.", _errors(404, 409, 422, 503))},
            f"{run}/checkpoints": {
                "get": _operation("Names of all checkpoints.", {200: _json("Names.", _closed({"names": _LIST})), **_errors(404, 422)}, [_run()])
            },
            f"{run}/checkpoints/{{name}}": {
                "get": _operation(
                    "A checkpoint, or a range of its bytes.",
                    {
                        200: _answer("All bytes.", _BYTES, {}),
                        206: _answer("A range of them.", _BYTES, {}),
                        400: {"description": "The range is not one."},
                        416: {"description": "The range is outside the file."},
                        **_errors(404, 413, 422),
                    },
                    [_run(), _name(), _whole("size", 1, 2**53)],
                ),
                "put": _operation(
                    "Upload a checkpoint, from an offset on.",
                    {
                        200: {"description": "It is there already."},
                        201: {"description": "It is complete and on the disk."},
                        **_errors(400, 404, 409, 413, 422, 503),
                    },
                    [_run(), _name(), _whole("offset", 0, 2**53), _whole("size", 1, 2**53, required=True)],
                    body=_body(_BYTES, {}, required=True),
                ),
                "delete": _operation(
                    "Delete a checkpoint.", {204: {"description": "It is gone."}, **_errors(404, 409, 422)}, [_run(), _name()]
                ),
            },
        },
        "components": {"schemas": _schemas(), "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _schemas() -> dict[str, Any]:
    whole = {"type": "integer", "minimum": 0, "maximum": 2**53}
    number = {"anyOf": [{"type": "number"}, _closed({"$float": {"enum": ["nan", "inf", "-inf"]}}, ["$float"])]}
    count = {"type": "integer", "minimum": 1, "maximum": 2**53}
    strategy = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    text = {"type": "string"}
    head = {"v": {"const": 1}}
    report = {
        "$type": {"const": "Report"},
        **head,
        "member": whole,
        "generation": whole,
        "step": whole,
        "value": number,
        "checkpoint": {"type": ["string", "null"]},
        "samples": {"type": "array", "items": number},
        "metrics": {"type": "object", "additionalProperties": number},
    }
    failure = {
        "$type": {"const": "Failure"},
        **head,
        "member": whole,
        "generation": whole,
        "kind": {"enum": ["error", "lost", "timeout", "damaged"]},
        "message": text,
        "checkpoint": {"type": ["string", "null"]},
    }
    plan = {
        "name": {"type": "string", "pattern": _RUN_NAME},
        "space": {"type": "object"},
        "population_size": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "interval": count,
        "steps": count,
        "generations": count,
        "mode": {"enum": ["max", "min"]},
        "seed": {"type": "integer", "minimum": -(2**53), "maximum": 2**53},
        "max_lead": {"type": ["integer", "null"], "minimum": 0},
        "compare": {"enum": ["age", "latest"]},
        "target": {"type": ["number", "null"]},
        "max_failures": {"type": "integer", "minimum": 0},
        "durable_every": {"type": ["integer", "null"], "minimum": 1},
        "exploit": strategy,
        "explore": strategy,
        "rescue": {"anyOf": [*strategy["anyOf"], {"type": "null"}]},
        "initial": {"type": "array", "items": {"type": "object"}},
        "stratified": {"type": "boolean"},
        "info": {"type": "object"},
    }
    line = {"name": text, "members": whole, "generations": whole, "ended": {"type": ["string", "null"]}, "training": whole}
    interval = {"type": "object", "required": ["$type", "v", "member", "generation", "hparams", "start", "until", "seed"]}
    return {
        "Problem": _closed({"error": text, "message": text}, ["error", "message"]),
        "Message": {
            "oneOf": [
                _closed(report, ["$type", "v", "member", "generation", "step", "value"]),
                _closed(failure, ["$type", "v", "member", "generation", "kind"]),
            ]
        },
        "Told": {
            "oneOf": [
                interval | {"properties": {"$type": {"const": "Interval"}}},
                _closed({"$type": {"const": "Ended"}, **head, "reason": {"enum": ["generations", "target", "lost"]}}, ["$type", "v", "reason"]),
            ]
        },
        "Plan": _closed(plan, ["name", "space", "population_size", "interval"]),
        "Run": _closed(line | {"settings": _OBJECT, "checkpoints": {"type": ["string", "null"]}, "lease_seconds": {"type": "number"}}),
        "State": _closed(line | {"best": {"type": ["object", "null"]}, "states": _LIST}),
    }


# ---- parts -----------------------------------------------------------------------------------------------------------------------------------


def _operation(
    summary: str,
    responses: dict[int, Any],
    parameters: list[Any] | None = None,
    *,
    body: dict[str, Any] | None = None,
    always: bool = True,
) -> dict[str, Any]:
    answers = responses | ({status: _json(words, _ref("Problem")) for status, words in _ALWAYS.items()} if always else {})
    described: dict[str, Any] = {"summary": summary, "responses": {str(status): answer for status, answer in sorted(answers.items())}}
    if parameters:
        described["parameters"] = parameters
    return described if body is None else described | {"requestBody": body}


def _held(summary: str, errors: dict[int, Any]) -> dict[str, Any]:
    return _operation(summary, {204: {"description": "It was heard."}, **errors}, [_run(), _word("worker"), _word("lease")])


def _errors(*statuses: int) -> dict[int, Any]:
    return {status: _json(_ERRORS[status], _ref("Problem")) for status in statuses}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _closed(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _object(*texts: str) -> dict[str, Any]:
    return _closed({name: {"type": "string"} for name in texts})


def _body(kind: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"required": required, "content": {kind: {"schema": schema}}}


def _answer(words: str, kind: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = {"description": words, "content": {kind: {"schema": schema}}}
    return answer if headers is None else answer | {"headers": headers}


def _json(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return _answer(words, _JSON, schema)


def _text(name: str) -> dict[str, Any]:
    return {name: {"schema": {"type": "string"}, "required": False}}


def _parameter(place: str, name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"in": place, "name": name, "required": required, "schema": schema}


def _run() -> dict[str, Any]:
    return _parameter("path", "run", {"type": "string", "pattern": _RUN_NAME}, required=True)


def _name() -> dict[str, Any]:
    return _parameter("path", "name", {"type": "string", "pattern": _CHECKPOINT}, required=True)


def _word(name: str, *, required: bool = True) -> dict[str, Any]:
    return _parameter("query", name, {"type": "string", "pattern": _WORD}, required=required)


def _whole(name: str, low: int, high: int, *, required: bool = False) -> dict[str, Any]:
    return _parameter("query", name, {"type": "integer", "minimum": low, "maximum": high}, required=required)


def _number(name: str, low: float, high: float) -> dict[str, Any]:
    return _parameter("query", name, {"type": "number", "minimum": low, "maximum": high}, required=False)


def _truth(name: str) -> dict[str, Any]:
    return _parameter("query", name, {"type": "boolean"}, required=False)
