//! The options of `#[worker(..)]`.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, Ident, LitInt, LitStr, Meta, Path, Result, Token};

use crate::attr::{
    Errors, Given, Scalar, Value, meant, options, parenthesized, read_options, text, unfit, whole_attribute,
};
use crate::duration::{Keep, Lease, Positive, Span, Window};
use crate::value::{self, Count, Cron, Name, Rate, Zone};

options! {
    /// What was given, as far as it is good.
    Slots {
        queue: Name,
        queues: Queues,
        order: Order,
        name: Name,
        max_jobs: Count,
        job_timeout: Positive,
        max_tries: Count,
        keep_result: Keep,
        poll_delay: Positive,
        health_check_interval: Positive,
        job_completion_wait: Span,
        lease: Lease,
        unknown_task_grace: Span,
        misfire_window: Span,
        max_payload_size: Count,
        max_result_size: Count,
        timezone: Zone,
        on_startup: StartHook,
        on_shutdown: StartHook,
        on_job_start: JobHook,
        on_job_end: EndHook,
        after_job_end: EndHook,
        alerts: Alerts,
        on_alert: AlertHook,
    }
    besides cron
}

/// What was given, and the schedules, of which there may be several.
#[derive(Default)]
pub(super) struct Options {
    pub(super) slots: Slots,
    pub(super) cron: Vec<CronJob>,
    has_queue_key: bool,
    has_alerts_key: bool,
}

impl Options {
    pub(super) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("worker")) {
            if let Meta::List(list) = &attr.meta {
                read_options(list.tokens.clone(), errors, |key, input| options.set(key, input));
            } else {
                errors.at(attr, "`#[worker]` is written `#[worker(queue = \"homer\")]`");
                options.has_queue_key = true;
            }
        }
        options.check(errors);
        options
    }

    fn set(&mut self, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        self.has_queue_key |= matches!(meant(key, Slots::KNOWN), Some("queue" | "queues"));
        self.has_alerts_key |= meant(key, Slots::KNOWN) == Some("alerts");
        if key != "cron" {
            return self.slots.set(key, input);
        }
        self.cron.push(CronJob::parse(key, input)?);
        Ok(())
    }

    /// Checks the options against each other.
    fn check(&self, errors: &mut Errors) {
        let Self { slots: Slots { queue, queues, order, on_alert, .. }, has_alerts_key, .. } = self;
        if !self.has_queue_key {
            let message = "`queue` is missing: say whose jobs it runs, as in `#[worker(queue = \"homer\")]`";
            errors.add(Error::new(whole_attribute(), message));
        }
        if let (Some(_), Some(Given { key, .. })) = (queue, queues) {
            errors.at(key, "a worker has `queue` or `queues`, not both");
        }
        if let (Some(Given { key, .. }), false) = (on_alert, *has_alerts_key) {
            errors.at(key, "`on_alert` is never called without a threshold, as in `alerts(depth = 1000)`");
        }
        match (order, queues) {
            (Some(Given { key, .. }), None) if queue.is_some() => {
                errors.at(key, "`order` is that of several queues, `queues(\"high\", \"low\")`");
            }
            (Some(Given { key, value: Order::Strict }), Some(queues)) if queues.value.weighted => {
                errors.at(key, "a strict order has no weights: leave them out, or order it `\"weighted\"`");
            }
            _ => {}
        }
    }

    /// The queues that it serves, with their weights; none where an error has told so.
    pub(super) fn shares(&self) -> Vec<(&str, u32)> {
        let one = self.slots.queue.iter().map(|given| (given.value.0.as_str(), 1));
        let several = self.slots.queues.iter().flat_map(|given| &given.value.list);
        one.chain(several.map(|(name, weight)| (name.as_str(), *weight))).collect()
    }

    /// Whether the queues are asked by weight.
    pub(super) fn weighted(&self) -> bool {
        match (&self.slots.order, &self.slots.queues) {
            (Some(order), _) => order.value == Order::Weighted,
            (None, queues) => queues.as_ref().is_some_and(|queues| queues.value.weighted),
        }
    }
}

/// Which queue is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Strict,
    Weighted,
}

impl Scalar for Order {
    const TAKES: &'static str = "`\"strict\"` (the first queue that has work) or `\"weighted\"` (by chance and weight)";

    fn read(value: &Expr) -> std::result::Result<Self, String> {
        match text(value).as_deref() {
            Some("strict") => Ok(Self::Strict),
            Some("weighted") => Ok(Self::Weighted),
            Some(other) => Err(format!("`{other}` is neither")),
            None => Err(String::new()),
        }
    }
}

/// `queues("high" = 3, "low" = 1)` or `queues("high", "low")`.
#[derive(Debug)]
pub(super) struct Queues {
    list: Vec<(String, u32)>,
    /// Whether the weights were given.
    weighted: bool,
}

