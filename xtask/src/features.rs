//! The features of a crate, from its manifest.

use crate::run::{Failed, Runner};

/// The names in the `[features]` table of `manifest`, a path from the workspace's root.
pub(crate) fn of(runner: &Runner, manifest: &str) -> Result<Vec<String>, Failed> {
    let text =
        std::fs::read_to_string(runner.root.join(manifest)).map_err(|error| refuse(manifest, &error.to_string()))?;
    let names = parse(&text);
    if names.is_empty() { Err(refuse(manifest, "it has no [features]")) } else { Ok(names) }
}

/// Reads the keys of the table; those of our own manifests are plain words at a line's start.
pub(crate) fn parse(manifest: &str) -> Vec<String> {
    let table = manifest.lines().skip_while(|line| line.trim() != "[features]").skip(1);
    table
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('=').map(|(key, _)| key.trim_end()))
        .filter(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
        .map(str::to_owned)
        .collect()
}

fn refuse(manifest: &str, why: &str) -> Failed {
    eprintln!("xtask: can't read the features of {manifest}: {why}");
    Failed { code: 1 }
}
