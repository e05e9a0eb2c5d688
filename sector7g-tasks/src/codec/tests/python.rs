//! Python itself, its standard library alone: what it reads of ours, and what we read of its.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::hostile::with_argument;
use super::*;
use crate::codec::encoded::Form;
use crate::codec::pickle;
use crate::job::{FailureKind, UntypedArgs};

/// What the script sees: `said(..)` to answer with a line, and classes of arq that it need not have.
const PRELUDE: &str = r"
import asyncio, base64, collections, datetime, decimal, io, json, pickle, sys, uuid, zoneinfo

class JobExecutionFailed(RuntimeError): pass
class DeserializationError(RuntimeError): pass

class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module in ('arq.worker', 'arq.jobs'):
            return globals()[name]
        return super().find_class(module, name)

def loads(text):
    return Unpickler(io.BytesIO(base64.b64decode(text))).load()

def said(*words):
    print(*words, sep='\t')
";

/// The lines that a script answers, given `input` as JSON in `given`.
fn python(script: &str, input: &Json) -> Vec<String> {
    let script = format!("{PRELUDE}\ngiven = json.load(sys.stdin)\n{script}");
    answer(Command::new("python3").args(["-c", &script]), input).lines().map(str::to_owned).collect()
}

/// What a program answers, given `input` as JSON.
pub(super) fn answer(program: &mut Command, input: &Json) -> String {
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(
            "these tests need `python3` (3.9 or newer) in the path, and arq, which `cargo xtask needs` installs",
        );
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Values of Python, by their source.
const VALUES: &[&str] = &[
    "None",
    "(True, False)",
    "[0, 1, -1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -2**31, 2**63 - 1, -2**63]",
    "(2**63, 2**64 - 1, 2**64, -2**64, 10**40, -10**40, 2**127, 2**128 - 1, 2**2040, -2**2039)",
    "[0.0, -0.0, 1.5, 0.1, 1e15, 1e16, 1e-4, 1e-5, 1e300, 5e-324]",
    "[float('nan'), float('inf'), float('-inf')]",
    "['', 'plain', 'Grüße ☢ 𝄞', 'quote \\' \" \\\\ \\n \\t \\r \\x00 \\x1a', '\\\\u0041']",
    "'x' * 70_000",
    "[b'', b'\\x00\\xff', b'a\\'b\\n', bytes(range(256)), b'y' * 70_000]",
    "[bytearray(b''), bytearray(b'\\x00\\xff')]",
    "[(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]",
    "[[], [1], [[2], [[3]]]]",
    "list(range(3000))",
    "{}",
    "{'a': 1, 'b': {'c': None}}",
    "{1: 'a', (2, 3): 'b', None: 'c', 1.5: 'd', b'e': 'f', True: 'g'}",
    "{i: str(i) for i in range(3000)}",
    "[set(), {1}, frozenset(), frozenset({'a'})]",
    "{frozenset({1}): {2}}",
    "[datetime.datetime(2026, 11, 24, 1, 2, 3, 456789), datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)]",
    "datetime.datetime(2026, 10, 25, 2, 30, fold=1)",
    "datetime.datetime(2026, 11, 24, tzinfo=datetime.timezone.utc)",
    "datetime.datetime(2026, 11, 24, 0, 0, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=-5, minutes=-30)))",
    "datetime.datetime(2026, 11, 24, tzinfo=datetime.timezone(datetime.timedelta(seconds=19800), 'IST'))",
    "datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))",
    "[datetime.date(2026, 1, 31), datetime.time(23, 59, 59, 1), datetime.time(0, 0), datetime.time(2, 30, fold=1)]",
    "datetime.time(1, 2, tzinfo=datetime.timezone.utc)",
    "[datetime.timedelta(0), datetime.timedelta(days=-1, seconds=2, microseconds=3), datetime.timedelta.max]",
    "[datetime.timezone.utc, datetime.timezone.max]",
    "[decimal.Decimal('12.50'), decimal.Decimal('-1E+5'), decimal.Decimal('NaN'), decimal.Decimal('Infinity')]",
    "[uuid.UUID(int=7), uuid.UUID('f47ac10b-58cc-4372-a567-0e02b2c3d479')]",
    "(lambda one: [one, one, (one, one)])([1])",
    "(lambda text: [text, text, {text: text}])('shared')",
    "(lambda pair: [pair, pair, [pair]])((1, (2,)))",
    "(lambda row: [row, {'k': row}, [row] * 300, row[1], 300 * ('a longer text',)])([1, 'another longer text', {'x': None}])",
    "ValueError('too hot', 3)",
    "RuntimeError()",
    "collections.OrderedDict(a=1, b=[2])",
    "range(1, 9, 2)",
    "(lambda l: (l.append(l), l)[1])([1])",
];

/// DIFFERENCE: these are told, not kept: what contains itself, and objects of classes.
fn ours(told: &str) -> String {
    let told = told.replace("[1, [...]]", "[1, <a value that contains itself>]");
    told.replace("OrderedDict([('a', 1), ('b', [2])])", "{'a': 1, 'b': [2]}")
        .replace("OrderedDict({'a': 1, 'b': [2]})", "{'a': 1, 'b': [2]}")
}

#[test]
fn what_python_pickles_is_read_in_every_protocol() {
    let script = r"
for source in given:
    value = eval(source)
    for protocol in range(6):
        pickled = pickle.dumps(value, protocol)
        # Not of the value: protocols below 4 drop `fold`.
        said(source, protocol, repr(pickle.loads(pickled)), base64.b64encode(pickled).decode())
";
    let answers = python(script, &json!(VALUES));
    assert_eq!(answers.len(), VALUES.len() * 6);
    for answer in answers {
        let [source, protocol, repr, pickled] = answer.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let bytes = base64::decode(pickled);
        let value = pickle::value(bytes.strip_suffix(b".").unwrap());
        let value = value.unwrap_or_else(|problem| panic!("{source} in protocol {protocol}: {problem}"));
        let shown = value.to_string().replace("xrange", "range"); // its name in the older protocols
        assert_eq!(shown, ours(repr), "{source} in protocol {protocol}");
        let _ = value.to_json();
    }
}

#[test]
fn jobs_in_every_protocol_are_detected_and_read() {
    let script = r"
for protocol in range(6):
    job = {'t': 3, 'f': 'echo', 'a': (1, b'x'), 'k': {'by': 'carl'}, 'et': 1795485916103}
    said(base64.b64encode(pickle.dumps(job, protocol)).decode())
    class Valve: pass
    Valve.__module__, Valve.__qualname__ = '__main__', 'Valve'
    job['a'] = (Valve(),)
    said(base64.b64encode(pickle.dumps(job, protocol)).decode())
";
    for (index, answer) in python(script, &json!(null)).iter().enumerate() {
        let payload = Bytes::from(base64::decode(answer));
        let (codec, envelope) = Codec::decode_job(&payload).unwrap();
        assert_eq!((codec, &*envelope.task, envelope.job_try), (Codec::Pickle, "echo", Some(3)));
        assert_eq!(envelope.enqueued_at, NOW);
        if index % 2 == 1 {
            let params = [Param::new("it", "Valve"), Param::new("by", "String")];
            let problem = <(Json, String)>::bind(&envelope.arguments, &params, Default::default()).unwrap_err();
            assert_eq!(
                problem.to_string(),
                "argument `it` should be of type `Valve`: it is an object of Python's class `__main__.Valve`, which can't be read here"
            );
        }
    }
}

/// Our own writing of what we read is read by Python as what it wrote.
#[test]
fn values_go_back_to_python_as_they_came() {
    let kept: Vec<&str> =
        VALUES.iter().copied().filter(|source| !source.contains("Error(") && !source.contains("range(1")).collect();
    let kept: Vec<&str> = kept.into_iter().filter(|source| !source.contains("append")).collect();
    let script = "
for source in given:
    job = {'t': None, 'f': 'echo', 'a': (eval(source),), 'k': {}, 'et': 1}
    said(base64.b64encode(pickle.dumps(job)).decode())
";
    let results: Vec<[String; 2]> = python(script, &json!(kept))
        .iter()
        .zip(&kept)
        .map(|(answer, source)| {
            let given = arguments(&base64::decode(answer));
            let result = record(Codec::Pickle, Some(&given), Ok(&Codec::Pickle.encode(&()).unwrap()));
            [(*source).to_owned(), base64::encode(&result)]
        })
        .collect();
    let script = "
for source, stored in given:
    was, now = eval(source), loads(stored)['a']
    assert type(now) is tuple
    said(source, repr(was), repr(now[0]))
";
    for answer in python(script, &json!(results)) {
        let [source, was, now] = answer.split('\t').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(ours(was), now, "{source}");
    }
}

#[test]
fn objects_go_back_as_text() {
    let script = "
job = {'t': None, 'f': 'echo', 'a': (ValueError('x'), [1 + 2j]), 'k': {}, 'et': 1}
said(base64.b64encode(pickle.dumps(job)).decode())
";
    let given = arguments(&base64::decode(&python(script, &json!(null))[0]));
    let result = record(Codec::Pickle, Some(&given), Ok(&Codec::Pickle.encode(&()).unwrap()));
    let answer = python("said(repr(loads(given)['a']))", &json!(base64::encode(&result)));
    assert_eq!(answer, ["('<builtins.ValueError object, not kept>', ['<builtins.complex object, not kept>'])"]);
}

/// Whoever changes one of them changes what is everywhere.
#[test]
fn what_python_shares_is_shared_when_it_comes_back() {
    let script = "
row, empty, array = [1], [], bytearray(b'12345678')
job = {'t': None, 'f': 'echo', 'a': ([row, row, {'k': row}], [empty, empty], [array, array]), 'k': {'row': row}, 'et': 1}
said(base64.b64encode(pickle.dumps(job)).decode())
";
    let given = arguments(&base64::decode(&python(script, &json!(null))[0]));
    let result = record(Codec::Pickle, Some(&given), Ok(&Codec::Pickle.encode(&()).unwrap()));
    let script = "
rows, empties, arrays = (job := loads(given))['a']
said(rows[0] is rows[1] is rows[2]['k'] is job['k']['row'], empties[0] is empties[1], arrays[0] is arrays[1])
";
    assert_eq!(python(script, &json!(base64::encode(&result))), ["True\tTrue\tTrue"]);
}

/// A set that is made of a shared list lies where that lies, and is something else all the same.
#[test]
fn a_list_and_sets_made_of_it_stay_what_they_are() {
    let given = [
        (
            &b"(]K\x01a\x94cbuiltins\nset\nh\x00\x85Rcbuiltins\nfrozenset\nh\x00\x85Rh\x00l"[..],
            "([[1], {1}, frozenset({1}), [1]],)",
        ),
        (b"(]K\x01a\x94}cbuiltins\nfrozenset\nh\x00\x85RNsl", "([[1], {frozenset({1}): None}],)"),
        (
            b"(C\x0812345678\x94cbuiltins\nbytearray\nh\x00\x85Rh\x00l",
            "([b'12345678', bytearray(b'12345678'), b'12345678'],)",
        ),
    ];
    let results = given.map(|(opcodes, _)| {
        let given = arguments(&with_argument(Codec::Pickle, opcodes));
        base64::encode(&record(Codec::Pickle, Some(&given), Ok(&Codec::Pickle.encode(&()).unwrap())))
    });
    let answers = python("for stored in given: said(repr(loads(stored)['a']))", &json!(results));
    assert_eq!(answers, given.map(|(_, repr)| repr));
}

/// Python could not even load a dict with such a key.
#[test]
fn what_is_no_key_in_python_is_not_written_as_one() {
    let given =
        arguments(b"\x80\x04}(\x8c\x01f\x8c\x01x\x8c\x01a(}(]N}Nu]]a\x8f(]\x90(]\x91t\x8c\x01k}\x8c\x02etK\x01u.");
    let result = record(Codec::Pickle, Some(&given), Ok(&Codec::Pickle.encode(&()).unwrap()));
    let answer = python("said(loads(given)['f'])", &json!(base64::encode(&result)));
    assert_eq!(answer, ["inspect"]);
}

#[test]
fn what_rust_returns_is_read_by_python() {
    #[derive(serde::Serialize)]
    struct Inspection<'a> {
        status: &'a str,
        values: Vec<f64>,
        range: (i8, u64),
        note: Option<u8>,
    }
    let inspection = Inspection { status: "fine", values: vec![1.5, -0.0], range: (-1, u64::MAX), note: None };
    let by_number = std::collections::BTreeMap::from([(1_u8, "a"), (2, "b")]);
    for (encoded, repr) in [
        (
            Codec::Pickle.encode(&inspection).unwrap(),
            "{'status': 'fine', 'values': [1.5, -0.0], 'range': (-1, 18446744073709551615), 'note': None}",
        ),
        (Codec::Pickle.encode(&by_number).unwrap(), "{1: 'a', 2: 'b'}"),
        (Codec::Pickle.encode(&(i128::MIN, u128::MAX)).unwrap(), &format!("({}, {})", i128::MIN, u128::MAX)),
        (Codec::Pickle.encode(&"x".repeat(300)).unwrap(), &format!("'{}'", "x".repeat(300))),
        (Codec::Pickle.encode(&json!({"a": [1, {}], "b": []})).unwrap(), "{'a': [1, {}], 'b': []}"),
    ] {
        let stored = record(Codec::Pickle, None, Ok(&encoded));
        let answer = python("said(repr(loads(given)))", &json!(base64::encode(&stored)));
        let now = NOW.as_millis();
        let told = format!(
            "{{'t': 2, 'f': '<unknown>', 'a': (), 'k': {{}}, 'et': 0, 's': True, 'r': {repr}, 'st': {now}, 'ft': {now}, 'q': 'lenny', 'id': 'seven'}}"
        );
        assert_eq!(answer, [told]);
    }
}

