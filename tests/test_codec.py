from __future__ import annotations

import dataclasses
import gc
import json
import math
import types
import typing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamarck import codec
from lamarck._errors import CodecError
from lamarck.codec import MAX_BYTES, MAX_DEPTH, Record, decode, decode_event, decode_events, encode
from lamarck.types import (
    Assigned,
    Damaged,
    Ended,
    Failed,
    Failure,
    Interval,
    Report,
    Reported,
    Retired,
    Settings,
    Source,
    Started,
)

# ---- every record there is -------------------------------------------------------------------------------------------------------------------

whole = st.integers(-(2**70), 2**70)
counts = st.integers(0, 2**70)
numbers = st.floats() | whole
names = st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda name: not name.startswith("$"))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = st.none() | st.booleans() | numbers | texts
hparams = st.dictionaries(names, scalars, max_size=4)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8)
free = st.dictionaries(names, trees, max_size=3)
keys = st.tuples(whole, whole)

settings = st.builds(
    Settings,
    population_size=st.integers(1, 2**40),
    interval=st.integers(1, 2**40),
    generations=st.integers(1, 2**40),
    mode=st.sampled_from(["max", "min"]),
    seed=whole,
    max_lead=st.none() | counts,
    compare=st.sampled_from(["age", "latest"]),
    target=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    max_failures=counts,
    durable_every=st.none() | st.integers(1, 2**40),
)
intervals = st.builds(
    Interval,
    member=whole,
    generation=whole,
    hparams=hparams,
    start=whole,
    until=whole,
    restore=st.none() | texts,
    parent=st.none() | keys,
    seed=whole,
    info=free,
)
reports = st.builds(
    Report,
    member=counts,
    generation=counts,
    step=counts,
    value=st.floats(),
    checkpoint=st.none() | texts,
    samples=st.lists(numbers, max_size=4).map(tuple),
    metrics=st.dictionaries(names, numbers, max_size=3),
)
failures = st.builds(
    Failure,
    member=whole,
    generation=whole,
    kind=st.sampled_from(["error", "lost", "timeout", "damaged"]),
    message=texts,
    checkpoint=st.none() | texts,
)
sources = st.builds(Source, weights=keys, hparams=keys, explore=st.booleans(), reason=texts)
by_type = {
    Settings: settings,
    Interval: intervals,
    Report: reports,
    Failure: failures,
    Source: sources,
    Started: st.builds(Started, settings=settings, space=free, strategies=free, initial=st.lists(hparams, max_size=3).map(tuple), info=free),
    Assigned: st.builds(Assigned, interval=intervals),
    Reported: st.builds(Reported, report=reports),
    Failed: st.builds(Failed, failure=failures),
    Damaged: st.builds(Damaged, member=whole, checkpoint=texts),
    Retired: st.builds(Retired, member=whole, reason=texts),
    Ended: st.builds(Ended, reason=st.sampled_from(["generations", "target", "lost"])),
}
records = st.one_of(list(by_type.values()))


def test_that_every_record_is_generated_here():
    assert set(by_type) == set(typing.get_args(Record))


def exact(record):
    """All that a record holds, as text: tells 1 from 1.0 and True, and NaN equals NaN."""
    return type(record).__name__ + json.dumps(dataclasses.asdict(record))


@given(records)
def test_decode_reverses_encode(record):
    back = decode(encode(record))
    assert exact(back) == exact(record)
    if "NaN" not in exact(record):
        assert back == record  # lists are not tuples: the containers are the same, too
    assert encode(back) == encode(record)


@given(records)
def test_the_bytes_are_json_without_spaces_in_utf8(record):
    data = encode(record)
    parsed = json.loads(data.decode("utf-8"), parse_constant=pytest.fail)
    assert json.dumps(parsed, separators=(",", ":"), ensure_ascii=False).encode() == data
    assert list(parsed)[:2] == ["$type", "v"]
    assert parsed["$type"] == type(record).__name__
    assert parsed["v"] == 1
    assert list(parsed)[2:] == sorted(list(parsed)[2:])
    assert b"\n" not in data


