//! The text of `backoff = ".."`: `fixed(10s)`, `linear(10s, max = 2m)`, `exponential(1s, factor = 3)`.

use std::time::Duration;

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::Expr;

use crate::attr::{Scalar, did_you_mean, text};
use crate::duration;

const POLICIES: [&str; 3] = ["fixed", "linear", "exponential"];

/// The first delay of a policy that names none.
const FIRST: Duration = Duration::from_secs(1);

/// A retry policy, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Backoff {
    policy: &'static str,
    first: Duration,
    max: Option<Duration>,
    factor: Option<f64>,
    jitter: Option<f64>,
}

impl Scalar for Backoff {
    const TAKES: &'static str = "a policy in quotes, such as `\"fixed(10s)\"`, `\"linear(10s, max = 2m)\"` or \
                                 `\"exponential(1s, max = 5m, factor = 3, jitter = 0.5)\"`";

    fn read(value: &Expr) -> Result<Self, String> {
        parse(&text(value).ok_or_else(String::new)?)
    }
}

fn parse(text: &str) -> Result<Backoff, String> {
    let text = text.trim();
    let (name, settings) = match text.split_once('(') {
        Some((name, rest)) => (name.trim_end(), rest.strip_suffix(')').ok_or("its `(` is not closed at the end")?),
        None => (text, ""),
    };
    let mut backoff = named(name)?;
    // A comma may end the list.
    let settings = settings.trim().strip_suffix(',').unwrap_or(settings).trim();
    if !settings.is_empty() {
        for (index, setting) in settings.split(',').map(str::trim).enumerate() {
            backoff.set(index, setting)?;
        }
    }
    backoff.check()
}

fn named(name: &str) -> Result<Backoff, String> {
    let policy = POLICIES.into_iter().find(|known| *known == name).ok_or_else(|| {
        let hint = did_you_mean(name, &POLICIES).map(|known| format!(", did you mean `{known}`?")).unwrap_or_default();
        format!("`{name}` is no policy{hint}")
    })?;
    Ok(Backoff { policy, first: FIRST, max: None, factor: None, jitter: None })
}

impl Backoff {
    fn settings(self) -> &'static [&'static str] {
        match self.policy {
            "exponential" => &["max", "factor", "jitter"],
            _ => &["max", "jitter"],
        }
    }

    fn set(&mut self, index: usize, setting: &str) -> Result<(), String> {
        let Some((key, value)) = setting.split_once('=') else {
            if index > 0 {
                return Err(format!("only the first delay stands without a name, not `{setting}`"));
            }
            self.first = duration::parse(setting)?;
            return Ok(());
        };
        let (key, value) = (key.trim(), value.trim());
        let known = self.settings();
        if !known.contains(&key) {
            let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(format!("`{}` has no setting `{key}`, only: {list}", self.policy));
        }
        match key {
            "max" => once(&mut self.max, key, duration::parse(value)?),
            "factor" => once(&mut self.factor, key, number(key, value, 1.0, 1_000.0)?),
            _ => once(&mut self.jitter, key, number(key, value, 0.0, 1.0)?),
        }
    }

    fn check(self) -> Result<Self, String> {
        if self.first.is_zero() && self.policy != "fixed" {
            return Err(format!("a first delay of zero would never grow under `{}`", self.policy));
        }
        match self.max {
            Some(max) if max < self.first => {
                Err(format!("its `max` {max:?} is shorter than its first delay {:?}", self.first))
            }
            _ => Ok(self),
        }
    }

    /// The expression that makes the policy.
    pub(crate) fn tokens(self) -> TokenStream {
        let policy = format_ident!("{}", self.policy);
        let first = duration::tokens(self.first);
        let max = self.max.map(duration::tokens).map(|max| quote!(.max(#max)));
        let factor = self.factor.map(Literal::f64_unsuffixed).map(|factor| quote!(.factor(#factor)));
        let jitter = self.jitter.map(Literal::f64_unsuffixed).map(|jitter| quote!(.jitter(#jitter)));
        quote!(__s7g::RetryPolicy::#policy(#first) #max #factor #jitter)
    }
}

fn once<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        Some(_) => Err(format!("`{key}` is given twice")),
        None => Ok(()),
    }
}

fn number(key: &str, value: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = value.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("its `{key}` goes from {least} to {most}, so it can't be `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(text: &str, expected: Result<&str, &str>) {
        let got = parse(text).map(|backoff| backoff.tokens().to_string().replace(' ', ""));
        let short =
            got.map(|tokens| tokens.replace("__s7g::RetryPolicy::", "").replace("::core::time::Duration::", ""));
        assert_eq!(short, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn policies() {
        check("fixed(10s)", Ok("fixed(from_secs(10))"));
        check("fixed(0s)", Ok("fixed(from_secs(0))"));
        check("fixed", Ok("fixed(from_secs(1))"));
        check("linear(10s, max = 2m)", Ok("linear(from_secs(10)).max(from_secs(120))"));
        check("exponential", Ok("exponential(from_secs(1))"));
        check("exponential()", Ok("exponential(from_secs(1))"));
        check("exponential(max = 5m)", Ok("exponential(from_secs(1)).max(from_secs(300))"));
        check(
            " exponential ( 500ms , jitter=0.5,factor = 3, max=5m, ) ",
            Ok("exponential(from_millis(500)).max(from_secs(300)).factor(3.0).jitter(0.5)"),
        );
    }

    #[test]
    fn slips_are_named() {
        check("", Err("`` is no policy"));
        check("expnential(1s)", Err("`expnential` is no policy, did you mean `exponential`?"));
        check("never", Err("`never` is no policy"));
        check("fixed(10s", Err("its `(` is not closed at the end"));
        check("fixed(10s) ok", Err("its `(` is not closed at the end"));
        check("fixed(10)", Err("`10` has no unit (`d`, `h`, `m`, `s` or `ms`)"));
        check("fixed(10s, 20s)", Err("only the first delay stands without a name, not `20s`"));
        check("fixed(10s,, max = 1m)", Err("only the first delay stands without a name, not ``"));
        check("fixed(10s, factor = 2)", Err("`fixed` has no setting `factor`, only: `max`, `jitter`"));
        check("linear(10s, maximum = 2m)", Err("`linear` has no setting `maximum`, only: `max`, `jitter`"));
        check("linear(0s)", Err("a first delay of zero would never grow under `linear`"));
        check("linear(2m, max = 10s)", Err("its `max` 10s is shorter than its first delay 120s"));
        check("exponential(1s, max = 5m, max = 6m)", Err("`max` is given twice"));
        check("exponential(1s, factor = 0.5)", Err("its `factor` goes from 1 to 1000, so it can't be `0.5`"));
        check("exponential(1s, factor = NaN)", Err("its `factor` goes from 1 to 1000, so it can't be `NaN`"));
        check("exponential(1s, jitter = 2)", Err("its `jitter` goes from 0 to 1, so it can't be `2`"));
        check("exponential(1s, jitter = some)", Err("its `jitter` goes from 0 to 1, so it can't be `some`"));
    }
}
