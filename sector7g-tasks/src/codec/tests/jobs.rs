//! Jobs and their arguments: detection, binding, errors, what is shown.

use serde_json::{Value as Json, json};

use super::*;
use crate::codec::Place;
use crate::job::UntypedArgs;

fn params() -> [Param; 3] {
    [Param::new("reactor", "u8"), Param::new("depth", "Option<u32>"), Param::new("by", "String").redact()]
}

type Args = (u8, Option<u32>, String);

fn untyped(positional: &[Json], named: &Json) -> UntypedArgs {
    UntypedArgs { positional: positional.to_vec(), named: named.as_object().unwrap().clone() }
}

fn bind(codec: Codec, positional: &[Json], named: &Json) -> Result<Args, String> {
    let arguments = arguments(&job(codec, &untyped(positional, named)));
    Args::bind(&arguments, &params(), Default::default()).map_err(|error| error.to_string())
}

#[test]
fn the_codec_shows_in_the_first_bytes() {
    for codec in ALL {
        assert_eq!(Codec::detect(&job(*codec, &(1,))), Some(*codec));
        assert_eq!(Codec::detect(&record(*codec, None, Ok(&codec.encode(&1).unwrap()))), Some(*codec));
    }
    assert_eq!(Codec::detect(b" \n{}"), Some(Codec::Json));
    for other in [&b""[..], b" ", b"\x01\x02garbage", b"null", b"\x80", b"\x80\x06", b"\x90"] {
        assert_eq!(Codec::detect(other), None, "{other:?}");
    }
}

#[test]
fn an_envelope_comes_back_whole() {
    for codec in ALL {
        let extra = Extra { max_tries: Some(7), tick: Some(NOW), trace: None };
        let payload = codec.encode_job("inspect", NOW, &extra, &(1, "a")).unwrap();
        let (detected, envelope) = Codec::decode_job(&payload).unwrap();
        assert_eq!((detected, &*envelope.task), (*codec, "inspect"));
        assert_eq!((envelope.job_try, envelope.enqueued_at, envelope.extra), (None, NOW, extra));
    }
}

#[test]
fn arguments_bind_alike_in_every_codec() {
    for codec in ALL {
        let bind = |positional: &[Json], named| bind(*codec, positional, &named);
        assert_eq!(bind(&[json!(7), json!(3), json!("carl")], json!({})), Ok((7, Some(3), "carl".to_owned())));
        assert_eq!(bind(&[json!(7), Json::Null], json!({"by": "carl"})), Ok((7, None, "carl".to_owned())));
        assert_eq!(bind(&[], json!({"reactor": 1, "by": "x"})), Ok((1, None, "x".to_owned())));
        for (positional, named, problem) in [
            (&[json!(7)][..], json!({}), "argument `by` of type `String` is missing"),
            (
                &[json!(300)],
                json!({}),
                "argument `reactor` should be of type `u8`: invalid value: integer `300`, expected u8",
            ),
            (
                &[json!(7), json!("deep")],
                json!({}),
                "argument `depth` should be of type `Option<u32>`: invalid type: string \"deep\", expected u32",
            ),
            (
                &[],
                json!({"reactor": 1, "depth": -1}),
                "argument `depth` should be of type `Option<u32>`: invalid value: integer `-1`, expected u32",
            ),
            (
                &[json!(7)],
                json!({"by": [17]}),
                "argument `by` should be of type `String`: its value does not fit (it is redacted)",
            ),
            (
                &[json!(7)],
                json!({"by": "x", "colour": 1}),
                "there is no argument `colour`, only: `reactor`, `depth`, `by`",
            ),
            (
                &[json!(7)],
                json!({"by": "x", "reactor": 1}),
                "argument `reactor` was given twice, by position and by name",
            ),
            (
                &[json!(1), json!(2), json!("3"), json!(4)],
                json!({}),
                "4 positional arguments were given, at most 3 are taken (`reactor`, `depth`, `by`)",
            ),
        ] {
            assert_eq!(bind(positional, named), Err(problem.to_owned()), "{codec:?}");
        }
    }
}

