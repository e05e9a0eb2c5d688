"""Whether jobs and results that were written in Rust are, to arq itself, those that arq was recorded to write.

Standard input: a JSON list of recordings, {"file", "key", "codec", "recorded": base64, "written": [..]}, each of what was
written {"what": "job" | "result", "codec", "bytes": base64}. Standard output: a JSON list, of each recording how many
comparisons it had, or in words what differs.
"""
import base64
import datetime
import decimal
import enum
import json
import sys
import types
import uuid
import zoneinfo

from arq.jobs import DeserializationError, deserialize_job_raw, deserialize_result
from arq.worker import JobExecutionFailed

from codecs_by_name import CODECS

# The classes that the recordings hold objects of, as their recorders had them.
for module in ("vector_types", "__main__"):
    known = sys.modules.setdefault(module, types.ModuleType(module))
    known.Reading = type("Reading", (), {"__module__": module})
known = sys.modules["vector_types"]
known.Colour = enum.Enum("Colour", {"RED": "red", "BLUE": 2}, module="vector_types")
known.GaugeError = type("GaugeError", (Exception,), {"__module__": "vector_types"})
known.KeywordOnlyError = type("KeywordOnlyError", (Exception,), {"__module__": "vector_types"})

PLAIN = (type(None), bool, int, float, str, bytes, bytearray, list, tuple, set, frozenset, dict, datetime.datetime,
         datetime.date, datetime.time, datetime.timedelta, datetime.timezone, zoneinfo.ZoneInfo, decimal.Decimal, uuid.UUID)


class Told:
    """Stands for what Rust tells of an object: its class, and more."""

    def __init__(self, value):
        cls = value if isinstance(value, type) else type(value)
        self.name = "builtins.Ellipsis" if value is ... else f"{cls.__module__}.{cls.__qualname__}"


def name(value):
    return Told(value).name


# ------------------------------------------------------------------ what `sector7g-tasks/src/docs/codecs.md` promises
def number(value):
    """An int or float where there is JSON."""
    if isinstance(value, float):
        return value if value - value == 0 else None  # NaN and infinities are null
    return value if -2**63 <= value < 2**64 else str(value)


def moment(value):
    text = value.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def key(value):
    """A dict's key where only texts can be keys."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) else str(number(value)) if isinstance(value, int) else repr(value)


def as_json(value, within=()):
    """What a type that takes anything is given, written as JSON."""
    if id(value) in within:
        return "<a value that contains itself>"
    within = (*within, id(value))
    if value is None or isinstance(value, (bool, str)) and type(value) in PLAIN:
        return value
    if type(value) in (int, float):
        return number(value)
    if isinstance(value, (bytes, bytearray)):
        return list(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(item, within) for item in value]
    if isinstance(value, dict):
        return {key(k): as_json(v, within) for k, v in value.items()}
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return moment(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    return Told(value)


def sent(value, codec, outside=()):
    """What a Rust task's own types, which know bytes, tuples and 128 bits, become in a codec."""
    if codec == "json" or id(value) in outside:
        return as_json(value, outside)
    within = (*outside, id(value))
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if type(value) is float:
        return value
    if type(value) is int and codec == "pickle" and -2**127 <= value < 2**128:
        return value
    if type(value) in (list, tuple):
        items = [sent(item, codec, within) for item in value]
        return tuple(items) if type(value) is tuple and codec == "pickle" else items
    if isinstance(value, dict):
        return {k if codec == "pickle" else key(k): sent(v, codec, within) for k, v in value.items()}
    return as_json(value, outside)