impl Value for Queues {
    fn parse(key: &Ident, input: ParseStream<'_>) -> Result<Self> {
        let example = "queues(\"high\" = 3, \"low\" = 1)` or `queues(\"high\", \"low\")";
        let shares = parenthesized(key, input, example, Punctuated::<Share, Token![,]>::parse_terminated)?;
        let weighted = shares.iter().any(|share| share.weight.is_some());
        let mut list: Vec<(String, u32)> = Vec::new();
        for Share { name, weight } in shares {
            if list.iter().any(|(known, _)| *known == name.value()) {
                return Err(Error::new(name.span(), "this queue is given twice"));
            }
            if weighted && weight.is_none() {
                return Err(Error::new(name.span(), "the other queues have weights: give this one its own, `= 1`"));
            }
            list.push((name.value(), weight.unwrap_or(1)));
        }
        if list.is_empty() {
            Err(Error::new(key.span(), "`queues` needs one at least"))
        } else {
            Ok(Self { list, weighted })
        }
    }
}

/// One queue of several.
struct Share {
    name: LitStr,
    weight: Option<u32>,
}

impl Parse for Share {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let expected =
            |error: Error| Error::new(error.span(), "expected a queue's name in quotes, or `\"name\" = weight`");
        let name: LitStr = input.parse().map_err(expected)?;
        value::name(name.value())
            .map_err(|problem| Error::new(name.span(), format!("a queue needs a name: {problem}")))?;
        if input.is_empty() || input.peek(Token![,]) {
            return Ok(Self { name, weight: None });
        }
        input.parse::<Token![=]>().map_err(expected)?;
        let unfit = |span| Error::new(span, format!("a weight is {}", Count::TAKES));
        let weight: LitInt = input.parse().map_err(|error| unfit(error.span()))?;
        match weight.base10_parse::<u32>() {
            Ok(count @ 1..) => Ok(Self { name, weight: Some(count) }),
            _ => Err(unfit(weight.span())),
        }
    }
}

/// `cron(task, "0 */5 * * * *", timezone = "..")`.
pub(super) struct CronJob {
    pub(super) task: Path,
    pub(super) rule: String,
    pub(super) zone: Option<String>,
}

options! {
    /// What may stand behind the rule.
    CronOptions { timezone: Zone, }
}

impl Value for CronJob {
    fn parse(key: &Ident, input: ParseStream<'_>) -> Result<Self> {
        parenthesized(key, input, "cron(task, \"0 */5 * * * *\")", Self::parse_content)
    }
}

impl CronJob {
    fn parse_content(input: ParseStream<'_>) -> Result<Self> {
        let expected = |what| move |error: Error| Error::new(error.span(), format!("expected {what}"));
        let task = input.parse().map_err(expected("the path of a task and a schedule"))?;
        input.parse::<Token![,]>().map_err(expected("`,` and the schedule, `cron(task, \"0 */5 * * * *\")`"))?;
        let rule: Expr = input.parse().map_err(expected("the schedule, `\"0 */5 * * * *\"`"))?;
        let rule = Cron::read(&rule).map_err(|problem| Error::new_spanned(&rule, unfit::<Cron>("cron", &problem)))?;
        input.parse::<Option<Token![,]>>()?;
        let (mut options, mut errors) = (CronOptions::default(), Errors::default());
        read_options(input.parse()?, &mut errors, |key, input| options.set(key, input));
        errors.into_result()?;
        Ok(Self { task, rule: rule.0, zone: options.timezone.map(|given| given.value.0) })
    }
}

options! {
    /// The thresholds of `alerts(..)`.
    Thresholds {
        depth: Count,
        oldest_due: Positive,
        failure_rate: Rate,
        window: Window,
    }
}

/// `alerts(depth = 1000, oldest_due = "5m", failure_rate = 0.25, window = "10m")`.
pub(super) struct Alerts(pub(super) Thresholds);

impl Value for Alerts {
    fn parse(key: &Ident, input: ParseStream<'_>) -> Result<Self> {
        let example = "alerts(depth = 1000, oldest_due = \"5m\", failure_rate = 0.25, window = \"10m\")";
        let (mut options, mut errors) = (Thresholds::default(), Errors::default());
        parenthesized(key, input, example, |input| {
            read_options(input.parse()?, &mut errors, |key, input| options.set(key, input));
            Ok(())
        })?;
        errors.into_result()?;
        match &options {
            Thresholds { failure_rate: None, window: Some(window), .. } => {
                Err(Error::new(window.key.span(), "`window` is that of `failure_rate`, which is not given"))
            }
            Thresholds { depth: None, oldest_due: None, failure_rate: None, .. } => {
                let message = "`alerts` needs a threshold: `depth`, `oldest_due` or `failure_rate`";
                Err(Error::new(key.span(), message))
            }
            _ => Ok(Self(options)),
        }
    }
}

macro_rules! hooks {
    ($($Hook:ident: $takes:literal;)*) => {$(
        #[doc = concat!("The path of ", $takes)]
        pub(super) struct $Hook(pub(super) Path);

        impl Scalar for $Hook {
            const TAKES: &'static str = concat!("the path of ", $takes);

            fn read(value: &Expr) -> std::result::Result<Self, String> {
                match value {
                    Expr::Path(path) if path.qself.is_none() => Ok(Self(path.path.clone())),
                    Expr::Group(group) => Self::read(&group.expr),
                    _ => Err(String::new()),
                }
            }
        }
    )*};
}

hooks! {
    StartHook: "an `async fn(&WorkerContext)`";
    JobHook: "an `async fn(&Context)`";
    EndHook: "an `async fn(&Context, &JobEnd)`";
    AlertHook: "an `async fn(&WorkerContext, &Alert)`";
}
