//! The checkers of what Prometheus and Alertmanager are configured by.

use std::path::PathBuf;

/// Checks Prometheus's rules and configuration.
#[must_use]
pub fn promtool() -> PathBuf {
    unpacked("promtool/usr/bin/promtool")
}

/// Checks Alertmanager's configuration, and says who would be told of an alert.
#[must_use]
pub fn amtool() -> PathBuf {
    unpacked("alertmanager/usr/bin/amtool")
}

/// That which `cargo xtask needs` has unpacked in the folder in which this program was built.
fn unpacked(path: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the system knows this program");
    let mut found = own.ancestors().map(|folder| folder.join(path));
    found.find(|program| program.exists()).unwrap_or_else(|| panic!("`cargo xtask needs` has not installed {path}"))
}
