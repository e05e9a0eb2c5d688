//! What options hold besides time spans and policies: names, counts, flags, schedules.

use syn::{Expr, Lit};

use crate::attr::{Scalar, literal, text};

/// The most bytes that the library takes as a name.
const LONGEST_NAME: usize = 512;

/// The name of a queue, a task or a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl Scalar for Name {
    const TAKES: &'static str = "a name in quotes, of 1 to 512 bytes and without control characters";

    fn read(value: &Expr) -> Result<Self, String> {
        name(text(value).ok_or_else(String::new)?).map(Self)
    }
}

pub(crate) fn name(name: String) -> Result<String, String> {
    match name.len() {
        0 => Err("it is empty".to_owned()),
        1..=LONGEST_NAME if name.chars().any(char::is_control) => Err("it has a control character".to_owned()),
        1..=LONGEST_NAME => Ok(name),
        length => Err(format!("it has {length} bytes")),
    }
}

/// A whole number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

impl Scalar for Count {
    const TAKES: &'static str = "a whole number, from 1";

    fn read(value: &Expr) -> Result<Self, String> {
        let Some((minus, Lit::Int(number))) = literal(value) else { return Err(String::new()) };
        if !number.suffix().is_empty() {
            return Err(format!("leave out the suffix `{}`", number.suffix()));
        }
        match number.base10_parse::<u32>() {
            _ if minus => Err(format!("`-{number}` is less")),
            Ok(0) => Err("`0` is less".to_owned()),
            Ok(count) => Ok(Self(count)),
            Err(_) => Err(format!("`{number}` is too large")),
        }
    }
}

/// How many partitions a queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partitions(pub(crate) u16);

impl Scalar for Partitions {
    const TAKES: &'static str = "a whole number, from 1 to 64";

    fn read(value: &Expr) -> Result<Self, String> {
        match Count::read(value)?.0 {
            count @ 1..=64 => Ok(Self(u16::try_from(count).map_err(|_| String::new())?)),
            count => Err(format!("`{count}` is more")),
        }
    }
}

/// A part of a whole, more than none of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(pub(crate) f64);

impl Scalar for Rate {
    const TAKES: &'static str = "a part of 1, above 0, such as `0.25`";

    fn read(value: &Expr) -> Result<Self, String> {
        let (minus, digits, suffix) = match literal(value) {
            Some((minus, Lit::Int(number))) => (minus, number.base10_digits(), number.suffix()),
            Some((minus, Lit::Float(number))) => (minus, number.base10_digits(), number.suffix()),
            _ => return Err(String::new()),
        };
        if !suffix.is_empty() {
            return Err(format!("leave out the suffix `{suffix}`"));
        }
        match digits.parse::<f64>() {
            Ok(rate) if !minus && rate > 0.0 && rate <= 1.0 => Ok(Self(rate)),
            Ok(rate) if !minus && rate > 1.0 => {
                Err(format!("`{digits}` is more than 1; {digits} % is `{}`", rate / 100.0))
            }
            _ => Err(format!("`{}{digits}` is less", if minus { "-" } else { "" })),
        }
    }
}

/// Yes or no; the key alone is a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl Scalar for Flag {
    const TAKES: &'static str = "`true` or `false`";

    fn read(value: &Expr) -> Result<Self, String> {
        match literal(value) {
            Some((false, Lit::Bool(flag))) => Ok(Self(flag.value)),
            _ => Err(String::new()),
        }
    }

    fn bare() -> Option<Self> {
        Some(Self(true))
    }
}

/// The rule of a schedule. Its form is checked here, its meaning when the runner starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cron(pub(crate) String);

impl Scalar for Cron {
    const TAKES: &'static str = "a schedule in quotes, of 5 fields (minute, hour, day, month, weekday: `\"*/5 * * * *\"`), \
                                 of 6 with seconds before them (`\"0 */5 * * * *\"`), or `\"@daily\"` and the like";

    fn read(value: &Expr) -> Result<Self, String> {
        let text = text(value).ok_or_else(String::new)?;
        match text.split_whitespace().count() {
            0 => Err("it is empty".to_owned()),
            _ if text.trim_start().starts_with('@') => Ok(Self(text)),
            5 | 6 => Ok(Self(text)),
            1 => Err("it has 1 field".to_owned()),
            fields => Err(format!("it has {fields} fields")),
        }
    }
}

