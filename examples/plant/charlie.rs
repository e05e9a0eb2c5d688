//! Charlie: gauges, restocking, shift notes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::plant::{Plant, Room, Stamp};
use crate::sim::chance::Chance;
use crate::sim::files;
use crate::sim::instrument::{Fault, Instrument};
use crate::timeclock::{clock_in, clock_out};

/// Ten at once, at a moderate pace.
#[derive(Worker)]
#[worker(queue = "charlie", max_jobs = 10, job_timeout = 300, on_job_start = clock_in, after_job_end = clock_out)]
pub struct Charlie;

/// A pressure gauge of any panel, bar. One in a panel decides whether the panel can be read.
pub const PRESSURE_GAUGE: Instrument = Instrument { nominal: 155.0, spread: 2.0, failing: 0.15 };

/// Result of [`read_gauges`].
#[derive(Debug, Serialize, Deserialize)]
pub struct GaugeReadings {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub panel: u16,
    /// bar, lowest first
    pub pressures: Vec<f64>,
}

/// A panel that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("panel {panel} could not be read")]
pub struct PanelError {
    panel: u16,
    #[source]
    fault: Fault,
}

/// Reads the gauges of a panel.
#[task(queue = "charlie", max_tries = 5, backoff = "fixed(200ms)", keep_result = "10m")]
pub async fn read_gauges(
    ctx: &Context,
    panel: u16,
    #[arg(default = 8)] gauges: u16,
) -> Result<GaugeReadings, PanelError> {
    tokio::time::sleep(Duration::from_millis(25)).await; // the walk to the panel
    PRESSURE_GAUGE.read(ctx.job_id().as_str(), ctx.attempt()).map_err(|fault| PanelError { panel, fault })?;
    let mut chance = Chance::of("panel", u32::from(panel));
    let mut pressures: Vec<f64> = (0..gauges).map(|_| PRESSURE_GAUGE.value(&mut chance)).collect();
    pressures.sort_by(f64::total_cmp);
    let tight = pressures.first().is_none_or(|lowest| *lowest > 153.1);
    Ok(GaugeReadings { stamp: Stamp::when(tight, ctx.task()), panel, pressures })
}

/// Result of [`restock_vending`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Restocked {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub item: String,
    /// How many of it are in the machine now.
    pub in_stock: u32,
}

/// Why the machine was not restocked.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    #[error("the stock can't be read or written")]
    File(#[from] io::Error),
    #[error("the stock is no list of items")]
    Content(#[from] serde_json::Error),
    #[error("the vending machine has no slot left for {0:?}: it takes {SLOTS} kinds of items")]
    NoSlot(String),
}

/// Kinds of items that the vending machine takes.
const SLOTS: usize = 20;

/// Puts items into the vending machine; its stock is a file that is read, changed and replaced.
#[task(queue = "charlie")]
pub fn restock_vending(
    ctx: &Context,
    State(plant): State<Plant>,
    item: String,
    amount: u32,
) -> Result<Restocked, StockError> {
    let path = plant.room(Room::Office).join("vending.json");
    let _machine = plant.open_vending_machine(); // ten may restock at once
    let mut stock: BTreeMap<String, u32> = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error.into()),
    };
    if stock.len() >= SLOTS && !stock.contains_key(&item) {
        return Err(StockError::NoSlot(item));
    }
    let slot = stock.entry(item.clone()).or_default();
    *slot = slot.saturating_add(amount);
    let in_stock = *slot;
    files::replace(&path, &serde_json::to_vec(&stock)?)?;
    Ok(Restocked { stamp: Stamp::ok(ctx.task()), item, in_stock })
}

/// Result of [`write_shift_note`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Noted {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub author: String,
    pub characters: usize,
}

/// Adds a line to the shift's notes.
#[task(queue = "charlie", max_tries = 3, backoff = "fixed(200ms)")]
pub async fn write_shift_note(
    ctx: &Context,
    State(plant): State<Plant>,
    author: String,
    text: String,
) -> Result<Noted, io::Error> {
    let line = format!("{author}: {}\n", text.replace(['\n', '\r'], " "));
    let mut notes = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(plant.room(Room::Office).join("notes.txt"))
        .await?;
    notes.write_all(line.as_bytes()).await?; // one write of one line: appended whole, whoever else writes
    notes.flush().await?;
    Ok(Noted { stamp: Stamp::ok(ctx.task()), author, characters: text.chars().count() })
}

/// Result of [`calibrate_gauge`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Calibration {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub gauge: u16,
    /// What to add to its readings, bar.
    pub offset: f64,
}

/// Readings that a calibration takes the mean of.
const READINGS: u32 = 64;

/// Calibrates a gauge once it has warmed up. Until then the job snoozes: that is no failed attempt.
#[task(queue = "charlie", max_tries = 2)]
pub async fn calibrate_gauge(
    ctx: &Context,
    gauge: u16,
    #[arg(default = 500)] warm_up_ms: u64,
) -> Result<Calibration, TaskError> {
    let warm_up = Duration::from_millis(warm_up_ms);
    let warm_for = ctx.worker().now().since(ctx.enqueued_at());
    if warm_for < warm_up {
        return Err(TaskError::snooze(warm_up.saturating_sub(warm_for)));
    }
    let mut chance = Chance::of("gauge", u32::from(gauge));
    let mean = (0..READINGS).map(|_| PRESSURE_GAUGE.value(&mut chance)).sum::<f64>() / f64::from(READINGS);
    let offset = PRESSURE_GAUGE.nominal - mean;
    Ok(Calibration { stamp: Stamp::when(offset.abs() < 0.5, ctx.task()), gauge, offset })
}
