//! Results of failed jobs: ours, and those of Python's workers.

use serde_json::json;

use super::*;
use crate::job::FailureKind;

const KINDS: [FailureKind; 12] = [
    FailureKind::Error,
    FailureKind::Permanent,
    FailureKind::Timeout,
    FailureKind::Panic,
    FailureKind::LeaseLost,
    FailureKind::MaxTries,
    FailureKind::Aborted,
    FailureKind::Expired,
    FailureKind::Payload,
    FailureKind::Arguments,
    FailureKind::UnknownTask,
    FailureKind::Result,
];

#[test]
fn our_own_come_back_whole() {
    for codec in ALL {
        for kind in KINDS {
            let mut failure = Failure::new(kind, "the core is hot", 2, NOW);
            failure.error_type = Some("plant::CoreError".to_owned());
            failure.causes = vec!["a valve".to_owned()];
            let ended = stored(&record(*codec, None, Err(&failure)));
            assert_eq!(ended.value.unwrap_err(), failure, "{codec:?}");
            assert_eq!((&*ended.task, ended.attempt), ("<unknown>", 2));
        }
    }
}

fn foreign(r: &serde_json::Value) -> Failure {
    let result = json!({
        "t": 1, "f": "echo", "a": [], "k": {}, "et": 1, "s": false, "r": r, "st": 2, "ft": 3, "q": "q", "id": "i",
    });
    let json = stored(result.to_string().as_bytes()).value.unwrap_err();
    #[cfg(feature = "msgpack")]
    {
        let packed = Codec::MsgPack.encode(&result).unwrap();
        let super::super::encoded::Form::MsgPack(packed) = packed.0 else { panic!("not packed") };
        assert_eq!(stored(&packed).value.unwrap_err(), json);
    }
    json
}

#[test]
fn those_of_fleets_that_store_text_are_read() {
    let told = |r| {
        let failure = foreign(&r);
        (failure.kind, failure.error_type, failure.message)
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(told(json!("too hot")), (FailureKind::Error, None, "too hot".to_owned()));
    assert_eq!(
        told(json!("unable to serialize result")),
        (FailureKind::Result, None, "unable to serialize result".to_owned())
    );
    assert_eq!(
        told(json!({"error": "ValueError", "message": "too hot"})),
        (FailureKind::Error, text("ValueError"), "too hot".to_owned())
    );
    assert_eq!(
        told(json!({"error": "CancelledError", "message": ""})),
        (FailureKind::Aborted, text("CancelledError"), "aborted".to_owned())
    );
    assert_eq!(told(json!({"error": "too hot"})), (FailureKind::Error, None, "too hot".to_owned()));
    assert_eq!(told(json!([1])), (FailureKind::Error, None, "[1]".to_owned()));
}
