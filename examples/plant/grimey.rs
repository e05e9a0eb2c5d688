//! Grimey (Frank Grimes): audits, meticulously, one at a time.

use std::fs;
use std::io::{self, Write};

use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

use crate::plant::{DeskTaken, Plant, Room, Stamp};
use crate::sim::ledger::{self, Tampered};
use crate::sim::{checksum, files};
use crate::timeclock::{clock_in, clock_out};

/// One job at a time, and that one properly.
#[derive(Worker)]
#[worker(
    queue = "grimey",
    max_jobs = 1,
    job_timeout = 300,
    on_shutdown = lock_up,
    on_job_start = clock_in,
    after_job_end = clock_out
)]
pub struct Grimey;

/// Checks the ledger a last time before he goes.
async fn lock_up(worker: &WorkerContext) -> Result<(), AuditError> {
    match worker.state::<Plant>() {
        Some(plant) => Ok(ledger::verify(&read_ledger(&plant)?).map(drop)?),
        None => Ok(()),
    }
}

/// Why an audit failed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Desk(#[from] DeskTaken),
    #[error(transparent)]
    Tampered(#[from] Tampered),
    #[error("the books can't be read or written")]
    Books(#[from] io::Error),
}

fn read_ledger(plant: &Plant) -> io::Result<String> {
    match fs::read_to_string(plant.room(Room::Office).join("ledger")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// Result of [`stamp_ledger`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Stamped {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub entry: String,
    /// The entry's line, from 1.
    pub line: usize,
    /// The checksum that covers all up to it.
    pub seal: String,
}

/// Checks the whole ledger, then adds an entry and waits until the disk has it.
#[task(queue = "grimey")]
pub fn stamp_ledger(ctx: &Context, State(plant): State<Plant>, entry: String) -> Result<Stamped, AuditError> {
    let _desk = plant.sit_down()?;
    let ledger = read_ledger(&plant)?;
    let line = ledger::verify(&ledger)? + 1;
    let sealed = ledger::line(ledger.lines().last(), &entry);
    let mut book = fs::OpenOptions::new().create(true).append(true).open(plant.room(Room::Office).join("ledger"))?;
    book.write_all(sealed.as_bytes())?;
    book.sync_data()?;
    Ok(Stamped { stamp: Stamp::ok(ctx.task()), entry, line, seal: ledger::seal_of(&sealed).to_owned() })
}

/// Result of [`audit_reports`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Audit {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub reports: usize,
    /// Reports of the same content, which suggests copying.
    pub duplicates: usize,
    /// Reports that mention somebody asleep.
    pub asleep: usize,
}

/// Reads every report, twice.
#[task(queue = "grimey", cron = "0 0 3 * * *", timezone = "America/New_York")]
pub fn audit_reports(ctx: &Context, State(plant): State<Plant>) -> Result<Audit, AuditError> {
    let _desk = plant.sit_down()?;
    let found = files::walk(&plant.room(Room::Reports))?;
    let mut sums = Vec::new();
    let mut asleep = 0;
    for file in &found {
        let text = fs::read_to_string(&file.path)?;
        asleep += usize::from(text.contains("asleep"));
        sums.push(checksum::of_file(&file.path)?.0);
    }
    sums.sort_unstable();
    let duplicates = sums.windows(2).filter(|pair| pair[0] == pair[1]).count();
    Ok(Audit { stamp: Stamp::when(asleep == 0, ctx.task()), reports: found.len(), duplicates, asleep })
}

/// Result of [`review_personnel_file`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Review {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub employee: String,
    pub attempts: u32,
}

/// A file that can't be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the personnel file of {0} can't be true: a safety inspector, in space, with a Grammy")]
pub struct Unbelievable(String);

/// Reviews a personnel file, again and again if he can't believe it.
#[task(queue = "grimey", max_tries = 3, backoff = "exponential(300ms, max = 1s)")]
pub async fn review_personnel_file(ctx: &Context, employee: String) -> Result<Review, Unbelievable> {
    if employee.to_lowercase().contains("homer") {
        return Err(Unbelievable(employee));
    }
    Ok(Review { stamp: Stamp::ok(ctx.task()), employee, attempts: ctx.attempt() })
}

/// Result of [`close_books`].
#[derive(Debug, Serialize, Deserialize)]
pub struct ClosedBooks {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub entries: usize,
    /// The ledger's checksum; `None` when it is empty.
    pub seal: Option<String>,
}

/// Checks the ledger from its first line to its last.
#[task(queue = "grimey")]
pub fn close_books(ctx: &Context, State(plant): State<Plant>) -> Result<ClosedBooks, AuditError> {
    let _desk = plant.sit_down()?;
    let ledger = read_ledger(&plant)?;
    let entries = ledger::verify(&ledger)?;
    let seal = ledger.lines().last().map(|line| ledger::seal_of(line).to_owned());
    Ok(ClosedBooks { stamp: Stamp::ok(ctx.task()), entries, seal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::tests::plant;

    #[test]
    fn a_plant_without_a_ledger_has_an_empty_one() {
        let (plant, _dir) = plant();
        assert_eq!(read_ledger(&plant).unwrap(), "");
        fs::write(plant.room(Room::Office).join("ledger"), "x").unwrap();
        assert_eq!(read_ledger(&plant).unwrap(), "x");
    }
}
