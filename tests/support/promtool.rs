//! The checker of Prometheus's rules and configuration.

use std::path::PathBuf;

/// That which `cargo xtask needs` has unpacked in the folder in which this program was built.
#[must_use]
pub fn promtool() -> PathBuf {
    let own = std::env::current_exe().expect("the system knows this program");
    let mut found = own.ancestors().map(|folder| folder.join("promtool/usr/bin/promtool"));
    found.find(|program| program.exists()).expect("`cargo xtask needs` has installed promtool")
}