interval = Interval(
    member=3,
    generation=8,
    hparams={"lr": 0.5, "layers": 2, "optimiser": "adam", "nesterov": True, "momentum": None},
    start=4000,
    until=4500,
    restore="0003-00007-00ff",
    parent=(1, 7),
    seed=12,
    info={"reason": "bottom 2 of 10", "tried": [1, {"two": 2.0}]},
)

SHAPES = {
    Settings(population_size=2, interval=5, generations=40): (
        b'{"$type":"Settings","v":1,"compare":"age","generations":40,"interval":5,"max_failures":2,"max_lead":0,"mode":"max",'
        b'"population_size":2,"seed":0}'
    ),
    Settings(population_size=2, interval=5, generations=40, max_lead=None, target=1.5, mode="min"): (
        b'{"$type":"Settings","v":1,"compare":"age","generations":40,"interval":5,"max_failures":2,"max_lead":null,"mode":"min",'
        b'"population_size":2,"seed":0,"target":1.5}'
    ),
    Source(weights=(3, 7), hparams=(1, 7)): b'{"$type":"Source","v":1,"explore":true,"hparams":[1,7],"weights":[3,7]}',
    Failed(failure=Failure(member=1, generation=2, kind="lost")): (
        b'{"$type":"Failed","v":1,"failure":{"generation":2,"kind":"lost","member":1}}'
    ),
    Damaged(member=1, checkpoint="Ä"): '{"$type":"Damaged","v":1,"checkpoint":"Ä","member":1}'.encode(),
    Retired(member=0, reason='"\\\n'): b'{"$type":"Retired","v":1,"member":0,"reason":"\\"\\\\\\n"}',
    Ended(reason="lost"): b'{"$type":"Ended","v":1,"reason":"lost"}',
}


@pytest.mark.parametrize(("record", "data"), SHAPES.items(), ids=lambda x: type(x).__name__)
def test_the_shape_of_each_record(record, data):
    assert encode(record) == data
    assert decode(data) == record


def test_the_shape_of_an_interval():
    assert encode(Assigned(interval=interval)) == (
        b'{"$type":"Assigned","v":1,"interval":{"generation":8,'
        b'"hparams":{"lr":0.5,"layers":2,"optimiser":"adam","nesterov":true,"momentum":null},'
        b'"info":{"reason":"bottom 2 of 10","tried":[1,{"two":2.0}]},"member":3,"parent":[1,7],"restore":"0003-00007-00ff","seed":12,'
        b'"start":4000,"until":4500}}'
    )


def test_what_says_nothing_is_not_written_and_null_is_when_it_says_something():
    report = Report(member=0, generation=0, step=1, value=-0.0)
    assert encode(report) == b'{"$type":"Report","v":1,"generation":0,"member":0,"step":1,"value":-0.0}'
    first = dataclasses.replace(interval, restore=None, parent=None, info={})
    assert b'"parent":null,"restore":null' in encode(first)
    assert b"info" not in encode(first)
    assert decode(encode(first)) == first


def test_not_finite_numbers_are_written_as_words():
    report = Report(member=0, generation=0, step=1, value=math.inf, samples=(math.nan, 1.0, -math.inf), metrics={"a": -math.inf, "b": math.nan})
    data = encode(report)
    assert b'"metrics":{"a":{"$float":"-inf"},"b":{"$float":"nan"}}' in data
    assert b'"samples":[{"$float":"nan"},1.0,{"$float":"-inf"}]' in data
    assert b'"value":{"$float":"inf"}' in data
    back = decode(data)
    assert back == dataclasses.replace(report)  # math.nan is one object, so even it is equal
    assert decode(encode(Assigned(interval=dataclasses.replace(interval, info={"a": [-math.inf]})))).interval.info == {"a": [-math.inf]}


