//! What the plant's tasks share: a scratch directory with its rooms, and a few counters.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The plant, as tasks take it: `State(plant): State<Plant>`. Clones are the same plant.
#[derive(Clone, Debug)]
pub struct Plant(Arc<Site>);

#[derive(Debug)]
struct Site {
    scratch: PathBuf,
    donuts: AtomicU64,
    vending: Mutex<()>,
    desk_taken: AtomicBool,
}

/// A directory of the plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// What may be swept away.
    Temp,
    /// Logs that are still written to.
    Logs,
    /// Compressed logs.
    Archive,
    /// What Lenny writes and Carl checks.
    Reports,
    /// Shift notes, the vending machine's stock, Grimey's ledger.
    Office,
}

impl Room {
    const ALL: [Self; 5] = [Self::Temp, Self::Logs, Self::Archive, Self::Reports, Self::Office];

    fn directory(self) -> &'static str {
        match self {
            Self::Temp => "tmp",
            Self::Logs => "logs",
            Self::Archive => "archive",
            Self::Reports => "reports",
            Self::Office => "office",
        }
    }
}

/// A file name that would lead out of its room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no plain file name: use letters, digits, `-`, `_` and `.`, a letter or digit first")]
pub struct BadFileName(String);

/// Two at a desk that has one chair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("somebody sits at the audit desk already: grimey runs one job at a time")]
pub struct DeskTaken;

/// The right to sit at the audit desk, until it is dropped.
#[derive(Debug)]
pub struct Desk(Plant);

impl Plant {
    /// Furnishes a plant in `scratch`, a directory that it has to itself, or shares with the plant's other processes.
    ///
    /// # Errors
    /// When a room can't be made.
    pub fn new(scratch: &Path) -> io::Result<Self> {
        for room in Room::ALL {
            fs::create_dir_all(scratch.join(room.directory()))?;
        }
        Ok(Self(Arc::new(Site {
            scratch: scratch.to_owned(),
            donuts: AtomicU64::new(0),
            vending: Mutex::new(()),
            desk_taken: AtomicBool::new(false),
        })))
    }

    /// The directory of a room.
    pub fn room(&self, room: Room) -> PathBuf {
        self.0.scratch.join(room.directory())
    }

    /// A file of a room. Names come from jobs, so from outside: only plain ones are taken.
    ///
    /// # Errors
    /// [`BadFileName`].
    pub fn file(&self, room: Room, name: &str) -> Result<PathBuf, BadFileName> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let starts_well = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        if starts_well && name.len() <= 100 && name.chars().all(plain) {
            return Ok(self.room(room).join(name));
        }
        Err(BadFileName(name.chars().take(100).collect()))
    }

    /// Adds to the donuts counted so far; says how many it makes.
    pub fn add_donuts(&self, count: u64) -> u64 {
        self.0.donuts.fetch_add(count, Ordering::Relaxed) + count
    }

    /// Donuts counted so far.
    pub fn donuts(&self) -> u64 {
        self.0.donuts.load(Ordering::Relaxed)
    }

    /// Opens the vending machine; others wait.
    pub fn open_vending_machine(&self) -> MutexGuard<'_, ()> {
        // A task that panicked meanwhile left the stock's file whole: it is replaced, never edited.
        self.0.vending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sits down at the audit desk.
    ///
    /// # Errors
    /// [`DeskTaken`], which `max_jobs = 1` keeps from happening.
    pub fn sit_down(&self) -> Result<Desk, DeskTaken> {
        if self.0.desk_taken.swap(true, Ordering::Acquire) {
            return Err(DeskTaken);
        }
        Ok(Desk(self.clone()))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.0.0.desk_taken.store(false, Ordering::Release);
    }
}

/// What every result of the plant begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// Whether all is well.
    pub status: Status,
    /// When the work was finished, UTC.
    pub timestamp: Timestamp,
    /// The task that did it.
    pub task: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Somebody should look.
    Warning,
}

impl Stamp {
    /// `task` has found all well.
    pub fn ok(task: &str) -> Self {
        Self::when(true, task)
    }

    /// `task` has found all `well`, or not.
    pub fn when(well: bool, task: &str) -> Self {
        let status = if well { Status::Ok } else { Status::Warning };
        Self { status, timestamp: Timestamp::now(), task: task.to_owned() }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A plant to test with, and the directory that goes with it.
    pub fn plant() -> (Plant, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Plant::new(dir.path()).unwrap(), dir)
    }

    #[test]
    fn file_names_stay_in_their_room() {
        let (plant, dir) = plant();
        assert_eq!(plant.file(Room::Reports, "rods-7.txt").unwrap(), dir.path().join("reports/rods-7.txt"));
        for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0b", ".hidden", &"x".repeat(101)] {
            assert!(plant.file(Room::Reports, name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_desk_has_one_chair() {
        let (plant, _dir) = plant();
        let desk = plant.sit_down().unwrap();
        assert_eq!(plant.sit_down().unwrap_err(), DeskTaken);
        drop(desk);
        assert!(plant.sit_down().is_ok());
    }

    #[test]
    fn a_stamp_tells_status_utc_time_and_task() {
        let json = serde_json::to_value(Stamp::when(false, "rod_sim_task")).unwrap();
        assert_eq!((&json["status"], &json["task"]), (&"warning".into(), &"rod_sim_task".into()));
        let text = json["timestamp"].as_str().unwrap();
        assert!(text.ends_with('Z') && text.parse::<Timestamp>().is_ok(), "{text}");
    }
}
