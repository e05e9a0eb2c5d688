//! Lenny: diagnostics, inspections and reports. Mostly waits for instruments and disks.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

use crate::carl::verify_report;
use crate::homer::Depth;
use crate::plant::{BadFileName, Plant, Room, Stamp};
use crate::sim::chance::Chance;
use crate::sim::instrument::{Fault, Instrument};
use crate::sim::sorting::{self, Numbers};
use crate::sim::{checksum, real, vibration};
use crate::timeclock::{clock_in, clock_out};

/// Fifteen at once: he waits for most of them anyway. When his work piles up, or most of it fails, the siren tells.
#[derive(Worker)]
#[worker(
    queue = "lenny",
    max_jobs = 15,
    job_timeout = 300,
    on_job_start = clock_in,
    after_job_end = clock_out,
    alerts(depth = 1_000, oldest_due = "1m", failure_rate = 0.5, window = "1m"),
    on_alert = sound_siren
)]
pub struct Lenny;

/// Writes every alert, and its end, into the siren's log, which the control room reads.
async fn sound_siren(worker: &WorkerContext, alert: &Alert) -> Result<(), io::Error> {
    let plant = worker.state::<Plant>().ok_or_else(|| io::Error::other("lenny has no plant to warn"))?;
    let mut log = fs::OpenOptions::new().create(true).append(true).open(plant.room(Room::Logs).join("siren.log"))?;
    writeln!(log, "{} {alert}", alert.at)
}

/// The thermometer of every reactor, °C. Its contact is loose.
pub const THERMOMETER: Instrument = Instrument { nominal: 280.0, spread: 6.0, failing: 0.2 };

/// Result of [`inspect_reactor`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Inspection {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub reactor: u8,
    /// °C
    pub coolant: f64,
    pub readings: usize,
    /// How many attempts it took.
    pub attempts: u32,
}

/// Why an inspection failed.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("reactor {reactor} could not be inspected")]
    Instrument {
        reactor: u8,
        #[source]
        fault: Fault,
    },
    #[error("the inspection of reactor {reactor} could not be filed")]
    Filing {
        reactor: u8,
        #[source]
        cause: io::Error,
    },
}

/// Reads a reactor's thermometer, a few times if it should be `Thorough`, and files what it said.
#[task(queue = "lenny", timeout = 300, max_tries = 5, backoff = "exponential(100ms, max = 1s)")]
pub async fn inspect_reactor(
    ctx: &Context,
    State(plant): State<Plant>,
    reactor: u8,
    depth: Option<Depth>,
) -> Result<Inspection, InspectError> {
    let settles = Duration::from_millis(20);
    tokio::time::sleep(settles).await;
    let first = THERMOMETER.read(ctx.job_id().as_str(), ctx.attempt());
    let mut readings = vec![first.map_err(|fault| InspectError::Instrument { reactor, fault })?];
    let mut chance = Chance::of("reactor", u32::from(reactor));
    while depth == Some(Depth::Thorough) && readings.len() < 5 {
        tokio::time::sleep(settles).await;
        readings.push(THERMOMETER.value(&mut chance));
    }
    let coolant = readings.iter().sum::<f64>() / real(readings.len());
    let stamp = Stamp::when((274.5..=285.5).contains(&coolant), ctx.task());
    let inspection = Inspection { stamp, reactor, coolant, readings: readings.len(), attempts: ctx.attempt() };
    file_inspection(&plant, &inspection).await.map_err(|cause| InspectError::Filing { reactor, cause })?;
    Ok(inspection)
}

async fn file_inspection(plant: &Plant, inspection: &Inspection) -> io::Result<()> {
    let path = plant.room(Room::Temp).join(format!("reactor-{}.json", inspection.reactor));
    tokio::fs::write(path, serde_json::to_vec_pretty(inspection)?).await
}

/// Result of [`diagnose_turbine`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Diagnosis {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub turbine: u8,
    /// The frequency at which it shakes most, Hz.
    pub strongest_hz: f64,
    /// How far it swings there, mm/s.
    pub amplitude: f64,
    /// How far it swings in all (effective value), mm/s.
    pub effective: f64,
}

/// Listens to a turbine for half a second and finds what shakes it.
#[task(queue = "lenny")]
pub fn diagnose_turbine(ctx: &Context, turbine: u8, shaft_hz: f64) -> Result<Diagnosis, TaskError> {
    if !(1.0..=200.0).contains(&shaft_hz) {
        return Err(TaskError::permanent(format!("no shaft of this plant turns at {shaft_hz} Hz, only at 1 to 200")));
    }
    let signal = vibration::record(turbine, shaft_hz, vibration::RATE / 2);
    let candidates = (1..=100).map(|line| f64::from(line) * 2.0);
    let (strongest_hz, amplitude) = vibration::strongest(&signal, candidates).unwrap_or_default();
    let stamp = Stamp::when(amplitude < 1.3, ctx.task());
    Ok(Diagnosis { stamp, turbine, strongest_hz, amplitude, effective: vibration::effective(&signal) })
}

