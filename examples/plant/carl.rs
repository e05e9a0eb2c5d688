//! Carl: inspects what others have done, compiles reports, hands over.

use std::io;
use std::time::Duration;

use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

use crate::charlie::write_shift_note;
use crate::plant::{BadFileName, Plant, Room, Stamp};
use crate::sim::instrument::Instrument;
use crate::sim::{checksum, files};
use crate::timeclock::{clock_in, clock_out};

/// Fifteen at once, like Lenny.
#[derive(Worker)]
#[worker(queue = "carl", max_jobs = 15, job_timeout = 300, on_job_start = clock_in, after_job_end = clock_out)]
pub struct Carl;

/// The flow meter of every coolant loop, kg/s.
pub const FLOW_METER: Instrument = Instrument { nominal: 120.0, spread: 3.0, failing: 0.25 };

/// Result of [`verify_report`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Verification {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub name: String,
    pub lines: usize,
    /// Charlie's job that notes it.
    pub noted_by: String,
}

/// Why a report could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Name(#[from] BadFileName),
    #[error("the report {name} could not be read")]
    Read {
        name: String,
        #[source]
        cause: io::Error,
    },
    #[error("the report {name} has the checksum {found}, not {expected}: somebody changed it")]
    Changed { name: String, expected: String, found: String },
    #[error("charlie could not be asked to note it")]
    HandOver(#[from] EnqueueError),
}

/// Checks that a report is as its author wrote it, and has Charlie note it.
#[task(queue = "carl", max_tries = 3, backoff = "linear(200ms)")]
pub async fn verify_report(
    ctx: &Context,
    State(plant): State<Plant>,
    name: String,
    sha256: String,
) -> Result<Verification, VerifyError> {
    let path = plant.file(Room::Reports, &name)?;
    let text =
        tokio::fs::read_to_string(path).await.map_err(|cause| VerifyError::Read { name: name.clone(), cause })?;
    let found = checksum::of(text.as_bytes());
    if found != sha256 {
        return Err(VerifyError::Changed { name, expected: sha256, found });
    }
    let note = write_shift_note::job("carl".to_owned(), format!("{name} is as it was written"));
    let noted_by = ctx.client().enqueue(note.id(format!("note-{}", ctx.job_id()))).await?.id().to_string();
    Ok(Verification { stamp: Stamp::ok(ctx.task()), name, lines: text.lines().count(), noted_by })
}

/// Result of [`inspect_coolant`].
#[derive(Debug, Serialize, Deserialize)]
pub struct CoolantInspection {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub circuit: u8,
    /// kg/s
    pub flow: f64,
}

/// Reads the flow of a coolant circuit. A faulty meter gets a moment to recover, which the task itself decides.
#[task(queue = "carl", max_tries = 6)]
pub async fn inspect_coolant(ctx: &Context, circuit: u8) -> Result<CoolantInspection, TaskError> {
    tokio::time::sleep(Duration::from_millis(30)).await; // the meter averages
    let reading = FLOW_METER.read(ctx.job_id().as_str(), ctx.attempt());
    let flow = reading.map_err(|fault| TaskError::retry_in(Duration::from_millis(150)).caused_by(fault))?;
    Ok(CoolantInspection { stamp: Stamp::when(flow > 117.2, ctx.task()), circuit, flow })
}

/// Result of [`compile_shift_report`].
#[derive(Debug, Serialize, Deserialize)]
pub struct ShiftReport {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub reports: usize,
    pub bytes: u64,
    /// One checksum for all of them.
    pub root: String,
}

/// Sums up all reports filed so far under one checksum.
#[task(queue = "carl", cron = "0 0 6,14,22 * * *", timezone = "America/New_York")]
pub fn compile_shift_report(ctx: &Context, State(plant): State<Plant>) -> Result<ShiftReport, io::Error> {
    let found = files::walk(&plant.room(Room::Reports))?;
    let sums = found.iter().map(|file| checksum::of_file(&file.path)).collect::<io::Result<Vec<_>>>()?;
    let bytes = sums.iter().map(|(_, length)| length).sum();
    let leaves: Vec<String> = sums.into_iter().map(|(sum, _)| sum).collect();
    Ok(ShiftReport { stamp: Stamp::ok(ctx.task()), reports: found.len(), bytes, root: checksum::root(&leaves) })
}

/// Result of [`hand_over`].
#[derive(Debug, Serialize, Deserialize)]
pub struct HandOver {
    #[serde(flatten)]
    pub stamp: Stamp,
    /// Charlie's jobs that note it, in order.
    pub notes: Vec<String>,
}

/// Hands a list of open points to the next shift: each becomes a note of its own.
#[task(queue = "carl")]
pub async fn hand_over(ctx: &Context, points: Vec<String>) -> Result<HandOver, EnqueueError> {
    let job =
        |(index, point)| write_shift_note::job("carl".to_owned(), point).id(format!("{}-point-{index}", ctx.job_id()));
    let handles = ctx.client().enqueue_all(points.into_iter().enumerate().map(job)).await?;
    let notes = handles.iter().map(|handle| handle.id().to_string()).collect();
    Ok(HandOver { stamp: Stamp::ok(ctx.task()), notes })
}
