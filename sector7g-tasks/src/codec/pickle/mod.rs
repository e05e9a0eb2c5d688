//! Pickle, arq's default: written without memo and frames, read by a bounded machine that makes plain values.
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
use super::record::{self, Fields};
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
    record::read_job(fields(payload)?, None)
}

pub(super) fn decode_result(stored: &[u8]) -> Result<StoredResult, Problem> {
    record::read_result(fields(stored)?)
}

pub(super) fn queue_of_result(stored: &[u8]) -> Option<String> {
    record::queue_of_result(&fields(stored).ok()?)
}

/// Reads what [`encode`] wrote.
pub(super) fn value(part: &[u8]) -> Result<Value, Problem> {
    let heap = run(&[part, b"."].concat())?;
    Ok(Builder::new(&heap).entry(heap.root))
}

/// The entries of a payload: a dict with texts as keys.
fn fields(payload: &[u8]) -> Result<Fields, Problem> {
    let heap = run(payload)?;
    let entries = heap.root_entries().ok_or_else(|| Problem("it is no dict".to_owned()))?;
    let mut fields = Fields::default();
    for (key, value) in entries {
        if let Some(name) = heap.text(*key).filter(|name| Fields::has_room_for(name)) {
            fields.add(name, Builder::new(&heap).entry(*value));
        }
    }
    Ok(fields)
}
