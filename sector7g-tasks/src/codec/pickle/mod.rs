//! Pickle, arq's default: written without frames, with a memo only for what was read as shared; read by a bounded machine
//! that makes plain values.
//!
//! Nothing is ever executed: a global is a name, a call of one is either in the table in `build` or an
//! object that is told but not made.

mod build;
mod machine;
mod write;

use bytes::Bytes;
use serde::Serialize;

use self::build::Builder;
use self::machine::run;
use self::write::Pickler;
use super::record::{self, Fields, Names};
use super::value::Value;
use super::write::write;
use super::{Envelope, JobOut, Problem, ResultRecord, StoredResult};
use crate::args::JobArgs;

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Problem> {
    let mut out = Pickler::part();
    write(&mut out, value)?;
    Ok(out.into_part())
}

pub(super) fn encode_job<A: JobArgs>(job: &JobOut<'_, A>) -> Result<Bytes, Problem> {
    let mut out = Pickler::whole();
    record::write_job(&mut out, job)?;
    Ok(out.into_whole())
}

pub(super) fn encode_result(result: &ResultRecord<'_>) -> Result<Bytes, Problem> {
    let mut out = Pickler::whole();
    record::write_result(&mut out, result)?;
    Ok(out.into_whole())
}

pub(super) fn decode_job(payload: &[u8]) -> Result<Envelope<'static>, Problem> {
    record::read_job(fields(payload, record::OF_JOB)?, None)
}

pub(super) fn decode_result(stored: &[u8]) -> Result<StoredResult, Problem> {
    record::read_result(fields(stored, record::OF_RESULT)?)
}

pub(super) fn queue_of_result(stored: &[u8]) -> Option<String> {
    record::queue_of_result(&fields(stored, record::QUEUE_OF_RESULT).ok()?)
}

/// Reads what [`encode`] wrote.
pub(super) fn value(part: &[u8]) -> Result<Value, Problem> {
    let mut heap = run(&[part, b"."].concat())?;
    let root = heap.root;
    Ok(Builder::new(&mut heap).entry(root))
}

/// The entries of a payload, a dict with texts as keys, that have one of `names`.
fn fields(payload: &[u8], names: Names) -> Result<Fields, Problem> {
    let mut heap = run(payload)?;
    let entries = heap.root_entries().ok_or_else(|| Problem("it is no dict".to_owned()))?;
    // Of two, the last: none is made in vain.
    let mut last = vec![None; names.len()];
    for (key, value) in entries {
        if let Some(place) = heap.text(*key).and_then(|key| names.iter().position(|name| *name == key)) {
            last[place] = Some(*value);
        }
    }
    let mut fields = Fields::default();
    let mut builder = Builder::new(&mut heap);
    for (name, value) in names.iter().zip(last) {
        if let Some(value) = value {
            fields.add(name, builder.entry(value));
        }
    }
    Ok(fields)
}