def kept(value, within=()):
    """What a result that pickles repeats of its pickled job: all of it but objects, which are told."""
    if id(value) in within:
        return "<a value that contains itself, not kept>"
    within = (*within, id(value))
    if isinstance(value, dict):
        return {kept(k, within): kept(v, within) for k, v in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(kept(item, within) for item in value)
    return value if type(value) in PLAIN else f"<{name(value)} object, not kept>"


def as_read(value, codec):
    """What Rust takes a stored value for. JSON's is not all of Python's: without a type, its numbers have 64 bits."""
    if codec != "json":
        return value
    if isinstance(value, float):
        return number(value)
    if type(value) is int:
        return value if -2**63 <= value < 2**64 else float(value)
    if isinstance(value, (list, tuple)):
        return type(value)(as_read(item, codec) for item in value)
    return {k: as_read(v, codec) for k, v in value.items()} if isinstance(value, dict) else value


def without_nan(value):
    """JSON is repeated as it stands, but for what is none."""
    if isinstance(value, (list, tuple)):
        return type(value)(without_nan(item) for item in value)
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    return number(value) if isinstance(value, float) else value


def repeated(value, recorded, codec):
    """What a result in `codec` has of arguments that were recorded in another, or in the same."""
    if codec == "pickle" and recorded != "json":
        return kept(value)
    if recorded != codec:
        return as_json(as_read(value, recorded))
    return without_nan(value) if codec == "json" else value


# ------------------------------------------------------------------ equal to the last bit, and of the same types
def exactly(value):
    """To `==`, NaN is no NaN, 0.0 is -0.0, and 1 is True."""
    return type(value), repr(value)


def same(told, is_now):
    if isinstance(told, Told):
        return isinstance(is_now, dict) and is_now.get("class") == told.name
    if type(told) is not type(is_now):
        return False
    if isinstance(told, dict):
        by_name = {exactly(k): v for k, v in is_now.items()}
        return len(told) == len(by_name) and all(exactly(k) in by_name and same(v, by_name[exactly(k)]) for k, v in told.items())
    if isinstance(told, (set, frozenset)):
        return {exactly(item) for item in told} == {exactly(item) for item in is_now}
    if isinstance(told, (list, tuple)):
        return len(told) == len(is_now) and all(map(same, told, is_now))
    return exactly(told) == exactly(is_now)


def check(what, told, is_now):
    if not same(told, is_now):
        raise AssertionError(f"{what}: {str(told)[:300]!r} was to be, {str(is_now)[:300]!r} is")


def failure(stored):
    """Class and message of what a failed job has stored."""
    if isinstance(stored, BaseException):
        cls, args = type(stored), stored.args
        text = "" if not args else args[0] if len(args) == 1 and isinstance(args[0], str) else str(kept(args))
        return name(cls).removeprefix("builtins."), text
    if isinstance(stored, dict):
        return stored["error"], stored["message"]
    return None, stored


def check_failure(recorded, written, codec):
    cls, message = failure(recorded)
    is_one_of = cls and cls.split(".")[-1]
    if codec != "pickle":  # which has exceptions
        check("message", message or ("aborted" if is_one_of == "CancelledError" else cls), written)
        return
    if is_one_of == "CancelledError":
        check("class", "CancelledError", type(written).__name__)
    elif is_one_of in ("JobExecutionFailed", "DeserializationError"):
        check("class", {cls.__name__: cls for cls in (JobExecutionFailed, DeserializationError)}[is_one_of], type(written))
        if not str(written).endswith(message):
            raise AssertionError(f"{written!r} does not say {message!r}")
    else:
        check("class", TimeoutError if is_one_of == "TimeoutError" and not message else RuntimeError, type(written))
        if not str(written).endswith(message) or cls and cls not in str(written):
            raise AssertionError(f"{written!r} does not say {cls} and {message!r}")


# ------------------------------------------------------------------ one recording
def compare(recording):
    def loads(text, codec, read):
        return read(base64.b64decode(text), deserializer=CODECS[codec][1])

    is_job, codec = recording["key"].startswith("arq:job:"), recording["codec"]
    if is_job:
        function, args, kwargs, job_try, enqueued_ms = loads(recording["recorded"], codec, deserialize_job_raw)
        result = args
    else:
        was = loads(recording["recorded"], codec, deserialize_result)
        function, args, kwargs, result = was.function, was.args, was.kwargs, was.result
        enqueued_ms = round(was.enqueue_time.timestamp() * 1000)
    for written in recording["written"]:
        target = written["codec"]
        if written["what"] == "job":
            told = tuple(args) if target == "pickle" else list(args)
            now = loads(written["bytes"], target, deserialize_job_raw)
            check("function", function, now[0])
            check("args", sent(as_read(told, codec), target), now[1])
            check("kwargs", sent(as_read(kwargs, codec), target), now[2])
            check("enqueued", enqueued_ms, now[4])
            continue
        now = loads(written["bytes"], target, deserialize_result)
        check("function", function, now.function)
        args_now = tuple(now.args) if target == "pickle" or type(args) is tuple and codec == target else now.args
        check("args", tuple(repeated(list(args), codec, target)), tuple(args_now))
        check("kwargs", repeated(kwargs, codec, target), now.kwargs)
        check("enqueued", enqueued_ms, round(now.enqueue_time.timestamp() * 1000))
        if is_job or was.success:
            check("success", True, now.success)
            check("result", sent(as_read(result, codec), target), now.result)
        else:
            check("success", False, now.success)
            check_failure(result, now.result, target)
        if not is_job:
            for field in ("job_try", "start_time", "finish_time", "queue_name", "job_id"):
                check(field, getattr(was, field), getattr(now, field))
    return len(recording["written"])


def answer(recording):
    try:
        return compare(recording)
    except Exception as raised:
        cause = raised.__cause__
        return f"{recording['file']} {recording['key']}: {raised!r}{f' from {cause!r}' if cause else ''}"


json.dump([answer(recording) for recording in json.load(sys.stdin)], sys.stdout)