#[test]
fn jobs_are_read_by_python() {
    let named = json!({"by": "carl", "deep": {"a": [1, 2.5, null]}});
    let args = UntypedArgs { positional: vec![json!(7), json!("λ")], named: named.as_object().unwrap().clone() };
    let extra = Extra { max_tries: Some(3), tick: None, trace: None };
    let told = "{'t': None, 'f': 'inspect', 'a': (7, 'λ'), 'k': {'by': 'carl', 'deep': {'a': [1, 2.5, None]}}, 'et': 1795485916103}";
    let payload = job(Codec::Pickle, &args);
    assert_eq!(python("said(repr(loads(given)))", &json!(base64::encode(&payload))), [told]);
    let payload = Codec::Json.encode_job("inspect", NOW, &extra, &args).unwrap();
    let script = "job = json.loads(base64.b64decode(given)); job['a'] = tuple(job['a']); said(repr(job))";
    let told = format!("{}, 's7': {{'max_tries': 3}}}}", told.strip_suffix('}').unwrap());
    assert_eq!(python(script, &json!(base64::encode(&payload))), [&*told]);
    let payload = Codec::Pickle.encode_job("inspect", NOW, &extra, &args).unwrap();
    assert_eq!(python("said(repr(loads(given)))", &json!(base64::encode(&payload))), [&*told]);
}