def test_a_mapping_keeps_its_order():
    for order in (["b", "a", "c"], ["c", "b", "a"]):
        report = Report(member=0, generation=0, step=1, value=1.0, metrics=dict.fromkeys(order, 1.0))
        assert list(decode(encode(report)).metrics) == order


def test_mappings_and_sequences_of_other_kinds_become_plain():
    odd = dataclasses.replace(interval, hparams=types.MappingProxyType({"lr": 0.5}), info={"steps": (1, 2)}, parent=[1, 7])
    back = decode(encode(odd))
    assert type(back.hparams) is dict
    assert back.info == {"steps": [1, 2]}
    assert back.parent == (1, 7)
    assert type(back.parent) is tuple
    assert decode(encode(Report(member=0, generation=0, step=0, value=0, samples=[1.0, 2.0]))).samples == (1.0, 2.0)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.25), 0.25),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(np.inf), math.inf),
        (np.int64(-3), -3),
        (np.uint8(200), 200),
        (np.bool_(True), True),
        (np.str_("adam"), "adam"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numpy_scalars_are_written_as_what_they_hold(value, plain):
    record = dataclasses.replace(interval, hparams={"x": value}, info={"x": [value]})
    back = decode(encode(record))
    assert back.hparams == {"x": plain}
    assert type(back.hparams["x"]) is type(plain)
    assert type(back.info["x"][0]) is type(plain)


def test_numpy_scalars_in_typed_fields():
    back = decode(encode(dataclasses.replace(interval, member=np.int32(3), restore=np.str_("a"), parent=(np.int64(1), np.int64(7)))))
    assert (back.member, back.restore, back.parent) == (3, "a", (1, 7))
    assert {type(back.member), type(back.parent[0])} == {int}
    assert type(back.restore) is str
    report = Report(member=0, generation=0, step=0, value=1.0, metrics={"loss": np.float32(0.5)}, samples=(np.float64(2.0), np.int8(1)))
    back = decode(encode(report))
    assert back.metrics == {"loss": 0.5}
    assert back.samples == (2.0, 1)


# ---- what is not written ---------------------------------------------------------------------------------------------------------------------


class Unprintable:
    def __repr__(self):
        raise RuntimeError


def nested(depth):
    tree: object = 0
    for _ in range(depth):
        tree = [tree]
    return tree


itself: dict[str, object] = {}
itself["again"] = [itself]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hparams": {"lr": {1.0}}}, r"^Interval\.hparams\.lr: got \{1\.0\} \(set\); it must be None, a bool, a string or a number$"),
        ({"hparams": {"lr": [0.1]}}, r"^Interval\.hparams\.lr: got \[0\.1\] \(list\)"),
        ({"hparams": {"lr": {"low": 0.1}}}, r"^Interval\.hparams\.lr: got \{'low': 0\.1\} \(dict\)"),
        ({"hparams": {"lr": {"$float": "nan"}}}, r"^Interval\.hparams\.lr: "),
        ({"hparams": {"lr": b"x"}}, r"^Interval\.hparams\.lr: got b'x' \(bytes\)"),
        ({"hparams": {"lr": 1j}}, r"^Interval\.hparams\.lr: got 1j \(complex\)"),
        ({"hparams": {"lr": np.zeros(1)}}, r"^Interval\.hparams\.lr: got array\(\[0\.\]\) \(ndarray\)"),
        ({"hparams": {"lr": np.longdouble(1)}}, r"^Interval\.hparams\.lr: .*\(longdouble\)"),
        ({"hparams": {"lr": np.timedelta64(1, "s")}}, r"^Interval\.hparams\.lr: .*\(timedelta64\)"),
        ({"hparams": {"lr": np.datetime64("2020-01-01")}}, r"^Interval\.hparams\.lr: .*\(datetime64\)"),
        ({"hparams": {"lr": np.complex64(1)}}, r"^Interval\.hparams\.lr: .*\(complex64\)"),
        ({"hparams": {"lr": Unprintable()}}, r"^Interval\.hparams\.lr: got a value \(Unprintable\)"),
        ({"hparams": {"lr": "x" * 100 and ["x" * 100]}}, r"^Interval\.hparams\.lr: got \['x{58}\.\.\. \(list\)"),
        (
            {"hparams": {"$lr": 0.1}},
            r"^Interval\.hparams\.\$lr: got '\$lr' \(str\); it must be a string that does not begin with '\$', as a key$",
        ),
        ({"hparams": {1: 0.1}}, r"^Interval\.hparams\.1: got 1 \(int\)"),
        ({"hparams": 3}, r"^Interval\.hparams: got 3 \(int\); it must be a mapping$"),
        ({"info": {"a": {"b": [0, {2}]}}}, r"^Interval\.info\.a\.b\.1: got \{2\} \(set\)"),
        ({"info": {"a": {"$float": "nan"}}}, r"^Interval\.info\.a: "),
        ({"info": {"a": nested(MAX_DEPTH + 1)}}, rf"^Interval\.info\.a\.0.*\.0: it is nested deeper than {MAX_DEPTH} levels$"),
        ({"info": itself}, r"nested deeper than"),
        ({"info": {"a": 10**5000}}, r"^Interval: a whole number is too long to be written: "),
        ({"info": {"a": "before \ud800 after"}}, r"^Interval: the text .*before \\ud800 after.* holds half a character"),
        ({"member": 3.0}, r"^Interval\.member: got 3\.0 \(float\); it must be a whole number$"),
        ({"member": True}, r"^Interval\.member: got True \(bool\); it must be a whole number$"),
        ({"restore": 3}, r"^Interval\.restore: got 3 \(int\); it must be a string$"),
        ({"parent": (1, 2, 3)}, r"^Interval\.parent: got \(1, 2, 3\) \(tuple\); it must be a tuple of 2$"),
        ({"parent": (1, "7")}, r"^Interval\.parent\.1: got '7' \(str\); it must be a whole number$"),
        ({"parent": 7}, r"^Interval\.parent: got 7 \(int\); it must be a tuple$"),
    ],
)
def test_encode_refuses_what_decode_would_not_take_back(changes, message):
    with pytest.raises(CodecError, match=message):
        encode(dataclasses.replace(interval, **changes))


