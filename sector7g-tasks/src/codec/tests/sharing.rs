//! What a pickle holds once and meets often: made once, written once, counted each time.

use std::sync::Arc;

use super::hostile::with_argument;
use super::*;
use crate::codec::arguments::Repr;
use crate::codec::value::Value;
use crate::job::FailureKind;

fn recorded(payload: &[u8]) -> Bytes {
    let failure = Failure::new(FailureKind::Arguments, "x", 1, NOW);
    record(Codec::Pickle, Some(&arguments(payload)), Err(&failure))
}

/// A list of what `before` makes, and of `again` so many times.
fn list(before: &[u8], again: &[u8], times: usize) -> Bytes {
    with_argument(Codec::Pickle, &[b"(", before, &again.repeat(times), b"l"].concat())
}

#[test]
fn what_entries_share_is_made_once() {
    let payload =
        b"\x80\x04}(\x8c\x01f\x8c\x04echo\x8c\x01a](K\x01K\x02e\x94\x85\x8c\x01k}\x8c\x01xh\x00s\x8c\x02etK\x01u.";
    let Repr::Tree(tree) = arguments(payload).0 else { panic!("it is read") };
    let Value::Dict(named) = &tree.named else { panic!("they are named") };
    let (Value::List(first), Value::List(second)) = (&tree.positional.items().unwrap()[0], &named[0].1) else {
        panic!("both are lists")
    };
    assert!(Arc::ptr_eq(first, second));
}

/// Under one name, the same list again and again: if each were made, and dropped for the next, it would take minutes.
#[test]
fn of_an_entry_that_comes_again_only_the_last_is_made() {
    const MANY: usize = 120_000;
    let list = [&b"("[..], &b"N".repeat(MANY), b"l\x94"].concat();
    let head = b"\x80\x04}(\x8c\x01f\x8c\x04echo\x8c\x01k}\x8c\x02etK\x01\x8c\x01a\x94";
    let payload = [&head[..], &list, &b"h\x00h\x01".repeat(MANY), b"u."].concat();
    let Repr::Tree(tree) = arguments(&payload).0 else { panic!("it is read") };
    assert_eq!(tree.positional.items().unwrap().len(), MANY);
}

/// All entries are held at once, so they are counted together; what is no argument is read all the same.
#[test]
fn entries_are_counted_together() {
    let nones = [&b"(N\x94"[..], &b"h\x00".repeat(699_999), b"t"].concat();
    let named = [&b"}\x8c\x02it("[..], &b"h\x00".repeat(700_000), b"ts"].concat();
    let head = b"\x80\x04}(\x8c\x01f\x8c\x04echo\x8c\x01a";
    let payload = [&head[..], &nones, b"\x8c\x01k", &named, b"\x8c\x02etK\x01u."].concat();
    let array = [&b"\xdd"[..], &700_000_u32.to_be_bytes(), &b"\xc0".repeat(700_000)].concat();
    let packed = [b"\x84\xa1f\xa4echo\xa1a", &array[..], b"\xa1k\x81\xa2it", &array, b"\xa2et\x01"].concat();
    for payload in [payload, packed] {
        let Repr::Tree(tree) = arguments(&payload).0 else { panic!("it is read") };
        assert_eq!(tree.positional.items().unwrap().len(), 700_000);
        assert_eq!(tree.named.to_string(), "<more than 1048576 values>");
    }
}

/// Long values, and many: a record of them is no longer than the payload.
#[test]
fn what_is_long_and_shared_is_written_once() {
    let long = b"1".repeat(33_000);
    let len = u32::try_from(long.len()).unwrap().to_le_bytes();
    let wide = u64::try_from(long.len()).unwrap().to_le_bytes();
    let delta = b"cdatetime\ntimedelta\nK\x00K\x00K\x00\x87R";
    for (name, before, again) in [
        ("text", [b"X", &len[..], &long, b"\x94"].concat(), &b"h\x00"[..]),
        ("bytes", [b"B", &len[..], &long, b"\x94"].concat(), b"h\x00"),
        ("bytearray", [b"\x96", &wide[..], &long, b"\x94"].concat(), b"h\x00"),
        ("called bytearray", [b"cbuiltins\nbytearray\nB", &len[..], &long, b"\x85R\x94"].concat(), b"h\x00"),
        ("encoded", [b"c_codecs\nencode\n\x94X", &len[..], &long, b"\x8c\x06latin1\x86\x94"].concat(), b"h\x00h\x01R"),
        ("integer", [b"\x8b", &len[..], &long, b"\x94"].concat(), b"h\x00"),
        ("decimal", [b"cdecimal\nDecimal\nX", &len[..], &long, b"\x85R\x94"].concat(), b"h\x00"),
        ("zone", [b"cdatetime\ntimezone\n", &delta[..], b"X", &len, &long, b"\x86R\x94"].concat(), b"h\x00"),
        ("class", [b"c", &long[..], b"\nx\n\x94"].concat(), b"h\x00"),
        ("stacked class", [b"X", &len[..], &long, b"\x94"].concat(), b"h\x00h\x00\x93"),
        ("object", [b"c", &long[..], b"\nx\n\x94"].concat(), b"h\x00)\x81"),
        ("key", [b"(", &b"\x8c\x01\x01".repeat(11_000)[..], b"l\x94"].concat(), b"}h\x00Ns"),
    ] {
        let payload = list(&before, again, 1_000);
        let record = recorded(&payload);
        assert!(record.len() < 2 * payload.len() + 1_000, "{name}: {} as {}", payload.len(), record.len());
    }
}

/// Small values, and many: what is written is a small multiple.
#[test]
fn what_is_small_and_shared_is_written_shortly() {
    let hours = b"cdatetime\ntimedelta\nJ\x40\x42\x0f\x00J\x00\x00\x01\x00J\x00\x00\x01\x00\x87R";
    let zone = b"cdatetime\ntimezone\ncdatetime\ntimedelta\nK\x00M\x58\x02K\x00\x87R\x85R";
    for (name, before, again, most) in [
        ("empty lists", &b""[..], &b"]2"[..], 2),
        ("lists of one", b"", b"]Na2", 3),
        ("tuples of one", b"", b"N\x852", 4),
        ("calls of a tuple", b"", b")2R", 2),
        ("integers", b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40", b"2", 11),
        ("times", b"cdatetime\ntime\nC\x06\x01\x02\x03\x04\x05\x06\x85R", b"2", 3),
        ("dates", b"cdatetime\ndate\nC\x04\x07\xea\x01\x1f\x85R", b"2", 11),
        ("spans", hours, b"2", 20),
        ("zones", zone, b"2", 3),
        ("objects", b"cplant\nReactor\n)\x81", b"2", 3),
    ] {
        let payload = list(before, again, 10_000);
        let record = recorded(&payload);
        assert!(record.len() < most * payload.len() + 1_000, "{name}: {} as {}", payload.len(), record.len());
    }
}
