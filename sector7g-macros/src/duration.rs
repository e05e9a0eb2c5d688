//! Time spans: seconds as a number, or text such as `"1h30m"`.

use std::time::Duration;

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::{Expr, Lit};

use crate::attr::{Scalar, literal, text};

/// Units of text, large to small, in milliseconds.
const UNITS: [(&str, u32); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A longer span is a slip, and nothing may overflow when it is added to a clock.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// A span of zero or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Scalar for Span {
    const TAKES: &'static str =
        "a time span, as seconds (`300`, `0.5`) or as text (`\"5m\"`, `\"1h30m\"`, `\"500ms\"`)";

    fn read(value: &Expr) -> Result<Self, String> {
        read(value).map(Self)
    }
}

/// A span of more than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positive(pub(crate) Duration);

impl Scalar for Positive {
    const TAKES: &'static str =
        "a time span above zero, as seconds (`300`, `0.5`) or as text (`\"5m\"`, `\"1h30m\"`, `\"500ms\"`)";

    fn read(value: &Expr) -> Result<Self, String> {
        match read(value)? {
            Duration::ZERO => Err("zero is too short".to_owned()),
            span => Ok(Self(span)),
        }
    }
}

/// A lease: shorter ones than a tenth of a second would end between two heartbeats of a busy machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease(pub(crate) Duration);

impl Scalar for Lease {
    const TAKES: &'static str =
        "a time span of at least 0.1 s, as seconds (`10`, `0.5`) or as text (`\"10s\"`, `\"500ms\"`)";

    fn read(value: &Expr) -> Result<Self, String> {
        let span = read(value)?;
        if span < Duration::from_millis(100) { Err(format!("{span:?} is too short")) } else { Ok(Self(span)) }
    }
}

/// A window over what was of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window(pub(crate) Duration);

impl Scalar for Window {
    const TAKES: &'static str =
        "a time span of at least 1 s, as seconds (`300`, `1.5`) or as text (`\"10m\"`, `\"90s\"`)";

    fn read(value: &Expr) -> Result<Self, String> {
        let span = read(value)?;
        if span < Duration::from_secs(1) { Err(format!("{span:?} is too short")) } else { Ok(Self(span)) }
    }
}

/// How long results are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    For(Duration),
    Forever,
}

impl Scalar for Keep {
    const TAKES: &'static str =
        "a time span, as seconds (`3600`) or as text (`\"1h\"`), or `false` for no result, or `\"forever\"`";

    fn read(value: &Expr) -> Result<Self, String> {
        match literal(value) {
            Some((false, Lit::Bool(kept))) if kept.value => Err("`true` does not say for how long".to_owned()),
            Some((false, Lit::Bool(_))) => Ok(Self::For(Duration::ZERO)),
            _ if text(value).as_deref() == Some("forever") => Ok(Self::Forever),
            _ => read(value).map(Self::For),
        }
    }
}

impl Keep {
    /// The expression that makes it.
    pub(crate) fn tokens(self) -> TokenStream {
        match self {
            Self::For(span) => {
                let span = tokens(span);
                quote!(__s7g::Keep::For(#span))
            }
            Self::Forever => quote!(__s7g::Keep::Forever),
        }
    }
}

fn read(value: &Expr) -> Result<Duration, String> {
    match literal(value) {
        Some((true, Lit::Int(_) | Lit::Float(_))) => Err("it can't be negative".to_owned()),
        Some((false, Lit::Int(number))) => seconds(number.base10_digits(), number.suffix()),
        Some((false, Lit::Float(number))) => seconds(number.base10_digits(), number.suffix()),
        Some((false, Lit::Str(text))) => parse(&text.value()),
        _ => Err(String::new()),
    }
}

fn seconds(digits: &str, suffix: &str) -> Result<Duration, String> {
    if UNITS.iter().any(|(unit, _)| *unit == suffix) {
        return Err(format!("a unit needs quotes, `\"{digits}{suffix}\"`"));
    }
    if !suffix.is_empty() {
        return Err(format!("leave out the suffix `{suffix}`"));
    }
    bounded(times(digits, 1_000)?)
}

/// Reads text: numbers with units, large units before small ones.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    let mut smaller = &UNITS[..];
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, char::is_alphabetic);
        let index = place(number, unit, rest, smaller)?;
        total = total.saturating_add(times(number, smaller[index].1)?);
        smaller = &smaller[index + 1..];
        rest = after.trim_start();
    }
    bounded(total)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Where `unit` stands among the units that may still come.
