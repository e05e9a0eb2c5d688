//! The inanimate carbon rod, employee of the week: system maintenance and simulation.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

use crate::plant::{Plant, Room, Stamp};
use crate::sim::reactor::{Reactor, Readout};
use crate::sim::vitals::{self, Vitals};
use crate::sim::{archive, files};
use crate::timeclock::{clock_in, clock_out};

/// Runs up to 15 jobs at once; it never tires.
#[derive(Worker)]
#[worker(queue = "inanimate_rod", max_jobs = 15, job_timeout = 300, on_job_start = clock_in, after_job_end = clock_out)]
pub struct InanimateRod;

/// Result of [`system_health_check`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    #[serde(flatten)]
    pub stamp: Stamp,
    #[serde(flatten)]
    pub vitals: Vitals,
    /// Files in the scratch directory, and their bytes.
    pub files: usize,
    pub bytes: u64,
}

/// Why the plant's health can't be told.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("the room of the reports can't be read")]
    Reports(#[source] io::Error),
    #[error("the health can't be logged")]
    Log(#[from] io::Error),
}

/// Samples the machine, and logs it.
#[task(queue = "inanimate_rod", cron = "*/2 * * * * *")]
pub fn system_health_check(State(plant): State<Plant>) -> Result<Health, HealthError> {
    let vitals = vitals::sample();
    let found = files::walk(&plant.room(Room::Reports)).map_err(HealthError::Reports)?;
    let bytes = found.iter().map(|file| file.length).sum();
    let health =
        Health { stamp: Stamp::when(vitals.is_healthy(), "system_health_check"), vitals, files: found.len(), bytes };
    let mut log = fs::OpenOptions::new().create(true).append(true).open(plant.room(Room::Logs).join("health.log"))?;
    let line = serde_json::to_string(&health).map_err(io::Error::from)?;
    log.write_all(format!("{line}\n").as_bytes())?;
    Ok(health)
}

/// Result of [`cleanup_temp_files`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Cleanup {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub removed: u32,
    pub bytes: u64,
    pub kept: u32,
}

/// Removes what has lain in the plant's own temporary room for `older_than` seconds (an hour).
#[task(queue = "inanimate_rod", cron = "0 */10 * * * *")]
pub fn cleanup_temp_files(State(plant): State<Plant>, older_than: Option<f64>) -> Result<Cleanup, TaskError> {
    let age = Duration::try_from_secs_f64(older_than.unwrap_or(3_600.0)).map_err(TaskError::permanent)?;
    let files::Swept { removed, bytes, kept } = files::sweep(&plant.room(Room::Temp), age)?;
    Ok(Cleanup { stamp: Stamp::ok("cleanup_temp_files"), removed, bytes, kept })
}

/// Result of [`rod_sim_task`].
#[derive(Debug, Serialize, Deserialize)]
pub struct RodSim {
    #[serde(flatten)]
    pub stamp: Stamp,
    /// Highest and last power, in parts of nominal power.
    pub peak_power: f64,
    pub final_power: f64,
    /// °C
    pub fuel_temperature: f64,
    /// Seconds of nominal power.
    pub energy: f64,
    pub scrammed: bool,
}

/// Why a simulation was not run.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("{0} s are too long for one job: split what is longer than {MAX_SIMULATED} s")]
    TooLong(f64),
    #[error("the trace could not be written")]
    Trace(#[from] io::Error),
}

/// The longest span that one job simulates, in seconds.
const MAX_SIMULATED: f64 = 600.0;

/// Puts the rods in to `insertion` (0 out, 1 in) and watches the reactor for a while; leaves a trace in a file.
#[task(queue = "inanimate_rod")]
pub fn rod_sim_task(
    State(plant): State<Plant>,
    seed: u64,
    insertion: f64,
    #[arg(default = 5.0)] seconds: f64,
) -> Result<RodSim, SimError> {
    if !(0.0..=MAX_SIMULATED).contains(&seconds) {
        return Err(SimError::TooLong(seconds));
    }
    let mut reactor = Reactor::new(seed);
    reactor.set_rods(insertion);
    let trace: Vec<Readout> = (0..10)
        .map(|_| {
            reactor.run(seconds / 10.0);
            reactor.read()
        })
        .collect();
    write_trace(&plant, seed, &trace)?;
    let peak_power = trace.iter().map(|readout| readout.power).fold(1.0, f64::max);
    let Readout { power, fuel, scrammed, .. } = reactor.read();
    let stamp = Stamp::when(!scrammed, "rod_sim_task");
    Ok(RodSim { stamp, peak_power, final_power: power, fuel_temperature: fuel, energy: reactor.energy(), scrammed })
}

