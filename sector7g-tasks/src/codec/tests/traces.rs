//! The trace that a job belongs to: it comes back whole, and whatever else stands there is none.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::codec::encoded::Form;
use crate::codec::{Trace, TraceParent};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn parent() -> TraceParent {
    TraceParent { trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span_id: 0xb7ad_6b71_6920_3331, flags: 1 }
}

/// What stands under `s7.trace` of a job in a codec, read.
fn read(codec: Codec, trace: &Json) -> Option<Trace> {
    // A job's own fields, as a value: the codec writes them as it writes any dict.
    let job = json!({"t": null, "f": "inspect", "a": [], "k": {}, "et": 7, "s7": {"max_tries": 3, "trace": trace}});
    let payload = match codec.encode(&job).unwrap().0 {
        Form::Json(text) => Bytes::from(text),
        #[cfg(feature = "msgpack")]
        Form::MsgPack(bytes) => bytes,
        #[cfg(feature = "pickle")]
        Form::Pickle(part) => [b"\x80\x04", &part[..], b"."].concat().into(),
        #[cfg(any(feature = "msgpack", feature = "pickle"))]
        Form::Read(_) => unreachable!("it was written"),
    };
    let (_, envelope) = Codec::decode_job(&payload).unwrap_or_else(|error| panic!("{}", crate::error::Chain(&error)));
    assert_eq!(envelope.extra.max_tries, Some(3));
    envelope.extra.trace.map(|trace| *trace)
}

#[test]
fn a_context_comes_back_whole() {
    for codec in ALL {
        for state in [None, Some("vendor=a:1,other=b".into())] {
            let trace = Some(Box::new(Trace { parent: parent(), state }));
            let extra = Extra { trace, ..Extra::default() };
            let payload = codec.encode_job("inspect", NOW, &extra, &(1,)).unwrap();
            assert_eq!(Codec::decode_job(&payload).unwrap().1.extra, extra);
        }
        assert_eq!(
            read(*codec, &json!({"traceparent": PARENT, "else": [1]})),
            Some(Trace { parent: parent(), state: None })
        );
    }
    assert_eq!(parent().to_string(), PARENT);
}

#[test]
fn a_job_without_a_context_has_no_byte_of_it() {
    let payload = Codec::Json.encode_job("inspect", NOW, &Extra::default(), &(1,)).unwrap();
    assert_eq!(&payload[..], br#"{"t":null,"f":"inspect","a":[1],"k":{},"et":1795485916103}"#);
}

#[test]
fn what_is_no_parent_is_none() {
    let check = |text: &str, is_one| assert_eq!(TraceParent::parse(text).is_some(), is_one, "{text}");
    check(PARENT, true);
    check(&PARENT.replace("-01", "-00"), true);
    check(&PARENT.replace("00-", "cc-"), true); // of a later version
    check(&format!("cc{}-more", &PARENT[2..]), true);
    check(&format!("cc{}more", &PARENT[2..]), false);
    check(&format!("{PARENT}-more"), false);
    check(&PARENT.replace("00-", "ff-"), false);
    check(&PARENT.to_uppercase(), false);
    check(&PARENT.replace("b7ad6b7169203331", "0000000000000000"), false);
    check(&PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), false);
    check(&PARENT.replace('-', "_"), false);
    check(&PARENT[..54], false);
    check(&PARENT.replace("0af7", "+af7"), false);
    check(&PARENT.replace("01", "é"), false);
    check(&format!("cc{}-{}", &PARENT[2..], "x".repeat(500)), false); // too long
    check("", false);
}

#[test]
fn garbage_is_passed_over_in_every_codec() {
    let long = "x".repeat(100_000);
    for codec in ALL {
        for garbage in [
            json!(null),
            json!(true),
            json!(7),
            json!(-1.5),
            json!("text"),
            json!([1, [2, {"traceparent": PARENT}]]),
            json!({}),
            json!({"traceparent": null}),
            json!({"traceparent": [PARENT]}),
            json!({"traceparent": {"traceparent": PARENT}}),
            json!({"traceparent": long}),
            json!({"traceparent": "00-garbage"}),
            json!({"tracestate": "a=b"}),
        ] {
            assert_eq!(read(*codec, &garbage), None, "{}: {garbage:.80}", codec.name());
        }
        let long = json!({"traceparent": PARENT, "tracestate": long});
        assert_eq!(read(*codec, &long), Some(Trace { parent: parent(), state: None }), "the rest is good");
    }
}

/// JSON's own ways to be odd: numbers without end, half a character, levels.
#[test]
fn odd_json_is_passed_over() {
    for odd in
        ["1e999", r#""\ud800""#, r#"{"traceparent":"\ud800"}"#, r#"{"traceparent":1e999}"#, "NaN", &"[".repeat(100)]
    {
        let odd = format!("{odd}{}", "]".repeat(odd.matches('[').count()));
        let payload =
            format!(r#"{{"t":null,"f":"inspect","a":[],"k":{{}},"et":7,"s7":{{"trace":{odd},"max_tries":3}}}}"#);
        let payload = Bytes::from(payload);
        let (_, envelope) =
            Codec::decode_job(&payload).unwrap_or_else(|error| panic!("{odd}: {}", crate::error::Chain(&error)));
        assert_eq!((envelope.extra.trace, envelope.extra.max_tries), (None, Some(3)), "{odd}");
    }
}

/// A class of Python's, which no codec of ours makes a value of.
#[cfg(feature = "pickle")]
#[test]
fn an_object_is_passed_over() {
    let object = b"\x80\x04}(\x8c\x01tN\x8c\x01f\x8c\x03eat\x8c\x01a)\x8c\x01k}\x8c\x02etK\x07\x8c\x02s7}\x8c\x05trace\x8c\x02os\x8c\x06system\x93su.";
    let payload = Bytes::from_static(object);
    let (_, envelope) = Codec::decode_job(&payload).unwrap_or_else(|error| panic!("{}", crate::error::Chain(&error)));
    assert_eq!((&*envelope.task, envelope.extra), ("eat", Extra::default()));
}

proptest! {
    #[test]
    fn a_parent_is_read_as_it_is_written(trace_id in 1_u128.., span_id in 1_u64.., flags: u8) {
        let parent = TraceParent { trace_id, span_id, flags };
        prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
    }

    #[test]
    fn no_text_is_read_as_another(text in "[0-9a-f-]{50,60}|.{0,80}") {
        if let Some(parent) = TraceParent::parse(&text) {
            prop_assert_eq!(&parent.to_string()[2..], &text[2..55]);
        }
    }
}