fn place(number: &str, unit: &str, rest: &str, smaller: &[(&str, u32)]) -> Result<usize, String> {
    if number.is_empty() {
        return Err(format!("there is no number at `{rest}`"));
    }
    if unit.is_empty() {
        return Err(format!("`{number}` has no unit (`d`, `h`, `m`, `s` or `ms`)"));
    }
    if !UNITS.iter().any(|(known, _)| *known == unit) {
        return Err(format!("`{unit}` is no unit (`d`, `h`, `m`, `s`, `ms` are)"));
    }
    let index = smaller.iter().position(|(known, _)| *known == unit);
    index.ok_or_else(|| format!("`{number}{unit}` stands behind a unit that is not larger"))
}

fn times(number: &str, millis: u32) -> Result<Duration, String> {
    if let Ok(whole) = number.parse::<u64>() {
        return Ok(Duration::from_millis(whole.saturating_mul(millis.into())));
    }
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    Ok(Duration::try_from_secs_f64(number * f64::from(millis) / 1_000.0).unwrap_or(Duration::MAX))
}

fn bounded(span: Duration) -> Result<Duration, String> {
    if span > LONGEST { Err("that is more than 100 years".to_owned()) } else { Ok(span) }
}

/// The expression that makes `span`.
pub(crate) fn tokens(span: Duration) -> TokenStream {
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    let whole = Literal::u64_unsuffixed(seconds);
    if nanos == 0 {
        return quote!(::core::time::Duration::from_secs(#whole));
    }
    if nanos.is_multiple_of(1_000_000) {
        let millis = Literal::u64_unsuffixed(seconds * 1_000 + u64::from(nanos / 1_000_000));
        return quote!(::core::time::Duration::from_millis(#millis));
    }
    let nanos = Literal::u32_unsuffixed(nanos);
    quote!(::core::time::Duration::new(#whole, #nanos))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use syn::{Expr, parse_quote};

    use super::{Keep, LONGEST, Lease, Positive, Span, UNITS, parse, tokens};
    use crate::attr::Scalar;

    fn check(value: &Expr, expected: Result<u64, &str>) {
        let got = Span::read(value).map(|span| u64::try_from(span.0.as_millis()).unwrap());
        assert_eq!(got, expected.map_err(str::to_owned));
    }

    #[test]
    fn numbers_are_seconds() {
        check(&parse_quote!(300), Ok(300_000));
        check(&parse_quote!(0), Ok(0));
        check(&parse_quote!(1_000), Ok(1_000_000));
        check(&parse_quote!(0.5), Ok(500));
        check(&parse_quote!(1e3), Ok(1_000_000));
        check(&parse_quote!(0x10), Ok(16_000));
    }

    #[test]
    fn text_has_units() {
        check(&parse_quote!("5m"), Ok(300_000));
        check(&parse_quote!("1h30m"), Ok(5_400_000));
        check(&parse_quote!("500ms"), Ok(500));
        check(&parse_quote!("1d"), Ok(86_400_000));
        check(&parse_quote!("90s"), Ok(90_000));
        check(&parse_quote!(" 1h 30m "), Ok(5_400_000));
        check(&parse_quote!("1.5h"), Ok(5_400_000));
        check(&parse_quote!("1m1s1ms"), Ok(61_001));
    }

    #[test]
    fn slips_are_named() {
        check(&parse_quote!(-5), Err("it can't be negative"));
        check(&parse_quote!(true), Err(""));
        check(&parse_quote!(TIMEOUT), Err(""));
        check(&parse_quote!(-"5m"), Err(""));
        check(&parse_quote!(5m), Err("a unit needs quotes, `\"5m\"`"));
        check(&parse_quote!(5u64), Err("leave out the suffix `u64`"));
        check(&parse_quote!(0.5f32), Err("leave out the suffix `f32`"));
        check(&parse_quote!(""), Err("it is empty"));
        check(&parse_quote!("300"), Err("`300` has no unit (`d`, `h`, `m`, `s` or `ms`)"));
        check(&parse_quote!("1h30"), Err("`30` has no unit (`d`, `h`, `m`, `s` or `ms`)"));
        check(&parse_quote!("m"), Err("there is no number at `m`"));
        check(&parse_quote!("-5m"), Err("there is no number at `-5m`"));
        check(&parse_quote!("5 minutes"), Err("`5` has no unit (`d`, `h`, `m`, `s` or `ms`)"));
        check(&parse_quote!("5min"), Err("`min` is no unit (`d`, `h`, `m`, `s`, `ms` are)"));
        check(&parse_quote!("1.2.3s"), Err("`1.2.3` is no number"));
        check(&parse_quote!("30m1h"), Err("`1h` stands behind a unit that is not larger"));
        check(&parse_quote!("1m1m"), Err("`1m` stands behind a unit that is not larger"));
        check(&parse_quote!("36501d"), Err("that is more than 100 years"));
        check(&parse_quote!(99999999999999999999), Err("that is more than 100 years"));
        check(&parse_quote!(1e300), Err("that is more than 100 years"));
    }

    #[test]
    fn some_spans_have_a_least() {
        assert_eq!(Positive::read(&parse_quote!("0s")), Err("zero is too short".to_owned()));
        assert_eq!(Positive::read(&parse_quote!(0.0)), Err("zero is too short".to_owned()));
        assert_eq!(Positive::read(&parse_quote!(1)), Ok(Positive(Duration::from_secs(1))));
        assert_eq!(Lease::read(&parse_quote!("99ms")), Err("99ms is too short".to_owned()));
        assert_eq!(Lease::read(&parse_quote!("100ms")), Ok(Lease(Duration::from_millis(100))));
    }

    #[test]
    fn results_are_kept_for_a_span_or_not_or_forever() {
        assert_eq!(Keep::read(&parse_quote!(false)), Ok(Keep::For(Duration::ZERO)));
        assert_eq!(Keep::read(&parse_quote!(0)), Ok(Keep::For(Duration::ZERO)));
        assert_eq!(Keep::read(&parse_quote!("1d")), Ok(Keep::For(Duration::from_hours(24))));
        assert_eq!(Keep::read(&parse_quote!("forever")), Ok(Keep::Forever));
        assert_eq!(Keep::read(&parse_quote!(true)), Err("`true` does not say for how long".to_owned()));
        assert_eq!(Keep::read(&parse_quote!("always")), Err("there is no number at `always`".to_owned()));
    }

    /// A span as text, in all units that it takes.
    fn written(span: Duration) -> String {
        let mut rest = u64::try_from(span.as_millis()).unwrap();
        let parts = UNITS.map(|(unit, ms)| {
            let number = rest / u64::from(ms);
            rest %= u64::from(ms);
            format!("{number}{unit}")
        });
        parts.concat()
    }

    /// What is wrong is quoted, unless it is all of the text.
    fn names_its_culprit(problem: &str, text: &str) -> bool {
        let whole = ["it is empty", "that is more than 100 years"];
        let quoted = problem.split('`').nth(1).unwrap_or_default();
        whole.contains(&problem) || !quoted.is_empty() && text.contains(quoted)
    }

    proptest! {
        #[test]
        fn a_written_span_is_read_back(ms in prop_oneof![0..100_000_u64, 0..u64::try_from(LONGEST.as_millis()).unwrap()]) {
            let span = Duration::from_millis(ms);
            prop_assert_eq!(parse(&written(span)), Ok(span));
            let number: Expr = syn::parse_str(&ms.to_string()).unwrap();
            let read = Span::read(&number);
            prop_assert!(read == Ok(Span(Duration::from_secs(ms))) || Duration::from_secs(ms) > LONGEST, "{:?}", read);
        }

        #[test]
        fn any_text_is_a_span_or_a_mistake_that_is_named(
            text in prop_oneof![
                ".{0,30}",
                r"-?([0-9.]{0,4}(d|h|m|s|ms|min|λ|٣|)[ \t\u{a0}]?){0,5}",
                "[0-9]{1,400}(d|h|m|s|ms)",
                r"[0-9]{0,400}\.[0-9]{0,400}(d|ms)",
                "[0-9]{1,9}",
            ],
        ) {
            let text = text.replace('`', "'"); // what is wrong is found by it
            match parse(&text) {
                Ok(span) => {
                    prop_assert!(span <= LONGEST);
                    let is_of_units = |c: char| c.is_ascii_digit() || c == '.' || c.is_whitespace() || "dhms".contains(c);
                    prop_assert!(text.chars().all(is_of_units) && text.contains(['d', 'h', 'm', 's']), "{text:?} is {span:?}");
                    let _ = tokens(span);
                }
                Err(problem) => prop_assert!(names_its_culprit(&problem, &text), "{:?}: {}", text, problem),
            }
        }

        #[test]
        fn any_number_is_a_span_or_a_mistake(digits in "[0-9_]{1,400}(\\.[0-9]{0,40})?(e-?[0-9]{1,5})?(u8|f64|s|ms|x)?") {
            let Ok(number) = syn::parse_str::<Expr>(&digits) else { return Ok(()) };
            match Span::read(&number) {
                Ok(Span(span)) => prop_assert!(span <= LONGEST),
                Err(problem) => prop_assert!(problem.len() < 1_000, "{}", problem),
            }
        }
    }

    #[test]
    fn expressions_are_short() {
        let text = |span| tokens(span).to_string().replace(' ', "");
        assert_eq!(text(Duration::from_mins(5)), "::core::time::Duration::from_secs(300)");
        assert_eq!(text(Duration::from_millis(1_500)), "::core::time::Duration::from_millis(1500)");
        assert_eq!(text(Duration::new(1, 5)), "::core::time::Duration::new(1,5)");
    }
}
