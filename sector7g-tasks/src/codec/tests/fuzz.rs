//! Bytes of nobody in particular: whatever they are, each reader of them ends with a value or an error.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::cases::cases;
use crate::job::FailureKind;

/// Jobs and results as honest programs write them, to be changed.
fn honest() -> Vec<Bytes> {
    let whole = (vec![1_u64, 300, 1 << 40], "text".repeat(80), (1.5, Some(true), ()), -7_i64);
    ALL.iter()
        .flat_map(|codec| {
            let job = job(*codec, &whole);
            let value = codec.encode(&(BTreeMap::from([("key", 1)]), "text", i64::MIN)).unwrap();
            let mut failure = Failure::new(FailureKind::Error, "broken", 3, NOW);
            failure.causes = vec!["cause".to_owned()];
            let given = arguments(&job);
            [job, record(*codec, Some(&given), Ok(&value)), record(*codec, Some(&given), Err(&failure))]
        })
        .collect()
}

/// One change of a payload.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// Repeats a part, so that what belongs together comes again elsewhere.
    Copy(Index, Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let odd = select(&[0_u8, 1, 0x7f, 0x80, 0x81, 0x9f, 0xc1, 0xde, 0xdf, 0xff, b'"', b'{', b'[', b'(', b'.'][..]);
        prop_oneof![
            (any::<Index>(), prop_oneof![odd, any::<u8>()]).prop_map(|(at, byte)| Self::Set(at, byte)),
            (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, new)| Self::Insert(at, new)),
            (any::<Index>(), 1..20_usize).prop_map(|(at, len)| Self::Remove(at, len)),
            (any::<Index>(), any::<Index>(), 1..40_usize).prop_map(|(from, to, len)| Self::Copy(from, to, len)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Set(at, byte) => *at.get_mut(bytes) = *byte,
            Self::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
            Self::Insert(at, new) => drop(bytes.splice(at.index(bytes.len()).., new.clone()).collect::<Vec<_>>()),
            Self::Remove(at, len) => {
                let at = at.index(bytes.len());
                bytes.drain(at..bytes.len().min(at + len));
            }
            Self::Copy(from, to, len) => {
                let from = from.index(bytes.len());
                let part = bytes[from..bytes.len().min(from + len)].to_vec();
                let to = to.index(bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
}

/// All that a worker, a client and whoever looks does with stored bytes.
fn look_at(payload: &Bytes) {
    if let Ok((codec, envelope)) = Codec::decode_job(payload) {
        let given = &envelope.arguments;
        let shown = given.display(&[Param::new("it", "")], 80);
        assert!(shown.len() <= 90, "{} bytes are shown", shown.len());
        let _ = bound::<Vec<u32>>(given, "Vec<u32>");
        let _ = bound::<String>(given, "String");
        let _ = bound::<serde_json::Value>(given, "Value");
        let _ = bound::<(i128, f64)>(given, "(i128, f64)");
        let _ = bound::<BTreeMap<String, Vec<Option<u8>>>>(given, "Map");
        let failure = Failure::new(FailureKind::Arguments, "it does not fit", 1, NOW);
        let written = record(codec, Some(given), Err(&failure));
        assert_eq!(stored(&written).value.unwrap_err().kind, FailureKind::Arguments, "what we write, we read");
    }
    if let Ok(result) = Codec::decode_result(payload) {
        match result.value {
            Ok(value) => {
                let _ = (value.as_json(), value.len(), value.decode::<Vec<u32>>().is_ok());
            }
            Err(failure) => assert!(failure.to_string().len() < 100_000),
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(Change::any(), 1..8)
}

/// Heads of `MessagePack`, with and without the length that they claim.
#[cfg(feature = "msgpack")]
fn msgpack() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![
        any::<u8>().prop_map(|head| vec![head]),
        (0xc4..=0xdf_u8, prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(head, rest)| [vec![head], rest].concat()),
        (0xa0..=0xbf_u8).prop_map(|head| [vec![head], vec![b'x'; usize::from(head & 0x1f)]].concat()),
    ];
    prop::collection::vec(head, 0..40).prop_map(|parts| parts.concat())
}

#[cfg(feature = "pickle")]
const GLOBALS: &[&[u8]] = &[
    b"cbuiltins\ngetattr\n",
    b"cposix\nsystem\n",
    b"cdatetime\ndatetime\n",
    b"cdatetime\ntimedelta\n",
    b"cdecimal\nDecimal\n",
    b"cuuid\nUUID\n",
    b"ccollections\nOrderedDict\n",
    b"c_codecs\nencode\n",
    b"cbuiltins\nset\n",
    b"ccopyreg\n_reconstructor\n",
    b"cbuiltins\nValueError\n",
];

/// Opcodes of pickle with arguments that fit them, more often than chance has it.
#[cfg(feature = "pickle")]
fn pickle() -> impl Strategy<Value = Vec<u8>> {
    let plain = select(&b"]})(ealtsud012NQRbo\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"[..]);
    let opcode = prop_oneof![
        6 => plain.prop_map(|code| vec![code]),
        2 => (select(&b"KqhMr"[..]), 0..4_u8).prop_map(|(code, place)| match code {
            b'M' => vec![code, place, 0],
            b'r' => vec![code, place, 0, 0, 0],
            _ => vec![code, place],
        }),
        2 => "[a-z_]{0,9}".prop_map(|text| [&[0x8c, u8::try_from(text.len()).unwrap_or(0)], text.as_bytes()].concat()),
        1 => select(GLOBALS).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| {
            [&[b'C', u8::try_from(bytes.len()).unwrap_or(0)], &bytes[..]].concat()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
            [&[0x8a, u8::try_from(bytes.len()).unwrap_or(0)], &bytes[..]].concat()
        }),
        1 => any::<u8>().prop_map(|code| vec![code]),
    ];
    prop::collection::vec(opcode, 0..80).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_change_of_honest_bytes(which in any::<Index>(), changes in changes()) {
        let honest = honest();
        let mut bytes = which.get(&honest).to_vec();
        for change in &changes {
            change.apply(&mut bytes);
        }
        look_at(&bytes.into());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), pick in 0_usize..4) {
        let starts: [&[u8]; 4] = [b"", b"\x80\x04}(", b"\x85\xa1f\xa1x\xa1a", b"{\"a\":"];
        look_at(&[starts[pick], &bytes].concat().into());
    }

    #[test]
    fn any_json(text in r#"([\[\]{},:" ]|"[afketr]{1,2}":|-?[0-9]{1,30}(\.[0-9]{1,9})?(e[+-]?[0-9]{1,4})?|null|true|"(\\u[0-9a-f]{3,4}|\\.|[^"\\])*"){0,30}"#) {
        look_at(&[br#"{"f":"echo","a":["#, text.as_bytes(), br#"],"k":{},"et":1}"#].concat().into());
        look_at(&[b"{", text.as_bytes()].concat().into());
    }

    #[test]
    #[cfg(feature = "msgpack")]
    fn any_msgpack(bytes in msgpack(), rest in msgpack()) {
        look_at(&[&b"\x84\xa1f\xa4echo\xa1a\x91"[..], &bytes, b"\xa1k\x80\xa2et\x01"].concat().into());
        look_at(&[&b"\x89\xa1s\xc3\xa1r"[..], &bytes, &rest].concat().into());
        look_at(&[&b"\x83"[..], &bytes, &rest].concat().into());
    }

    #[test]
    #[cfg(feature = "pickle")]
    fn any_pickle(opcodes in pickle(), result in any::<bool>()) {
        look_at(&[&b"\x80\x04}(\x8c\x01f\x8c\x04echo\x8c\x01a"[..], &opcodes, b"\x85\x8c\x01k}\x8c\x02etK\x01u."].concat().into());
        let head: &[u8] = if result { b"\x80\x04}(\x8c\x01s\x89\x8c\x01r" } else { b"\x80\x04}(" };
        look_at(&[head, &opcodes, b"u."].concat().into());
        if let Ok(value) = super::super::pickle::value(&[&opcodes[..], b"."].concat()) {
            let _ = (value.to_string(), value.to_json());
        }
    }
}
