//! Homer, safety inspector: CPU-bound work, three things at once at most.

use std::io;
use std::time::Duration;

use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

use crate::plant::{Plant, Room, Stamp};
use crate::sim::reactor::Reactor;
use crate::sim::{checksum, donuts};
use crate::timeclock::{clock_in, clock_out};

/// Three jobs at once, which is two more than he likes.
#[derive(Worker)]
#[worker(
    queue = "homer",
    max_jobs = 3,
    job_timeout = 300,
    on_startup = arrive,
    on_job_start = clock_in,
    after_job_end = clock_out
)]
pub struct Homer;

/// Hangs up his coat; without a plant to work in he would not start.
async fn arrive(worker: &WorkerContext) -> Result<(), io::Error> {
    let plant = worker.state::<Plant>().ok_or_else(|| io::Error::other("homer has no plant to work in"))?;
    tokio::fs::write(plant.room(Room::Office).join("coat"), "a white shirt, a pink tie\n").await
}

/// Result of [`count_donuts`].
#[derive(Debug, Serialize, Deserialize)]
pub struct DonutCount {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub boxes: usize,
    pub whole: u32,
    /// Those that somebody took a bite of. It was not Homer.
    pub bitten: u32,
    /// All whole ones counted so far in this plant.
    pub counted_so_far: u64,
}

/// Counts the donuts in photographs of boxes.
#[task(queue = "homer")]
pub fn count_donuts(ctx: &Context, State(plant): State<Plant>, box_ids: Vec<u32>) -> DonutCount {
    let (boxes, mut whole, mut bitten) = (box_ids.len(), 0, 0);
    for box_id in box_ids {
        let counted = donuts::photograph(box_id).0.count();
        whole += counted.whole;
        bitten += counted.bitten;
    }
    let counted_so_far = plant.add_donuts(u64::from(whole));
    DonutCount { stamp: Stamp::ok(ctx.task()), boxes, whole, bitten, counted_so_far }
}

/// Result of [`take_nap`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Nap {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub seconds: f64,
    pub snores: u32,
}

/// Naps at the console, which ends after a second at the latest: then the chair tips over.
///
/// Nobody wants to read about it later, so a nap that failed leaves no dead letter.
#[task(queue = "homer", timeout = 1, max_tries = 1, dead_letter = false)]
pub async fn take_nap(ctx: &Context, seconds: f64) -> Result<Nap, TaskError> {
    let length = Duration::try_from_secs_f64(seconds).map_err(TaskError::permanent)?;
    let started = tokio::time::Instant::now();
    let mut snores = 0;
    while started.elapsed() < length {
        let rest = length.saturating_sub(started.elapsed());
        tokio::time::sleep(rest.min(Duration::from_millis(50))).await;
        snores += 1;
    }
    Ok(Nap { stamp: Stamp::ok(ctx.task()), seconds, snores })
}

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    Glance,
    Thorough,
}

/// Result of [`safety_check`].
#[derive(Debug, Serialize, Deserialize)]
pub struct SafetyCheck {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub reactor: u8,
    /// How far out the rods may come without a scram (0 out, 0.5 critical).
    pub safe_insertion: f64,
    pub trials: u32,
}

/// A check that had to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the safety check of reactor {0} was cut short")]
pub struct CutShort(u8);

/// Finds how far the rods of a reactor may come out, by trying it on a model of it.
#[task(queue = "homer", timeout = "2m")]
pub fn safety_check(ctx: &Context, reactor: u8, depth: Option<Depth>) -> Result<SafetyCheck, CutShort> {
    let trials = if depth == Some(Depth::Thorough) { 8 } else { 4 };
    let (mut unsafe_at, mut safe_at) = (0.0, 0.5);
    for _ in 0..trials {
        // This runs on the blocking pool, where nobody can take the thread away: it has to ask.
        if ctx.is_cancelled() {
            return Err(CutShort(reactor));
        }
        let middle = f64::midpoint(unsafe_at, safe_at);
        if scrams_at(reactor, middle) { unsafe_at = middle } else { safe_at = middle }
    }
    let stamp = Stamp::when(safe_at < 0.45, ctx.task());
    Ok(SafetyCheck { stamp, reactor, safe_insertion: safe_at, trials })
}

/// Whether a model of the reactor scrams within eight seconds with its rods there.
fn scrams_at(reactor: u8, insertion: f64) -> bool {
    let mut model = Reactor::new(u64::from(reactor));
    model.set_rods(insertion);
    model.run(8.0);
    model.read().scrammed
}

/// Result of [`vent_gas`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Venting {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub sector: u8,
}

/// A code that does not open the valve, which trying again won't change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the code for the valve of sector {0} is wrong")]
pub struct WrongCode(u8);

/// How often the code is hashed: guessing it should take time.
const CODE_ROUNDS: u32 = 1_000;

/// What the right code hashes to. (It is in Homer's wallet.)
const CODE_SEAL: &str = "5e7984c24e453d4e2cda980495431155b9679b13345a48479443cce935ee02cb";

/// Vents gas to prevent an explosion. The code never shows in logs, errors or dead letters.
#[task(queue = "homer")]
pub fn vent_gas(ctx: &Context, sector: u8, #[arg(redact)] code: String) -> Result<Venting, TaskError> {
    if checksum::stretch(&code, "sector 7-G", CODE_ROUNDS) != CODE_SEAL {
        return Err(TaskError::permanent(WrongCode(sector)));
    }
    Ok(Venting { stamp: Stamp::ok(ctx.task()), sector })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_code_fits_its_seal() {
        assert_eq!(checksum::stretch("tibbetts-742", "sector 7-G", CODE_ROUNDS), CODE_SEAL);
    }

    #[test]
    fn rods_far_out_scram_and_rods_half_in_do_not() {
        assert!(scrams_at(1, 0.0));
        assert!(!scrams_at(1, 0.5));
    }
}