fn write_trace(plant: &Plant, seed: u64, trace: &[Readout]) -> io::Result<()> {
    let rows = trace.iter().map(|row| format!("{:.2},{:.4},{:.1},{:.3}\n", row.time, row.power, row.fuel, row.rods));
    let text: String = std::iter::once("time,power,fuel,rods\n".to_owned()).chain(rows).collect();
    fs::write(plant.room(Room::Temp).join(format!("trace-{seed}.csv")), text)
}

/// Result, and progress, of [`withdraw_rods`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Withdrawal {
    #[serde(flatten)]
    pub stamp: Stamp,
    /// Steps done so far.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// Part of nominal power.
    pub power: f64,
}

/// Draws the rods out to `target`, slowly, telling after each step how far it is; can be aborted at any of them.
#[task(queue = "inanimate_rod", timeout = "10m", max_tries = 1)]
pub async fn withdraw_rods(
    ctx: &Context,
    target: f64,
    steps: u32,
    #[arg(default = 50)] pause_ms: u64,
) -> Result<Withdrawal, TaskError> {
    let mut reactor = Reactor::new(u64::from(steps));
    let start = reactor.read().rods;
    let mut step = 0;
    loop {
        let Readout { power, scrammed, .. } = reactor.read();
        let reached = Withdrawal { stamp: Stamp::when(!scrammed, ctx.task()), step, steps, power };
        ctx.progress(&reached).await?;
        if step >= steps {
            return Ok(reached);
        }
        step += 1;
        reactor.set_rods(start + (target - start) * f64::from(step) / f64::from(steps));
        reactor.run(0.5);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Result of [`rotate_logs`].
#[derive(Debug, Serialize, Deserialize)]
pub struct LogRotation {
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The archive's file name; `None` when there was too little to rotate.
    pub archive: Option<String>,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Compresses the health log into the archive once it has `min_bytes`.
#[task(queue = "inanimate_rod", cron = "0 30 2 * * *", timezone = "America/New_York")]
pub fn rotate_logs(
    ctx: &Context,
    State(plant): State<Plant>,
    #[arg(default = 4_096)] min_bytes: u64,
) -> Result<LogRotation, io::Error> {
    let log = plant.room(Room::Logs).join("health.log");
    let nothing =
        |length| LogRotation { stamp: Stamp::ok(ctx.task()), archive: None, bytes_before: length, bytes_after: length };
    let length = fs::metadata(&log).map_or(0, |data| data.len());
    if length < min_bytes.max(1) {
        return Ok(nothing(length));
    }
    // Renamed first: of two that rotate at once, one finds nothing to rename, and what is logged meanwhile starts anew.
    let name = format!("health-{}", ctx.job_id());
    let aside = plant.file(Room::Logs, &name).map_err(io::Error::other)?;
    match fs::rename(&log, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing(0)),
        renamed => renamed?,
    }
    let archive = format!("{name}.gz");
    let archived = archive::compress(&aside, &plant.room(Room::Archive).join(&archive))?;
    let stamp = Stamp::ok(ctx.task());
    Ok(LogRotation { stamp, archive: Some(archive), bytes_before: archived.before, bytes_after: archived.after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::Status;
    use crate::plant::tests::plant;

    #[test]
    fn a_health_check_is_logged() {
        let (plant, _dir) = plant();
        fs::write(plant.room(Room::Reports).join("one"), "12345").unwrap();
        let health = system_health_check(State(plant.clone())).unwrap();
        assert_eq!((health.files, health.bytes), (1, 5));
        let log = fs::read_to_string(plant.room(Room::Logs).join("health.log")).unwrap();
        let logged: Health = serde_json::from_str(&log).unwrap();
        assert_eq!(logged.stamp, health.stamp);
    }

    #[test]
    fn cleaning_up_takes_what_is_old_enough() {
        let (plant, _dir) = plant();
        rod_sim_task(State(plant.clone()), 1, 0.5, 1.0).unwrap();
        assert_eq!(cleanup_temp_files(State(plant.clone()), None).unwrap().kept, 1);
        assert_eq!(cleanup_temp_files(State(plant.clone()), Some(0.0)).unwrap().removed, 1);
        assert!(cleanup_temp_files(State(plant), Some(-1.0)).is_err());
    }

    #[test]
    fn a_simulation_warns_of_a_scram() {
        let (plant, _dir) = plant();
        let calm = rod_sim_task(State(plant.clone()), 1, 0.52, 5.0).unwrap();
        assert!(calm.stamp.status == Status::Ok && !calm.scrammed && calm.final_power < 1.0, "{calm:?}");
        let wild = rod_sim_task(State(plant.clone()), 2, 0.0, 10.0).unwrap();
        assert!(wild.stamp.status == Status::Warning && wild.scrammed, "{wild:?}");
        assert_eq!(files::walk(&plant.room(Room::Temp)).unwrap().len(), 2);
        for bad in [601.0, -1.0, f64::NAN] {
            assert!(matches!(rod_sim_task(State(plant.clone()), 3, 0.5, bad), Err(SimError::TooLong(_))));
        }
    }
}
