use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify_debouncer_full::notify::{self, EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, DebouncedEvent, Debouncer, RecommendedCache, new_debouncer};
use tokio::sync::mpsc;

/// How long a file is left alone before its change counts: editors write one in several steps.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// The marker that cargo, among others, puts into directories of things that it can make again.
pub(super) const CACHE_TAG: &str = "CACHEDIR.TAG";

/// The files below a directory, and what changes among them.
///
/// Every directory is watched by itself: watching the whole tree at once would take in what cargo
/// writes, thousands of directories that a build keeps changing.
pub(super) struct Files {
    root: PathBuf,
    debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
    /// Holds one batch: whoever reads it rebuilds, whatever else has changed by then.
    changes: mpsc::Receiver<Vec<PathBuf>>,
}

impl Files {
    /// Watches all directories below `root`, which is absolute.
    pub(super) fn watch(root: PathBuf) -> notify::Result<Self> {
        let (sender, changes) = mpsc::channel(1);
        let base = root.clone();
        let debouncer = new_debouncer(DEBOUNCE, None, move |events: DebounceEventResult| {
            let batch = changed_files(events, &base);
            if !batch.is_empty() {
                // Full: a change is waiting, and the next build sees this one, too.
                let _ = sender.try_send(batch);
            }
        })?;
        let mut files = Self { root, debouncer, changes };
        files.watch_directories()?;
        Ok(files)
    }

    /// The next changes, at least one file.
    ///
    /// # Cancel safety
    /// Cancel safe: takes only what it returns.
    pub(super) async fn changed(&mut self) -> Vec<PathBuf> {
        // The debouncer holds the other end as long as `self` lives.
        let changed = self.changes.recv().await.unwrap_or_default();
        // Before anything is built, so that what is written into a new directory is either built or seen.
        if let Err(error) = self.watch_directories() {
            tracing::warn!("changes in new directories may go unseen: {error}");
        }
        changed
    }

    /// Also those that are watched already: one that was removed and made again has lost its watch.
    fn watch_directories(&mut self) -> notify::Result<()> {
        let mut left = vec![self.root.clone()];
        while let Some(directory) = left.pop() {
            self.debouncer.watch(&directory, RecursiveMode::NonRecursive)?;
            left.extend(subdirectories(&directory).filter(|path| !is_ignored(path, &self.root)));
        }
        Ok(())
    }

    /// The first of the files, and how many more there are.
    pub(super) fn summary(&self, changed: &[PathBuf]) -> String {
        let Some(first) = changed.first() else { return "unknown".to_owned() };
        let first = first.strip_prefix(&self.root).unwrap_or(first).display();
        match changed.len() - 1 {
            0 => first.to_string(),
            more => format!("{first} and {more} more"),
        }
    }

    /// Ends the watch and its thread.
    pub(super) async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || self.debouncer.stop()).await;
        if ended.is_err() {
            tracing::debug!("the thread that watched files had panicked");
        }
    }
}

/// Those that can't be read have vanished or are not ours to watch. Links are not followed: they may form rings.
fn subdirectories(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn changed_files(events: DebounceEventResult, root: &Path) -> Vec<PathBuf> {
    let events = events.unwrap_or_else(|errors| {
        for error in errors {
            tracing::warn!("changes may go unseen: {error}");
        }
        Vec::new()
    });
    let mut changed: Vec<PathBuf> = Vec::new();
    for event in events.iter().filter(|event| is_change(event)) {
        let was_lost = event.need_rescan().then(|| root.to_owned());
        changed.extend(event.paths.iter().filter(|path| !is_ignored(path, root)).cloned().chain(was_lost));
    }
    changed.sort();
    changed.dedup();
    changed
}

/// Compilers open and read files, which is no change.
fn is_change(event: &DebouncedEvent) -> bool {
    matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Any)
        || event.need_rescan()
}

/// Whether a path below `root` can't matter to a build: hidden, an editor's temporary file, or what cargo makes.
fn is_ignored(path: &Path, root: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    if below.iter().any(is_ignored_name) {
        return true;
    }
    let mut directories = below.ancestors().filter(|directory| !directory.as_os_str().is_empty());
    directories.any(|directory| root.join(directory).join(CACHE_TAG).exists())
}

fn is_ignored_name(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    name.starts_with('.')
        || name == "node_modules"
        || name == "4913" // Vim tries with it whether it may write
        || ends(&["~", ".swp", ".swx", ".tmp", "___jb_tmp___", "___jb_old___"])
        || (name.starts_with('#') && name.ends_with('#'))
}

#[cfg(test)]
mod tests;