def test_encode_refuses_wrong_records():
    with pytest.raises(CodecError, match=r"^got a dict; records are Started, Assigned, "):
        encode({"member": 3})
    with pytest.raises(CodecError, match=r"^Reported\.report: got .* \(Failure\); it must be a Report$"):
        encode(Reported(report=Failure(member=1, generation=2, kind="lost")))
    with pytest.raises(CodecError, match=r"^Failure\.kind: got 'odd' \(str\); it must be one of 'error', 'lost', 'timeout', 'damaged'$"):
        encode(Failure(member=1, generation=2, kind="odd"))
    with pytest.raises(CodecError, match=r"^Failure\.kind: got \[\] \(list\)"):
        encode(Failure(member=1, generation=2, kind=[]))
    with pytest.raises(CodecError, match=r"^Report\.metrics\.ok: got True \(bool\); it must be a number$"):
        encode(Report(member=0, generation=0, step=0, value=0, metrics={"ok": True}))
    with pytest.raises(CodecError, match=r"^Source\.explore: got 1 \(int\); it must be True or False$"):
        encode(Source(weights=(0, 0), hparams=(0, 0), explore=1))


def test_the_deepest_tree_that_is_written_can_be_read():
    record = dataclasses.replace(interval, info={"a": nested(MAX_DEPTH)})
    assert decode(encode(record)) == record


def test_a_record_that_is_too_long_is_refused_on_both_ways():
    with pytest.raises(CodecError, match=r"^Damaged: the record takes .* bytes; at most 67,108,864 are allowed"):
        encode(Damaged(member=0, checkpoint="x" * MAX_BYTES))
    with pytest.raises(CodecError, match=r"^got 67,108,865 bytes; a record has at most 67,108,864$"):
        decode(bytes(MAX_BYTES + 1))