/// Result of [`file_report`].
#[derive(Debug, Serialize, Deserialize)]
pub struct FiledReport {
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The report's file name.
    pub name: String,
    pub bytes: usize,
    pub sha256: String,
    /// Carl's job that checks it.
    pub checked_by: String,
}

/// Why a report was not filed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Name(#[from] BadFileName),
    #[error("the report could not be written")]
    Write(#[from] io::Error),
    #[error("carl could not be asked to check the report")]
    HandOver(#[from] EnqueueError),
}

/// Writes a report about `subject` and hands it to Carl, who checks it.
#[task(queue = "lenny", max_tries = 3, backoff = "linear(200ms)")]
pub async fn file_report(
    ctx: &Context,
    State(plant): State<Plant>,
    subject: String,
    #[arg(default = 40)] lines: u32,
) -> Result<FiledReport, ReportError> {
    let name = format!("{subject}.txt");
    let path = plant.file(Room::Reports, &name)?;
    let text = write_up(&subject, lines);
    tokio::fs::write(&path, &text).await?;
    let sha256 = checksum::of(text.as_bytes());
    // The id is made from ours: should this attempt be repeated, Carl is not asked twice.
    let check = verify_report::job(name.clone(), sha256.clone()).id(format!("verify-{}", ctx.job_id()));
    let checked_by = ctx.client().enqueue(check).await?.id().to_string();
    Ok(FiledReport { stamp: Stamp::ok(ctx.task()), name, bytes: text.len(), sha256, checked_by })
}

fn write_up(subject: &str, lines: u32) -> String {
    const SEEN: [&str; 5] =
        ["nothing unusual", "a green glow", "a three-eyed fish", "Homer, asleep", "a leak, taped over"];
    let mut chance = Chance::of(subject, lines);
    let line = |number: u32| format!("{number:04} {}\n", SEEN[chance.below(5) as usize]);
    (1..=lines.min(10_000)).map(line).collect()
}

/// Result of [`sort_dosimeters`].
#[derive(Debug, Serialize, Deserialize)]
pub struct DosimeterReport {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub badges: u64,
    /// In how many pieces they were sorted.
    pub runs: usize,
    /// µSv
    pub median: u64,
    /// µSv
    pub highest: u64,
}

/// Sorts the readings of many badges on disk, a thousand at a time in memory.
#[task(queue = "lenny")]
pub fn sort_dosimeters(
    ctx: &Context,
    State(plant): State<Plant>,
    #[arg(default = 5_000)] badges: u32,
) -> Result<DosimeterReport, io::Error> {
    let room = tempfile::tempdir_in(plant.room(Room::Temp))?; // its own: many may sort at once
    let (from, to) = (room.path().join("badges"), room.path().join("sorted"));
    let mut chance = Chance::of("badges", badges);
    let count = sorting::write(&from, (0..badges.min(1_000_000)).map(|_| u64::from(chance.below(500))))?;
    let runs = sorting::sort(&from, &to, 1_000)?;
    let (median, highest) = middle_and_last(&to, count)?;
    let stamp = Stamp::when(highest < 500, ctx.task());
    Ok(DosimeterReport { stamp, badges: count, runs, median, highest })
}

fn middle_and_last(sorted: &Path, count: u64) -> io::Result<(u64, u64)> {
    let length = fs::metadata(sorted)?.len();
    if length != count * 8 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{count} badges became {} while sorting", length / 8),
        ));
    }
    let (mut median, mut last) = (0, 0);
    for (index, number) in (0..).zip(Numbers::open(sorted)?) {
        last = number?;
        if index == count / 2 {
            median = last;
        }
    }
    Ok((median, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_the_same_each_time_and_bounded() {
        assert_eq!(write_up("rods", 3), write_up("rods", 3));
        assert_eq!(write_up("rods", 3).lines().count(), 3);
        assert_eq!(write_up("rods", u32::MAX).lines().count(), 10_000);
        assert!(write_up("rods", 1).starts_with("0001 "));
    }

    #[test]
    fn median_and_highest_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sorted");
        sorting::write(&path, [1, 2, 7, 8, 9]).unwrap();
        assert_eq!(middle_and_last(&path, 5).unwrap(), (7, 9));
        assert!(middle_and_last(&path, 6).is_err());
    }
}
