//! Bytes that no honest producer makes: a clear error or a marked place, at once, in little memory.

use super::*;

/// Reads a job whose argument is this, and says why it does not bind.
#[track_caller]
fn unfit(codec: Codec, argument: &[u8]) -> String {
    let payload = with_argument(codec, argument);
    let (_, envelope) = Codec::decode_job(&payload).unwrap_or_else(|error| panic!("{}", crate::error::Chain(&error)));
    assert_eq!(envelope.task, "echo", "the task is known all the same");
    let problem = bound::<Vec<u32>>(&envelope.arguments, "Vec<u32>").unwrap_err();
    let _ = envelope.arguments.display(&[Param::new("it", "")], 80);
    let failure = Failure::new(crate::job::FailureKind::Arguments, "x", 1, NOW);
    let record = record(codec, Some(&envelope.arguments), Err(&failure));
    assert!(record.len() < payload.len() + 10_000, "{} bytes are repeated as {}", payload.len(), record.len());
    problem
}

pub(super) fn with_argument(codec: Codec, argument: &[u8]) -> Bytes {
    let (before, after): (&[u8], &[u8]) = match codec {
        Codec::Json => (br#"{"f":"echo","a":["#, br#"],"k":{},"et":1}"#),
        #[cfg(feature = "msgpack")]
        Codec::MsgPack => (b"\x84\xa1f\xa4echo\xa1a\x91", b"\xa1k\x80\xa2et\x01"),
        #[cfg(feature = "pickle")]
        Codec::Pickle => (b"\x80\x04}(\x8c\x01f\x8c\x04echo\x8c\x01a", b"\x85\x8c\x01k}\x8c\x02etK\x01u."),
    };
    [before, argument, after].concat().into()
}

fn refused(payload: &[u8]) -> String {
    let error = Codec::decode_job(&Bytes::copy_from_slice(payload)).expect_err("it should not be read");
    crate::error::Chain(&error).to_string()
}

const DEEP: usize = 100_000;

#[test]
fn a_hundred_thousand_levels_in_json() {
    let deep = [b"[".repeat(DEEP), b"]".repeat(DEEP)].concat();
    assert!(unfit(Codec::Json, &deep).contains("invalid type: sequence, expected u32"));
}

#[test]
#[cfg(feature = "msgpack")]
fn a_hundred_thousand_levels_in_msgpack() {
    let deep = [&b"\x91".repeat(DEEP)[..], b"\xc0"].concat();
    assert!(unfit(Codec::MsgPack, &deep).contains("it holds more than 128 levels"));
    let deep = [&b"\x81\xa1a".repeat(DEEP)[..], b"\xc0"].concat();
    assert!(unfit(Codec::MsgPack, &deep).contains("it holds more than 128 levels"));
}

#[test]
#[cfg(feature = "pickle")]
fn a_hundred_thousand_levels_in_pickle() {
    for open in ["]", ")", "}", "\u{1}"] {
        let deep = match open {
            "]" => [b"]".repeat(DEEP), b"a".repeat(DEEP - 1)].concat(),
            ")" => [&b")"[..], &b"\x85".repeat(DEEP)].concat(),
            "}" => [b"}N".repeat(DEEP), b"Ns".to_vec(), b"s".repeat(DEEP - 1)].concat(),
            _ => [b"cos\nsystem\n)R".to_vec(), b")R".repeat(DEEP)].concat(),
        };
        assert!(unfit(Codec::Pickle, &deep).contains("it holds more than 128 levels"), "{open:?}");
    }
}

/// A list of a hundred levels, met again where there are twenty-seven already, and one more.
#[test]
#[cfg(feature = "pickle")]
fn levels_of_what_is_shared_are_counted_where_it_is_met() {
    let hundred = [&b"]".repeat(100)[..], &b"a".repeat(99), b"\x94"].concat();
    for (levels, problem) in [(27, "expected u32"), (28, "it holds more than 128 levels")] {
        let again = [&b"]".repeat(levels)[..], b"h\x00", &b"a".repeat(levels)].concat();
        let both = [&b"("[..], &hundred, &again, b"l"].concat();
        assert!(unfit(Codec::Pickle, &both).contains(problem), "{levels}");
        let alone = [&b"("[..], &b"]".repeat(levels + 100), &b"a".repeat(levels + 99), b"l"].concat();
        assert!(unfit(Codec::Pickle, &alone).contains(problem), "{levels}, not shared");
    }
}

/// Thirty lists, each with ten times the one before: 212 bytes for 10^30 values.
#[test]
#[cfg(feature = "pickle")]
fn sharing_bombs() {
    let mut bomb = b"N".to_vec();
    for place in 0_u8..30 {
        bomb.extend([b'q', place, b'0', b'(']);
        bomb.extend([b'h', place].repeat(10));
        bomb.push(b'l');
    }
    assert!(unfit(Codec::Pickle, &bomb).contains("it holds more than 1048576 values"));
    // Fewer of them make a value that may be read, and is written with a result as it came: shared.
    let end = bomb.iter().position(|byte| *byte == 5).unwrap() - 1;
    assert!(unfit(Codec::Pickle, &bomb[..end]).contains("invalid type: sequence, expected u32"));
    // A long text, met often.
    let text = [&b"X\x00\x00\x10\x00"[..], &b"x".repeat(1 << 20)].concat();
    let bomb = [b"(", &text[..], b"\x94", &b"h\x00".repeat(100), b"l"].concat();
    assert!(unfit(Codec::Pickle, &bomb).contains("it holds more than 64 MiB"));
    // The same text as module and name of many globals.
    let bomb = [b"(", &text[..], b"\x94", &b"h\x00h\x00\x93".repeat(100_000), b"l"].concat();
    assert!(unfit(Codec::Pickle, &bomb).contains("it holds more than 64 MiB"));
}

#[test]
#[cfg(feature = "pickle")]
fn too_many_values_in_pickle() {
    let count = (1 << 20) + 1;
    for many in [
        [&b"("[..], &b"N".repeat(count), b"l"].concat(),
        // What makes no value takes memory of the machine's own: marks, copies, places of the memo.
        b"(".repeat(count),
        [&b"N"[..], &b"2".repeat(count)].concat(),
        [&b"Nq\x00"[..], &b"h\x00".repeat(count)].concat(),
    ] {
        assert!(refused(&with_argument(Codec::Pickle, &many)).contains("more than 1048576 values"));
    }
    let memo = [&b"N"[..], &b"\x94".repeat(count)].concat();
    assert!(refused(&with_argument(Codec::Pickle, &memo)).contains("a place in the memo is too far"));
}

#[test]
#[cfg(feature = "msgpack")]
fn too_many_values_in_msgpack() {
    let many = [&b"\xdd\x00\x10\x00\x01"[..], &b"\xc0".repeat((1 << 20) + 1)].concat();
    assert!(unfit(Codec::MsgPack, &many).contains("it holds more than 1048576 values"));
}

#[test]
#[cfg(feature = "msgpack")]
fn lengths_beyond_the_end_in_msgpack() {
    for head in
        [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
    {
        assert!(refused(&with_argument(Codec::MsgPack, head)).contains("ends too soon"), "{head:?}");
    }
    assert!(refused(b"\xdf\xff\xff\xff\xff").contains("ends too soon"));
    assert!(refused(b"\x81\xa1a\xc1").contains("begins no value"));
    assert!(
        refused(&[&with_argument(Codec::MsgPack, b"\x01")[..], b"\xc0"].concat()).contains("1 bytes follow its end")
    );
}

#[test]
#[cfg(feature = "msgpack")]
fn what_msgpack_has_and_rust_has_not() {
    let problem = "argument `it` should be of type `Vec<u32>`: it holds ";
    let extension = "a MessagePack extension (type -1), which can't be read here";
    assert_eq!(unfit(Codec::MsgPack, b"\xd6\xff\0\0\0\0"), format!("{problem}{extension}"));
    assert_eq!(unfit(Codec::MsgPack, b"\xa2\xff\xfe"), format!("{problem}a text that is not UTF-8"));
}

#[test]
#[cfg(feature = "pickle")]
fn lengths_beyond_the_end_in_pickle() {
    for head in [
        &b"X\xff\xff\xff\xff"[..],
        b"B\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\xff\xff\xff\xff\0\0\0\0",
        b"\x8b\xff\xff\xff\xff",
    ] {
        assert!(refused(&with_argument(Codec::Pickle, head)).contains("ends too soon"), "{head:?}");
    }
}

#[test]
#[cfg(feature = "pickle")]
fn broken_pickles() {
    for (opcodes, problem) in [
        (&b"Nr\xff\xff\xff\xff"[..], "a place in the memo is too far"),
        (b"h\x07", "a place in the memo is empty"),
        (b"0000000", "its stack is empty"),
        (b"(0(\x85", "its stack is empty"),
        (b"NN1u1u", "it has no mark"),
        (b"u", "a key has no value"),
        (b"N(Ne", "items are added to what has none"),
        (b"](NNu", "entries are added to what has none"),
        (b"(NNNd", "a key has no value"),
        (b"NNb", "a state is given to what has none"),
        (b"NN\x93", "a name is no text"),
        (b"\xff", "is no opcode: 0xff"),
        (b"Pid\n", "it has a persistent id"),
        (b"\x97", "it has a buffer outside of the pickle"),
        (b"\x82\x01", "it has an extension's code"),
        (b"S'a'\n", "it has a text of Python 2"),
        (b"\x80\x06", "protocol 6"),
        (b"I1x\n", "an integer is none"),
        (b"Fx\n", "a float is none"),
        (b"I1", "a line has no end"),
    ] {
        let refusal = refused(&with_argument(Codec::Pickle, opcodes));
        assert!(refusal.contains(problem), "{opcodes:?}: {refusal}");
    }
    assert!(refused(b"\x80\x04K\x01.").contains("it is no dict"));
    assert!(refused(b"\x80\x04}.").contains("missing field `f`"));
}

#[test]
#[cfg(feature = "pickle")]
fn nothing_is_called() {
    let folder = std::env::temp_dir().join(format!("sector7g-never-{}", std::process::id()));
    let command = format!("cposix\nsystem\n(Vmkdir {}\ntR", folder.display());
    let problem = "it is an object of Python's class `posix.system`, which can't be read here";
    assert!(unfit(Codec::Pickle, command.as_bytes()).ends_with(problem));
    assert!(
        unfit(Codec::Pickle, b"cplant\nReactor\n")
            .ends_with("it is Python's `plant.Reactor` itself, which can't be read here")
    );
    assert!(unfit(Codec::Pickle, b"]q\x00h\x00a").ends_with("it holds a value that contains itself"));
    assert!(!folder.exists());
}

/// Every way in which a pickle can ask for code to be run, with what one would run: each is a place in a value, which
/// binds to nothing and is told by its class.
#[test]
#[cfg(feature = "pickle")]
fn nothing_is_called_by_any_opcode() {
    let folder = std::env::temp_dir().join(format!("sector7g-never-called-{}", std::process::id()));
    let command = format!("mkdir {}", folder.display());
    let text = [&[0x8c, u8::try_from(command.len()).unwrap()], command.as_bytes()].concat();
    for (module, name) in [
        ("posix", "system"),
        ("os", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "__import__"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("importlib", "import_module"),
        ("pty", "spawn"),
        ("runpy", "_run_code"),
        ("pickle", "loads"),
        ("operator", "methodcaller"),
        ("functools", "partial"),
        ("shutil", "rmtree"),
        ("ctypes", "CDLL"),
    ] {
        let global = format!("c{module}\n{name}\n").into_bytes();
        let short = |text: &str| [&[0x8c, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let stack_global = [&short(module)[..], &short(name), b"\x93"].concat();
        let class = format!("{}.{name}", module.replace("__builtin__", "builtins")); // Python 2's name for it
        for (way, opcodes) in [
            ("reduce", [&global[..], &text, b"\x85R"].concat()),
            ("reduce of a stacked global", [&stack_global[..], &text, b"\x85R"].concat()),
            ("new object", [&global[..], &text, b"\x85\x81"].concat()),
            ("new object with names", [&global[..], &text, b"\x85}\x92"].concat()),
            ("object", [&b"("[..], &global, &text, b"o"].concat()),
            ("instance", [&b"("[..], &text, format!("i{module}\n{name}\n").as_bytes()].concat()),
            ("reduce, then state", [&global[..], &text, b"\x85R}b"].concat()),
            ("reduce of a reduce", [&global[..], &text, b"\x85R", &text, b"\x85R"].concat()),
            ("items of an object", [&global[..], &text, b"\x85R", &text, b"a"].concat()),
        ] {
            let problem = unfit(Codec::Pickle, &opcodes);
            assert!(problem.contains(&class), "{class}, {way}: {problem}");
            assert!(problem.len() < 300, "{class}, {way}: {problem}");
            // In the place of a result, too.
            let result = [&b"\x80\x04}(\x8c\x01s\x88\x8c\x01r"[..], &opcodes, b"u."].concat();
            let _ = Codec::decode_result(&result).map(|result| result.value.map(|value| value.as_json().into_owned()));
        }
        // Of an extension's code nothing is known, a persistent id is nobody's.
        for opcodes in [&b"\x82\x01"[..], b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"Pid\n"] {
            refused(&with_argument(Codec::Pickle, opcodes));
        }
    }
    assert!(!folder.exists(), "nothing ran");
}

/// Impossible values of known classes are objects: Python would refuse to load them.
#[test]
#[cfg(feature = "pickle")]
fn impossible_dates_and_numbers() {
    for (opcodes, class) in [
        (&b"cdatetime\ndate\nC\x04\x07\xea\x02\x1e\x85R"[..], "datetime.date"),
        (b"cdatetime\ndate\nC\x04\0\0\x01\x01\x85R", "datetime.date"),
        (b"cdatetime\ndatetime\nC\x02\0\0\x85R", "datetime.datetime"),
        (b"cdatetime\ntime\nC\x06\x18\0\0\0\0\0\x85R", "datetime.time"),
        (b"cdatetime\ntimedelta\nK\0J\xff\xff\xff\xffK\0\x87R", "datetime.timedelta"),
        (b"cdatetime\ntimezone\ncdatetime\ntimedelta\nK\x01K\0K\0\x87R\x85R", "datetime.timezone"),
        (b"cdecimal\nDecimal\nX\x03\0\0\0abc\x85R", "decimal.Decimal"),
        (b"czoneinfo\nZoneInfo._unpickle\nX\x06\0\0\0No/Man\x88\x86R", "zoneinfo.ZoneInfo._unpickle"),
    ] {
        let problem = unfit(Codec::Pickle, opcodes);
        assert!(problem.contains(&format!("`{class}`")), "{class}: {problem}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for codec in ALL {
        let payload = job(*codec, &(vec![1_u64, 300, 1 << 40], "text".repeat(80), (1.5, Some(true), ())));
        let value = codec.encode(&"x").unwrap();
        let result = record(*codec, Some(&arguments(&payload)), Ok(&value));
        for whole in [payload, result] {
            for len in 0..whole.len() {
                let cut = whole.slice(..len);
                assert!(Codec::decode_job(&cut).is_err(), "{codec:?}, {len} of {} bytes", whole.len());
                assert!(Codec::decode_result(&cut).is_err(), "{codec:?}, {len} of {} bytes", whole.len());
            }
        }
    }
}

#[test]
fn what_is_in_no_codec_is_told_so() {
    for garbage in [&b""[..], b"\x01\x02garbage", b"null", b"\x80\x09"] {
        assert!(refused(garbage).contains("it is in no codec that is known here"), "{garbage:?}");
    }
    #[cfg(not(feature = "pickle"))]
    assert!(refused(b"\x80\x04}.").ends_with("built without the feature `pickle`, which it needs"));
    #[cfg(not(feature = "msgpack"))]
    assert!(refused(b"\x81\xa1a\xc0").ends_with("built without the feature `msgpack`, which it needs"));
}