# ---- what is not read ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "are not a record: "),
        (b"\xff", "are not a record: 'utf-8' codec can't decode"),
        (b"{", "are not a record: "),
        (b"[]", "a record is a JSON object"),
        (b'"' + b"x" * 100 + b'"', r"the bytes b'\"x{59}'\.\.\. are not"),
        (b"[" * 100_000, "are not a record: "),
        (b'{"a":' * 100_000, "are not a record: "),
        (b"1" * 5000, "are not a record: "),
        (b'{"$type":"Ended","v":1,"reason":"lost"} ', "1 more characters follow it"),
        (b' {"$type":"Ended","v":1,"reason":"lost"}', "are not a record: "),
        ('\ufeff{"$type":"Ended","v":1,"reason":"lost"}'.encode(), "are not a record: "),
        ('{"$type":"Ended","v":1,"reason":"lost"}'.encode("utf-16"), "are not a record: "),
        (b'{"$type":"Ended","reason":"lost"}', r"^v: got None; a record carries"),
        (b'{"$type":"Ended","v":0,"reason":"lost"}', r"^v: got 0; "),
        (b'{"$type":"Ended","v":true,"reason":"lost"}', r"^v: got True; "),
        (
            b'{"$type":"Ended","v":2,"reason":"lost"}',
            r"^got a record of version 2, and versions up to 1 are known here: written by a newer Lamarck",
        ),
        (b'{"v":1,"reason":"lost"}', r"^\$type: got None; records are Started, "),
        (b'{"$type":"Endet","v":1,"reason":"lost"}', r"^\$type: got 'Endet'; records are Started, "),
        (b'{"$type":["Ended"],"v":1,"reason":"lost"}', r"^\$type: got \['Ended'\]; "),
        (b'{"$type":"Ended","v":1}', r"^Ended: the field 'reason' is missing$"),
        (b'{"$type":"Ended","v":1,"reason":"lost","more":1}', r"^Ended: got the unknown field 'more'; it has reason$"),
        (
            b'{"$type":"Ended","v":1,"reason":"tired"}',
            r"^Ended\.reason: got 'tired' \(str\); it must be one of 'generations', 'target', 'lost'$",
        ),
        (b'{"$type":"Ended","v":1,"reason":{}}', r"^Ended\.reason: got \{\} \(dict\)"),
        (b'{"$type":"Retired","v":1,"member":1.0,"reason":""}', r"^Retired\.member: got 1\.0 \(float\); it must be a whole number$"),
        (b'{"$type":"Retired","v":1,"member":1,"reason":"\\ud800"}', "surrogates not allowed"),
        (b'{"$type":"Retired","v":1,"member":NaN,"reason":""}', "NaN is not JSON"),
        (b'{"$type":"Retired","v":1,"member":-Infinity,"reason":""}', "-Infinity is not JSON"),
        (b'{"$type":"Reported","v":1,"report":[]}', r"^Reported\.report: got \[\] \(list\); it must be an object with the fields of a Report$"),
        (
            b'{"$type":"Report","v":1,"member":1,"generation":1,"step":1,"value":1e400}',
            r"^Report\.value: got inf \(float\); it must be a number, or ",
        ),
        (b'{"$type":"Report","v":1,"member":1,"generation":1,"step":1,"value":{"$float":"NaN"}}', r"^Report\.value: got "),
        (b'{"$type":"Report","v":1,"member":1,"generation":1,"step":1,"value":{"$float":["nan"]}}', r"^Report\.value: got "),
        (b'{"$type":"Report","v":1,"member":1,"generation":1,"step":1,"value":{"$float":"nan","a":1}}', r"^Report\.value: got "),
        (b'{"$type":"Report","v":1,"member":1,"generation":1,"step":1,"value":"1"}', r"^Report\.value: got '1' \(str\)"),
        (
            b'{"$type":"Report","v":1,"member":1,"generation":1,"step":-1,"value":1}',
            r"^Report: step: got -1; it must be a whole number of at least 0$",
        ),
        (
            b'{"$type":"Started","v":1,"settings":{"population_size":0,"interval":1,"generations":1},"space":{},"strategies":{},"initial":[]}',
            r"^Started\.settings: population_size: got 0; it must be a whole number of at least 1$",
        ),
        (
            b'{"$type":"Started","v":1,"settings":{"population_size":1,"interval":1,"generations":1},"space":{"$x":1},"strategies":{},"initial":[]}',
            r"^Started\.space\.\$x: ",
        ),
        (
            b'{"$type":"Started","v":1,"settings":{"population_size":1,"interval":1,"generations":1},"space":{"a":'
            + b"[" * 40
            + b"]" * 40
            + b'},"strategies":{},"initial":[]}',
            r"^Started\.space\.a\.0.*: it is nested deeper than 32 levels$",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:30]),
)
def test_decode_refuses(data, message):
    with pytest.raises(CodecError, match=message):
        decode(data)


