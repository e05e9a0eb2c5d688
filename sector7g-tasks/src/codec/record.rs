//! Jobs and results as dicts: what `MessagePack` and pickle have in common.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::arguments::{Raw, Repr, Tree};
use super::foreign::{self, Foreign};
use super::trace::Loose;
use super::value::{Reader, Value};
use super::write::{Kind, Sink, Writer, write};
use super::{
    Arguments, Encoded, Envelope, ExtraIn, FailureIn, FailureOut, Form, JobOut, Problem, ResultRecord, StoredResult,
    UNKNOWN_TASK,
};
use crate::args::JobArgs;
use crate::clock::Timestamp;
use crate::job::Failure;

/// A sink that takes over what is written already.
pub(super) trait Splice: Sink {
    fn positional(&mut self, arguments: &Arguments) -> Result<(), Problem>;
    fn named(&mut self, arguments: &Arguments) -> Result<(), Problem>;
    fn value(&mut self, value: &Form) -> Result<(), Problem>;
    /// What other readers find as the result of a failed job.
    fn failure(&mut self, failure: &Failure) -> Result<(), Problem>;
}

pub(super) fn write_job<S: Sink, A: JobArgs>(sink: &mut S, job: &JobOut<'_, A>) -> Result<(), Problem> {
    let count = if job.extra.is_empty() { 5 } else { 6 };
    let open = sink.open(Kind::Dict, Some(count))?;
    entry(sink, "t", &None::<u32>)?;
    entry(sink, "f", job.task)?;
    sink.text("a")?;
    job.args.positional(Writer::new(sink).into_tuple())?;
    sink.text("k")?;
    job.args.named(Writer::new(sink))?;
    entry(sink, "et", &job.enqueued_at)?;
    if !job.extra.is_empty() {
        entry(sink, "s7", job.extra)?;
    }
    sink.close(open, count)
}

pub(super) fn write_result<S: Splice>(sink: &mut S, record: &ResultRecord<'_>) -> Result<(), Problem> {
    let count = if record.value.is_ok() { 11 } else { 12 };
    let open = sink.open(Kind::Dict, Some(count))?;
    entry(sink, "t", &record.attempt)?;
    entry(sink, "f", record.job.map_or(UNKNOWN_TASK, |job| job.task))?;
    let none = Arguments::none();
    let arguments = record.job.map_or(&none, |job| job.arguments);
    sink.text("a")?;
    sink.positional(arguments)?;
    sink.text("k")?;
    sink.named(arguments)?;
    entry(sink, "et", &record.job.map_or(Timestamp::default(), |job| job.enqueued_at))?;
    entry(sink, "s", &record.value.is_ok())?;
    sink.text("r")?;
    match record.value {
        Ok(value) => sink.value(&value.0)?,
        Err(failure) => sink.failure(failure)?,
    }
    entry(sink, "st", &record.started_at)?;
    entry(sink, "ft", &record.finished_at)?;
    entry(sink, "q", record.queue)?;
    entry(sink, "id", record.id)?;
    if let Err(failure) = record.value {
        entry(sink, "s7", &FailureOut { failure })?;
    }
    sink.close(open, count)
}

fn entry<S: Sink, T: serde::Serialize + ?Sized>(sink: &mut S, name: &str, value: &T) -> Result<(), Problem> {
    sink.text(name)?;
    write(sink, value)
}

/// The entries that are read of a payload. Others, such as arq's `id`, are passed over.
pub(super) type Names = &'static [&'static str];

pub(super) const OF_JOB: Names = &["t", "f", "a", "k", "et", "s7"];

/// Not the arguments, which no one asks it for.
pub(super) const OF_RESULT: Names = &["t", "f", "et", "s", "r", "st", "ft", "q", "s7"];

pub(super) const QUEUE_OF_RESULT: Names = &["q"];

/// The entries of a payload, by name.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub(super) fn add(&mut self, name: &'static str, value: Value) {
        self.0.retain(|(other, _)| *other != name); // of two, the last
        self.0.push((name, value));
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    fn take(&mut self, name: &str) -> Result<Value, Problem> {
        let place = self.0.iter().position(|(other, _)| *other == name);
        place.map(|place| self.0.swap_remove(place).1).ok_or_else(|| missing(name))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, Problem> {
        let value = self.get(name).ok_or_else(|| missing(name))?;
        T::deserialize(Reader::new(value)).map_err(|Problem(problem)| Problem(format!("its `{name}`: {problem}")))
    }

    fn read_or_default<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Problem> {
        if self.get(name).is_some() { self.read(name) } else { Ok(T::default()) }
    }
}

fn missing(name: &str) -> Problem {
    Problem(format!("missing field `{name}`"))
}

pub(super) fn read_job(mut fields: Fields, raw: Option<Raw>) -> Result<Envelope<'static>, Problem> {
    let (task, enqueued_at) = (fields.read::<String>("f")?, fields.read("et")?);
    let (job_try, extra) = (fields.read_or_default("t")?, fields.read_or_default::<ExtraIn<Loose>>("s7")?);
    let extra = extra.with(|Loose(trace)| trace);
    let tree = Tree { positional: fields.take("a")?, named: fields.take("k")?, raw };
    let arguments = Arguments(Repr::Tree(tree.into()));
    Ok(Envelope { task: task.into(), job_try, enqueued_at, extra, arguments })
}

pub(super) fn read_result(mut fields: Fields) -> Result<StoredResult, Problem> {
    let (attempt, finished_at) = (fields.read_or_default("t")?, fields.read("ft")?);
    let ours: Option<FailureIn> = fields.read_or_default("s7")?;
    let stored = fields.take("r")?;
    let value = match (fields.read("s")?, ours) {
        (true, _) => Ok(Encoded(Form::Read(stored))),
        (false, Some(ours)) => Err(ours.failure),
        (false, None) => Err(foreign_failure(&stored).failure(attempt, finished_at)),
    };
    Ok(StoredResult {
        task: fields.read("f")?,
        attempt,
        enqueued_at: fields.read("et")?,
        started_at: fields.read("st")?,
        finished_at,
        value,
    })
}

pub(super) fn queue_of_result(fields: &Fields) -> Option<String> {
    fields.read("q").ok()
}

/// What Python put into `r`: an exception, or whatever its codec makes of one.
fn foreign_failure(stored: &Value) -> Foreign {
    let Value::Object(object) = stored else {
        return foreign::of_json(&stored.to_json());
    };
    let args = object.part("args").and_then(Value::items).unwrap_or_default();
    // As Python's `str` of an exception.
    let message = match args {
        [] => String::new(),
        [Value::Text(text)] => text.to_string(),
        [one] => one.to_string(),
        _ => Value::Tuple(Arc::new(args.to_vec())).to_string(),
    };
    let class = object.class.strip_prefix("builtins.").unwrap_or(&object.class);
    Foreign { error_type: Some(class.to_owned()), message }
}
