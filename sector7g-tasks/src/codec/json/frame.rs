//! The frame of a stored job, read by hand: it is on every job's path, where what a derived reader takes more shows.
//!
//! It knows the layout that arq and we write, in whatever order and with whatever white space: arq's five fields and ours,
//! each once, names without escapes. Values are `serde_json`'s affair. Anything else is `None`, and read the long way.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::{Arguments, Envelope, ExtraIn, trace};
use super::Repr;
use crate::clock::Timestamp;

pub(super) fn decode_job(payload: &Bytes) -> Option<Envelope<'_>> {
    // At once for all of it: else each string in it is looked at by itself.
    let mut reader = Reader { text: std::str::from_utf8(payload).ok()?, at: 0 };
    let (mut task, mut job_try, mut positional, mut named, mut enqueued_at, mut extra) = Default::default();
    reader.skip(b'{')?;
    loop {
        reader.skip(b'"')?;
        match reader.rest() {
            [b't', b'"', ..] => {
                reader.field(1)?.skip_space()?;
                let value: Option<u32> = if reader.literal("null") { None } else { reader.value()? };
                once(&mut job_try, value)?;
            }
            [b'f', b'"', ..] => once(&mut task, reader.field(1)?.name()?)?,
            [b'a', b'"', ..] => once(&mut positional, reader.field(1)?.place()?)?,
            [b'k', b'"', ..] => once(&mut named, reader.field(1)?.place()?)?,
            [b'e', b't', b'"', ..] => once(&mut enqueued_at, reader.field(2)?.moment()?)?,
            [b's', b'7', b'"', ..] => once(&mut extra, reader.field(2)?.value::<ExtraIn<&RawValue>>()?)?,
            _ => return None,
        }
        match reader.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    if reader.next().is_some() {
        return None;
    }
    Some(Envelope {
        task: Cow::Borrowed(task?),
        job_try: job_try.flatten(),
        enqueued_at: enqueued_at?,
        extra: extra.unwrap_or_default().with(trace::of_json),
        arguments: Arguments(Repr::Json { payload: payload.clone(), positional: positional?, named: named? }),
    })
}

fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// On to the value of a field whose name has so many bytes.
    fn field(&mut self, name: usize) -> Option<&mut Self> {
        self.at += name + 1;
        self.skip(b':')?;
        Some(self)
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
        }
    }

    /// On to the next byte that is no white space.
    fn skip_space(&mut self) -> Option<()> {
        self.next()?;
        self.at -= 1;
        Some(())
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A text without escapes.
    fn name(&mut self) -> Option<&'a str> {
        self.skip(b'"')?;
        let (name, _) = self.text[self.at..].split_once('"')?;
        self.at += name.len() + 1;
        (!name.bytes().any(|byte| byte < b' ' || byte == b'\\')).then_some(name)
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }

    /// The next value, if it is written just so.
    fn literal(&mut self, text: &str) -> bool {
        let is_it = self.rest().starts_with(text.as_bytes());
        self.at += if is_it { text.len() } else { 0 };
        is_it
    }

    /// Milliseconds since the epoch: some digits, which end where no number goes on.
    fn moment(&mut self) -> Option<Timestamp> {
        const MOST_DIGITS: usize = 18; // of any that fit
        self.skip_space()?;
        let rest = self.rest();
        let count = rest.iter().take(MOST_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
        let is_usual = count > 0 && rest[0] != b'0' && matches!(rest.get(count), Some(b',' | b'}' | b' '));
        if !is_usual {
            return self.value();
        }
        self.at += count;
        let value = rest[..count].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        Some(Timestamp::from_millis(value))
    }

    /// Where the next value stands.
    fn place(&mut self) -> Option<Range<usize>> {
        self.skip_space()?;
        let start = self.at;
        if !self.literal("{}") {
            self.value::<IgnoredAny>()?;
        }
        Some(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::decode_any_job;
    use super::*;

    /// Payloads in our layout and in that of Python's `json.dumps`.
    const USUAL: [&str; 8] = [
        r#"{"t":null,"f":"eat","a":[],"k":{},"et":1,"s7":{"trace":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}}"#,
        r#"{"t":null,"f":"eat","a":[1,"two\n\u00e9",[{}]],"k":{"b":null,"c":-1.5e3},"et":1700000000000}"#,
        r#"{"t": 2, "f": "eat", "a": [], "k": {}, "et": 1700000000000}"#,
        r#"{"t":null,"f":"é","a":["é"],"k":{},"et":-1,"s7":{"max_tries":3,"tick":1700000000000}}"#,
        r#"{"t":4294967295,"f":"eat","a":[],"k":{},"et":9223372036854775807}"#,
        "\n{ \"et\" : 0 , \"k\" : { } , \"a\" : [ true ] , \"f\" : \"\" } \t\r\n",
        r#"{"f":"eat","a":"not a list","k":7,"et":1}"#,
        r#"{"f":"eat","a":[[[[[[[[]]]]]]]],"k":{"a":{"b":{}}},"et":1}"#,
    ];

    /// What a reader makes of a payload, to be compared.
    fn shown(envelope: &Envelope<'_>) -> String {
        let Envelope { task, job_try, enqueued_at, extra, arguments } = envelope;
        format!("{task:?} {job_try:?} {enqueued_at:?} {extra:?} {arguments:?}")
    }

    fn is_read_alike(payload: &[u8]) -> Result<bool, TestCaseError> {
        let payload = Bytes::copy_from_slice(payload);
        let Some(quick) = decode_job(&payload) else { return Ok(false) };
        let long = decode_any_job(&payload).map_err(|problem| TestCaseError::fail(problem.to_string()))?;
        prop_assert_eq!(shown(&quick), shown(&long));
        Ok(true)
    }

    #[test]
    fn the_usual_payloads_are_read_the_short_way() {
        for payload in USUAL {
            assert!(is_read_alike(payload.as_bytes()).expect("both read it alike"), "{payload}");
        }
    }

    #[test]
    fn what_needs_more_than_a_frames_reader_is_left_to_the_long_way() {
        let unusual = [
            r#"{"t":null,"f":"e\u0061t","a":[],"k":{},"et":1}"#, // a name with an escape
            "{\"t\":null,\"f\":\"e\nt\",\"a\":[],\"k\":{},\"et\":1}", // a bare line break in a text
            r#"{"t":null,"f":"eat","a":[],"k":{},"et":1,"x":2}"#, // a field of another's
            r#"{"t":null,"f":"eat","a":[NaN],"k":{},"et":1}"#,
            r#"{"f":"eat","f":"sleep","a":[],"k":{},"et":1}"#,
            r#"{"f":"eat","a":[],"k":{},"et":1}}"#,
            r#"{"f":"eat","a":[,],"k":{},"et":1}"#,
            r#"{"f":"eat","a":[],"k":{}}"#,
            r#"{"f":"eat","a":[],"k":{},"et":01}"#,
            r#"{"f":"eat","a":[],"k":{},"et":1.5}"#,
            r#"{"f":"eat","a":[],"k":{},"et":99999999999999999999}"#,
            r#"{"t":nullnull,"f":"eat","a":[],"k":{},"et":1}"#,
        ];
        for payload in unusual {
            assert!(decode_job(&Bytes::from_static(payload.as_bytes())).is_none(), "{payload}");
        }
    }

    proptest! {
        /// Whatever it reads, the long way reads just so; what is broken, it leaves to that.
        #[test]
        fn it_reads_nothing_that_the_long_way_does_not(
            which in 0..USUAL.len(),
            cuts in prop::collection::vec((any::<Index>(), any::<Index>(), 0..6_usize), 0..4),
            bytes in prop::collection::vec((any::<Index>(), prop::sample::select(&br#"{}[]:,"\tfaks7e0-.N x"#[..])), 0..4),
        ) {
            let mut payload = USUAL[which].as_bytes().to_vec();
            for (at, byte) in bytes {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            for (from, to, length) in cuts {
                // Some of it once more, at another place: fields come twice, brackets don't match.
                let (from, to) = (from.index(payload.len()), to.index(payload.len()));
                let piece: Vec<u8> = payload[from..].iter().copied().take(length * 8).collect();
                payload.splice(to..to, piece);
            }
            is_read_alike(&payload)?;
        }
    }
}