def round_trips_or_is_refused(data):
    try:
        record = decode(data)
    except CodecError:
        return
    again = encode(record)
    assert encode(decode(again)) == again


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    round_trips_or_is_refused(data)


@given(records, st.data())
def test_damaged_bytes_are_read_or_refused(record, data):
    good = bytearray(encode(record))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(good)))
        good[start : start + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"NaN", b"1e999", b"null", b"{}", b"[]", b'"', b"\\ud800", b'{"$float":"inf"}', b"9" * 30])
        )
    round_trips_or_is_refused(bytes(good))


@st.composite
def misshapen(draw):
    """A sound record in which one value, somewhere, is any JSON."""
    tree = json.loads(encode(draw(records)))
    places = [(tree, key) for key in tree]
    for parent, key in places:
        child = parent[key]
        if isinstance(child, dict | list):
            places += [(child, inner) for inner in (child if isinstance(child, dict) else range(len(child)))]
    parent, key = draw(st.sampled_from(places))
    parent[key] = draw(trees | st.sampled_from([{"$float": "nan"}, {"$float": 1}, {"$type": "Ended"}]))
    return json.dumps(tree).encode()


@given(misshapen())
def test_misshapen_records_are_read_or_refused(data):
    round_trips_or_is_refused(data)


@given(st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=10))
def test_any_json_is_read_or_refused(tree):
    round_trips_or_is_refused(json.dumps(tree).encode())


# ---- events, versions ------------------------------------------------------------------------------------------------------------------------


@given(records)
def test_decode_event_takes_events_only(record):
    if isinstance(record, Settings | Interval | Report | Failure | Source):
        with pytest.raises(CodecError, match=f"^got a {type(record).__name__}; a journal holds Started, Assigned, "):
            decode_event(encode(record))
    else:
        assert exact(decode_event(encode(record))) == exact(record)


def told(events):
    """All that comes of reading a journal: the events, and the error that ends it."""
    out = []
    try:
        out.extend(exact(event) for event in events)  # keeps what came before an error
    except CodecError as error:
        out.append(str(error))
    return out


events = st.one_of([by_type[cls] for cls in (Started, Assigned, Reported, Failed, Damaged, Retired, Ended)])


