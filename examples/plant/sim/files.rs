//! The scratch directory, walking it and sweeping it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No walk looks deeper than this below its root.
const MAX_DEPTH: usize = 8;

/// No walk lists more files than this.
const MAX_FILES: usize = 10_000;

/// A file that a walk has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// How long ago it was last written; zero when that can't be told.
    pub age: Duration,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files removed.
    pub removed: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were too young.
    pub kept: u32,
}

/// The plain files under `root`, sorted by path, at most [`MAX_FILES`]. Links are not followed.
///
/// What disappears meanwhile is left out: others work in the same directory.
///
/// # Errors
/// Only when `root` itself can't be read.
pub fn walk(root: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut open = VecDeque::from([(fs::read_dir(root)?, 0)]);
    while let Some((entries, depth)) = open.pop_front() {
        for entry in entries.flatten() {
            let (path, Ok(data)) = (entry.path(), entry.metadata()) else { continue };
            if data.is_dir() && depth < MAX_DEPTH {
                open.extend(fs::read_dir(&path).ok().map(|entries| (entries, depth + 1)));
            } else if data.is_file() && found.len() < MAX_FILES {
                let age = data.modified().ok().and_then(|moment| moment.elapsed().ok()).unwrap_or_default();
                found.push(Found { path, length: data.len(), age });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Removes the files under `root` that were last written at least `age` ago.
///
/// # Errors
/// When `root` can't be read, or a file can't be removed; one that is gone already is no error.
pub fn sweep(root: &Path, age: Duration) -> io::Result<Swept> {
    let mut swept = Swept::default();
    for file in walk(root)? {
        if file.age < age {
            swept.kept += 1;
            continue;
        }
        match fs::remove_file(&file.path) {
            Ok(()) => {
                swept.removed += 1;
                swept.bytes += file.length;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

/// Writes a file so that readers see the old content or the new, never a part of it.
///
/// # Errors
/// What writing or renaming says.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for (name, text) in [("one", "1"), ("a/two", "22"), ("a/b/three", "333")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn names(root: &Path) -> Vec<String> {
        let found = walk(root).unwrap();
        found.iter().map(|file| file.path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_walk_finds_files_at_all_depths() {
        let dir = tree();
        assert_eq!(names(dir.path()), ["a/b/three", "a/two", "one"]);
        assert_eq!(walk(dir.path()).unwrap().iter().map(|file| file.length).sum::<u64>(), 6);
        assert!(walk(&dir.path().join("missing")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let (dir, outside) = (tree(), tree());
        std::os::unix::fs::symlink(outside.path(), dir.path().join("a/door")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("one"), dir.path().join("window")).unwrap();
        assert_eq!(names(dir.path()), ["a/b/three", "a/two", "one"]);
        sweep(dir.path(), Duration::ZERO).unwrap();
        assert_eq!(names(outside.path()), ["a/b/three", "a/two", "one"]);
    }

    #[test]
    fn a_walk_is_bounded_in_depth() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_owned();
        for depth in 0..MAX_DEPTH + 3 {
            path.push(format!("d{depth}"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("file"), "").unwrap();
        }
        assert_eq!(walk(dir.path()).unwrap().len(), MAX_DEPTH);
    }

    #[test]
    fn a_sweep_takes_the_old_and_leaves_the_young() {
        let dir = tree();
        assert_eq!(sweep(dir.path(), Duration::from_hours(1)).unwrap(), Swept { removed: 0, bytes: 0, kept: 3 });
        assert_eq!(sweep(dir.path(), Duration::ZERO).unwrap(), Swept { removed: 3, bytes: 6, kept: 0 });
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn replacing_leaves_no_traces() {
        let dir = tree();
        let path = dir.path().join("one");
        replace(&path, b"uno").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "uno");
        assert_eq!(names(dir.path()), ["a/b/three", "a/two", "one"]);
    }
}
