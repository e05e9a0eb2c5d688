use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use notify_debouncer_full::notify::Event;
use notify_debouncer_full::notify::event::{AccessKind, CreateKind, Flag, ModifyKind, RemoveKind};

use super::*;

/// A directory of its own for a test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sector7g-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn write(&self, file: &str) -> PathBuf {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "doughnut").unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_that_matter_and_files_that_do_not() {
    let check = |path: &str, ignored: bool| {
        assert_eq!(is_ignored(&Path::new("/plant/.hidden").join(path), Path::new("/plant/.hidden")), ignored, "{path}");
    };
    check("src/main.rs", false);
    check("src/target/mod.rs", false); // a module, not what cargo makes
    check("Cargo.toml", false);
    check("templates/report.html", false);
    check(".git/index", true);
    check("src/.main.rs.swp", true);
    check("src/.#main.rs", true);
    check("src/#main.rs#", true);
    check("src/main.rs~", true);
    check("src/main.rs.tmp", true);
    check("src/4913", true);
    check("src/main.rs___jb_tmp___", true);
    check("web/node_modules/left-pad/index.js", true);
}

#[test]
fn what_cargo_makes_is_known_by_its_tag() {
    let scratch = Scratch::new();
    scratch.write("target/CACHEDIR.TAG");
    scratch.write("src/target/mod.rs");
    let check =
        |path: &str, ignored: bool| assert_eq!(is_ignored(&scratch.0.join(path), &scratch.0), ignored, "{path}");
    check("target", true);
    check("target/debug/deps/plant.d", true);
    check("src/target/mod.rs", false);
    // A watched directory that lies in a cache is watched all the same.
    assert!(!is_ignored(&scratch.0.join("target/src/main.rs"), &scratch.0.join("target")));
}

#[test]
fn reading_is_no_change() {
    let check = |kind: EventKind, expected: &[&str]| {
        let event =
            DebouncedEvent::new(Event::new(kind).add_path("/plant/src/main.rs".into()), std::time::Instant::now());
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(changed_files(Ok(vec![event.clone(), event]), Path::new("/plant")), expected, "{kind:?}");
    };
    check(EventKind::Access(AccessKind::Any), &[]);
    check(EventKind::Create(CreateKind::File), &["/plant/src/main.rs"]);
    check(EventKind::Modify(ModifyKind::Any), &["/plant/src/main.rs"]);
    check(EventKind::Remove(RemoveKind::File), &["/plant/src/main.rs"]);
}

#[test]
fn lost_events_count_as_a_change() {
    let lost = DebouncedEvent::new(Event::new(EventKind::Other).set_flag(Flag::Rescan), std::time::Instant::now());
    assert_eq!(changed_files(Ok(vec![lost]), Path::new("/plant")), [PathBuf::from("/plant")]);
}

#[tokio::test]
async fn changes_are_seen_also_in_new_directories() {
    let scratch = Scratch::new();
    scratch.write("src/main.rs");
    scratch.write("target/CACHEDIR.TAG");
    let mut files = Files::watch(scratch.0.clone()).unwrap();
    scratch.write("target/debug/plant");
    let main = scratch.write("src/main.rs");
    assert_eq!(files.changed().await, [main]);
    let module = scratch.write("src/reactor/mod.rs");
    let changed = files.changed().await;
    assert!(module.ancestors().any(|path| changed[0] == path), "{changed:?}");
    // Of the new directory now each file is seen; events of its making may still come in between.
    let core = scratch.write("src/reactor/core.rs");
    while !files.changed().await.contains(&core) {}
    files.end().await;
}

#[tokio::test]
async fn many_changes_make_one_batch_at_a_time() {
    let scratch = Scratch::new();
    scratch.write("a.rs");
    let mut files = Files::watch(scratch.0.clone()).unwrap();
    let written: Vec<PathBuf> = ["a.rs", "b.rs", "c.rs"].map(|name| scratch.write(name)).into();
    let changed = files.changed().await;
    assert!(changed.iter().all(|path| written.contains(path)), "{changed:?}");
    assert_eq!(files.summary(&[written[0].clone()]), "a.rs");
    assert_eq!(files.summary(&written), "a.rs and 2 more");
    files.end().await;
}