@st.composite
def journals(draw):
    """Lines of a journal, some of them damaged: a few bytes exchanged, something before or after, or the border between two lines moved."""
    lines = [encode(event) for event in draw(st.lists(events, min_size=1, max_size=8))]
    for _ in range(draw(st.integers(0, 2))):
        i = draw(st.integers(0, len(lines) - 1))
        line, place = lines[i], draw(st.integers(0, len(lines[i])))
        match draw(st.sampled_from(["bytes", "around", "border", "message", "joined"])):
            case "bytes":
                lines[i] = (
                    line[:place]
                    + draw(st.sampled_from([b"", b"NaN", b"1e999", b"{}", b'"', b"\\", b"\\ud800", b",", b" ", b"\xff"]))
                    + line[place:]
                )
            case "around":
                lines[i] = draw(st.sampled_from([b" ", b"\n", b""])) + line + draw(st.sampled_from([b" ", b"\n", b",", b"]"]))
            case "border":
                lines[i : i + 2] = [line[:place], line[place:] + b"," + lines[i + 1] if i + 1 < len(lines) else line[place:]]
            case "message":
                lines[i] = encode(draw(reports))
            case "joined":
                lines[i : i + 2] = [b",".join(lines[i : i + 2])]
    return lines


@given(journals(), st.integers(0, 70))
def test_many_events_are_read_as_one_by_one(lines, before):
    lines = [encode(Retired(member=i, reason="diverged")) for i in range(before)] + lines
    assert told(decode_events(lines)) == told(map(decode_event, lines))


NESTED = b'{"$type":"Ended","v":1,"reason":"lost"}'


@pytest.mark.parametrize(
    "opened",
    [
        b'{"$type":"Started","v":1,"info":{"a":[{}',
        b'{"$type":"Started","v":1,"settings":{"x":{}',
        b'{"$type":"Assigned","v":1,"interval":{"info":{"a":[{}',
        b'{"$type":"Reported","v":1,"report":{"samples":[{}',
        b'{"$type":"Ended","v":1,"reason":"a}',
        b'{"$type":"Ended","v":1,"x":[{"$float":"nan"}',
    ],
)
@pytest.mark.parametrize("closing", [b"]}}", b"]}}}", b"}}", b"}}}", b"]}", b'"}', b"]"])
def test_a_line_cannot_be_completed_by_the_next(opened, closing):
    """Joined with a comma between them they may be JSON, of as many objects as there are lines."""
    for lines in ([opened, NESTED + closing + b"," + NESTED], [NESTED, opened, NESTED + closing, NESTED]):
        assert told(decode_events(lines)) == told(map(decode_event, lines))
        with pytest.raises(CodecError):
            list(decode_events(lines))


def test_reading_leaves_the_collector_as_it_was():
    lines = [encode(Ended(reason="lost")), b"nonsense"]
    for before in (True, False):
        (gc.enable if before else gc.disable)()
        try:
            assert len(told(decode_events(lines))) == 2
            assert gc.isenabled() is before
        finally:
            gc.enable()


def test_old_versions_are_brought_up_one_step_at_a_time(monkeypatch):
    """A made-up past: version 1 called the type 'Dropped', version 2 its member 'worker'."""
    monkeypatch.setattr(codec, "VERSION", 3)
    monkeypatch.setattr(
        codec,
        "UPCASTERS",
        {
            1: lambda old: old | {"$type": "Retired"},
            2: lambda old: {"member": old["worker"]} | {key: value for key, value in old.items() if key != "worker"},
        },
    )
    new = Retired(member=3, reason="diverged")
    assert encode(new) == b'{"$type":"Retired","v":3,"member":3,"reason":"diverged"}'
    assert decode(b'{"$type":"Dropped","v":1,"worker":3,"reason":"diverged"}') == new
    assert decode(b'{"$type":"Retired","v":2,"worker":3,"reason":"diverged"}') == new
    assert decode(b'{"$type":"Retired","v":3,"member":3,"reason":"diverged"}') == new
    with pytest.raises(CodecError, match=r"^the record of version 2 could not be brought up to version 3: KeyError\('worker'\)$"):
        decode(b'{"$type":"Retired","v":2,"member":3,"reason":"diverged"}')
    with pytest.raises(CodecError, match="version 4, and versions up to 3 are known here"):
        decode(b'{"$type":"Retired","v":4,"member":3,"reason":"diverged"}')


def test_there_is_an_upcaster_for_every_old_version():
    assert sorted(codec.UPCASTERS) == list(range(1, codec.VERSION))
