"""Random questions, made from the OpenAPI document: no answer is a fault of the server, every answer is one that the document names, and what
is refused has changed nothing."""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from http_engine import PLAN, ask, create, served
from lamarck import codec
from lamarck.server.openapi import document
from lamarck.types import Failure, Report

EXAMPLES = int(os.environ.get("LAMARCK_FUZZ_EXAMPLES", "25"))
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
READING = ("GET", "HEAD")


@pytest.mark.slow
def test_random_questions_are_answered_as_the_document_says():
    schema = schemathesis.openapi.from_dict(document())
    asked, statuses = 0, {}
    with served("s.db", lease=3600) as (service, url):
        create(url)

        def snapshot():
            return {name: len(service.events(name)) for name in service.runs()}

        for result in schema.get_all_operations():
            operation = result.ok()

            @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
            @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)
            def test(case):
                nonlocal asked
                if "run" in (case.path_parameters or {}) and asked % 4:
                    case.path_parameters["run"] = "a"
                if case.query and "wait" in case.query:
                    case.query["wait"] = 0.0
                before = snapshot()
                response = case.call(base_url=url, timeout=20)
                asked += 1
                statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                case.validate_response(response, checks=CHECKS)
                if response.status_code >= 400 or case.method in READING:
                    assert snapshot() == before, "what was refused, or only looked, has changed something"

            test()
        assert ask(url, "GET", "/healthz").status == 200
    assert asked > EXAMPLES * 8
    print(f"{asked} requests; " + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())))


words = st.text(max_size=20)
numbers = st.floats() | st.integers(-(10**20), 10**20) | st.booleans() | words | st.none()
odd = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=10)
fields = st.dictionaries(st.sampled_from([*PLAN, "mode", "exploit", "explore", "rescue", "initial", "target", "max_lead", "steps", "x"]), odd)


@pytest.mark.slow
def test_wrong_plans_and_wrong_messages_are_refused_and_change_nothing():
    with served("s.db", lease=3600) as (service, url):
        create(url)
        lease = ask(url, "POST", "/v1/runs/a/exchange?worker=w").headers["Lamarck-Lease"]
        before = service.events("a")

        @given(plan=fields, message=st.binary(max_size=200) | fields.map(lambda it: json.dumps(it).encode()))
        @settings(max_examples=EXAMPLES * 4, deadline=None, database=None)
        def test(plan, message):
            asked = json.dumps(PLAN | {"name": "b/"} | plan).encode()
            assert ask(url, "POST", "/v1/runs", asked).status in (422, 200 if plan.get("name") == "a" else 422)
            if message:
                assert ask(url, "POST", f"/v1/runs/a/exchange?worker=w&lease={lease}", message).status == 422

        test()
        assert service.runs() == ["a"]
        assert service.events("a") == before


reports = st.builds(
    Report,
    member=st.integers(0, 5),
    generation=st.integers(0, 3),
    step=st.integers(0, 20),
    value=st.floats(),
    checkpoint=st.none() | words,
    samples=st.lists(st.floats(), max_size=3).map(tuple),
    metrics=st.dictionaries(words.filter(lambda name: not name.startswith("$")), st.floats(), max_size=2),
)
failures = st.builds(
    Failure,
    member=st.integers(0, 5),
    generation=st.integers(0, 3),
    kind=st.sampled_from(["error", "lost", "timeout", "damaged"]),
    message=words,
    checkpoint=st.none() | words,
)


@pytest.mark.slow
def test_messages_go_over_the_wire_as_they_are_or_not_at_all():
    with served("s.db", lease=3600) as (service, url):
        create(url, population_size=6, max_lead=None, generations=4, max_failures=1000)

        @given(message=reports | failures)
        @settings(max_examples=EXAMPLES * 4, deadline=None, database=None)
        def test(message):
            got = ask(url, "POST", "/v1/runs/a/exchange?worker=w")
            before = service.events("a")
            try:
                body = codec.encode(message)
            except codec.CodecError:
                return
            path = f"/v1/runs/a/exchange?worker=w&claim=false&lease={got.headers.get('Lamarck-Lease', 'none')}"
            status = ask(url, "POST", path, body).status
            told = [codec.decode_event(event) for event in service.events("a")[len(before) :]]
            if status == 204:
                heard = [getattr(event, "report", None) or getattr(event, "failure", None) for event in told]
                assert not told or codec.encode(heard[0] or message) == body
            else:
                assert status in (409, 422)
                assert told == []

        test()