/// A time zone's name. Whether there is such a zone shows when the runner starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone(pub(crate) String);

impl Scalar for Zone {
    const TAKES: &'static str = "the name of a time zone in quotes, such as `\"Europe/Berlin\"` or `\"UTC\"`";

    fn read(value: &Expr) -> Result<Self, String> {
        let text = text(value).ok_or_else(String::new)?;
        if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(Self(text)) }
    }
}

#[cfg(test)]
mod tests {
    use syn::{Expr, parse_quote};

    use super::{Count, Cron, Flag, Name, Rate, Zone};
    use crate::attr::Scalar;

    fn check<T: Scalar>(value: &Expr, expected: Result<(), &str>) {
        assert_eq!(T::read(value).map(|_| ()), expected.map_err(str::to_owned));
    }

    #[test]
    fn names_are_those_that_brokers_take() {
        check::<Name>(&parse_quote!("lenny"), Ok(()));
        check::<Name>(&parse_quote!("{lenny}:low prio"), Ok(()));
        check::<Name>(&parse_quote!(""), Err("it is empty"));
        check::<Name>(&parse_quote!("a\nb"), Err("it has a control character"));
        check::<Name>(&parse_quote!(lenny), Err(""));
        check::<Name>(&parse_quote!(b"lenny"), Err(""));
        let long = "é".repeat(257);
        check::<Name>(&parse_quote!(#long), Err("it has 514 bytes"));
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(Count::read(&parse_quote!(1)), Ok(Count(1)));
        assert_eq!(Count::read(&parse_quote!(1_000)), Ok(Count(1_000)));
        check::<Count>(&parse_quote!(0), Err("`0` is less"));
        check::<Count>(&parse_quote!(-3), Err("`-3` is less"));
        check::<Count>(&parse_quote!(4294967296), Err("`4294967296` is too large"));
        check::<Count>(&parse_quote!(3u8), Err("leave out the suffix `u8`"));
        check::<Count>(&parse_quote!(1.5), Err(""));
        check::<Count>(&parse_quote!("3"), Err(""));
    }

    #[test]
    fn rates_are_parts_of_one() {
        assert_eq!(Rate::read(&parse_quote!(0.25)), Ok(Rate(0.25)));
        assert_eq!(Rate::read(&parse_quote!(1)), Ok(Rate(1.0)));
        check::<Rate>(&parse_quote!(0), Err("`0` is less"));
        check::<Rate>(&parse_quote!(0.0), Err("`0.0` is less"));
        check::<Rate>(&parse_quote!(-0.5), Err("`-0.5` is less"));
        check::<Rate>(&parse_quote!(25), Err("`25` is more than 1; 25 % is `0.25`"));
        check::<Rate>(&parse_quote!(0.5f32), Err("leave out the suffix `f32`"));
        check::<Rate>(&parse_quote!(f64::NAN), Err(""));
        check::<Rate>(&parse_quote!("0.5"), Err(""));
    }

    #[test]
    fn flags() {
        assert_eq!(Flag::read(&parse_quote!(false)), Ok(Flag(false)));
        assert_eq!(Flag::bare(), Some(Flag(true)));
        check::<Flag>(&parse_quote!(1), Err(""));
        check::<Flag>(&parse_quote!("true"), Err(""));
    }

    #[test]
    fn schedules_have_five_or_six_fields() {
        check::<Cron>(&parse_quote!("*/5 * * * *"), Ok(()));
        check::<Cron>(&parse_quote!("0 */5 * * * *"), Ok(()));
        check::<Cron>(&parse_quote!("@daily"), Ok(()));
        check::<Cron>(&parse_quote!(" "), Err("it is empty"));
        check::<Cron>(&parse_quote!("daily"), Err("it has 1 field"));
        check::<Cron>(&parse_quote!("* * * *"), Err("it has 4 fields"));
        check::<Cron>(&parse_quote!("* * * * * * *"), Err("it has 7 fields"));
        check::<Cron>(&parse_quote!(5), Err(""));
    }

    #[test]
    fn zones_have_a_name() {
        check::<Zone>(&parse_quote!("Europe/Berlin"), Ok(()));
        check::<Zone>(&parse_quote!(""), Err("it is empty"));
        check::<Zone>(&parse_quote!(UTC), Err(""));
    }
}