#[test]
fn failures_are_exceptions_in_python() {
    let kinds = [
        (FailureKind::Error, "RuntimeError('plant::Hot: the core is hot: a valve')"),
        (FailureKind::Permanent, "RuntimeError('plant::Hot: the core is hot: a valve')"),
        (FailureKind::Panic, "RuntimeError('plant::Hot: the core is hot: a valve')"),
        (FailureKind::LeaseLost, "RuntimeError('plant::Hot: the core is hot: a valve')"),
        (FailureKind::Result, "RuntimeError('plant::Hot: the core is hot: a valve')"),
        (FailureKind::Timeout, "TimeoutError('plant::Hot: the core is hot: a valve')"),
        (FailureKind::Aborted, "CancelledError()"),
        (FailureKind::Arguments, "TypeError('plant::Hot: the core is hot: a valve')"),
        (FailureKind::Expired, "JobExecutionFailed('the core is hot')"),
        (FailureKind::UnknownTask, "JobExecutionFailed('the core is hot')"),
        (FailureKind::MaxTries, "JobExecutionFailed('the core is hot')"),
        (FailureKind::Payload, "DeserializationError('plant::Hot: the core is hot: a valve')"),
    ];
    let stored = kinds.map(|(kind, _)| {
        let mut failure = Failure::new(kind, "the core is hot", 2, NOW);
        failure.error_type = Some("plant::Hot".to_owned());
        failure.causes = vec!["a valve".to_owned()];
        base64::encode(&record(Codec::Pickle, None, Err(&failure)))
    });
    let script = "
for stored in given:
    result = loads(stored)
    assert isinstance(result['r'], (Exception, asyncio.CancelledError)) and result['s'] is False
    said(repr(result['r']))
";
    assert_eq!(python(script, &json!(stored)), kinds.map(|(_, told)| told));
}

#[test]
fn a_part_may_stand_anywhere() {
    let encoded = Codec::Pickle.encode(&json!({"a": [1]})).unwrap();
    let Form::Pickle(part) = encoded.0 else { panic!("it is pickled") };
    let list = [&b"\x80\x04]("[..], &part, &part, b"e."].concat();
    assert_eq!(python("said(repr(loads(given)))", &json!(base64::encode(&list))), ["[{'a': [1]}, {'a': [1]}]"]);
}