#[test]
fn arguments_are_shown_without_secrets_and_within_a_bound() {
    for codec in ALL {
        let secret = [json!(7), Json::Null, json!("canary")];
        let payload = job(*codec, &untyped(&secret, &json!({"depth": 4, "colour": "canary"})));
        let shown = arguments(&payload).display(&params(), 200);
        let nothing = if *codec == Codec::Json { "null" } else { "None" };
        assert_eq!(shown, format!("7, {nothing}, ***, colour=***, depth=4"), "{codec:?}");
        let long = arguments(&job(*codec, &("é".repeat(500),)));
        let shown = long.display(&[Param::new("it", "String")], 80);
        assert!(shown.ends_with('…') && shown.len() <= 80 + '…'.len_utf8(), "{shown}");
    }
}

#[test]
fn results_repeat_their_arguments() {
    for codec in ALL {
        let given = arguments(&job(*codec, &untyped(&[json!([1, {"a": 2.5}]), json!("x")], &json!({"k": [null]}))));
        let value = codec.encode(&"done").unwrap();
        // A result has all that a job has.
        let repeated = arguments(&record(*codec, Some(&given), Ok(&value)));
        let all = [Param::new("a", ""), Param::new("b", ""), Param::new("k", "")];
        assert_eq!(repeated.display(&all, 200), given.display(&all, 200), "{codec:?}");
        assert_eq!(arguments(&record(*codec, None, Ok(&value))).display(&[], 200), "");
    }
}

#[test]
fn values_in_another_codec_than_the_record_are_written_anew() {
    for codec in ALL {
        for other in ALL {
            let given = arguments(&job(*other, &(vec![1, 2], "x")));
            let value = other.encode(&json!({"a": [1]})).unwrap();
            let repeated = record(*codec, Some(&given), Ok(&value));
            assert_eq!(Codec::detect(&repeated), Some(*codec));
            assert_eq!(stored(&repeated).value.unwrap().as_json(), r#"{"a":[1]}"#);
            let arguments = arguments(&repeated);
            let bound = <(Vec<u8>, String)>::bind(&arguments, &params()[..2], Default::default());
            assert_eq!(bound, Ok((vec![1, 2], "x".to_owned())), "{other:?} in {codec:?}");
        }
    }
}

#[test]
fn what_python_calls_numbers_in_json_is_read_as_null() {
    let payload =
        br#"{"t": null, "f": "echo\"NaN", "a": [NaN, -Infinity, "NaN \\", 1], "k": {"x": Infinity}, "et": 1}"#;
    let payload = Bytes::from_static(payload);
    let (_, envelope) = Codec::decode_job(&payload).unwrap();
    assert_eq!(envelope.task, "echo\"NaN");
    let all = ["a", "b", "c", "d", "x"].map(|name| Param::new(name, ""));
    assert_eq!(envelope.arguments.display(&all, 200), r#"null, null, "NaN \\", 1, x=null"#);
    assert_eq!(
        bound::<f64>(&arguments(br#"{"f": "e", "a": [NaN], "k": {}, "et": 1}"#), "f64"),
        Err("argument `it` should be of type `f64`: invalid type: null, expected f64".to_owned())
    );
}

/// A task that is declared here and implemented elsewhere has the other's name, and the linker gives them in any order.
#[test]
fn of_tasks_with_one_name_each_may_hide_arguments() {
    let open = [Param::new("reactor", "u8"), Param::new("by", "String")];
    let closed = [Param::new("reactor", "u8"), Param::new("by", "String").redact()];
    for tasks in [[&[][..], &open[..]], [&open[..], &[][..]]] {
        assert!(Place::Nth(1).is_shown(tasks) && Place::Named("by").is_shown(tasks));
        assert!(!Place::Nth(2).is_shown(tasks) && !Place::Named("colour").is_shown(tasks), "nobody knows it");
    }
    for tasks in [[&closed[..], &open[..]], [&open[..], &closed[..]]] {
        assert!(Place::Nth(0).is_shown(tasks) && Place::Named("reactor").is_shown(tasks));
        assert!(!Place::Nth(1).is_shown(tasks) && !Place::Named("by").is_shown(tasks), "one of them hides it");
    }
}
