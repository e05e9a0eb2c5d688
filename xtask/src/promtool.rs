//! promtool, which checks `deploy/prometheus`: unpacked below the target folder, because Debian's package starts a
//! Prometheus that serves the whole network as soon as it is installed.

use std::path::PathBuf;

use crate::needs::{self, refuse};
use crate::run::{Failed, Runner, Step};

/// Downloads the package and unpacks it, unless it is there.
pub(crate) fn get(runner: &mut Runner) -> Result<(), Failed> {
    if version(runner).is_some() {
        return Ok(());
    }
    if !needs::is_debian() {
        return Err(refuse(&format!(
            "missing: promtool, for the tests of deploy/prometheus\n\
             it comes with Prometheus (https://prometheus.io/download); put it at {}",
            program().display()
        )));
    }
    let folder = folder();
    let path = folder.to_string_lossy();
    let steps = [
        Step::new("rm", "-rf").argument(&path),
        Step::new("mkdir", "-p").argument(&path),
        Step::new("sh", "-c")
            .argument("cd \"$0\" && { apt-get --quiet download prometheus || { apt-get update --quiet && apt-get --quiet download prometheus; }; }")
            .argument(&path),
        Step::new("sh", "-c")
            .argument("cd \"$0\" && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool && rm prometheus_*.deb")
            .argument(&path),
    ];
    runner.run_again_on_failure(&steps)
}

/// What to show of it.
pub(crate) fn version(runner: &Runner) -> Option<String> {
    let said = runner.ask(&Step::new(&program().to_string_lossy(), "--version"))?;
    said.lines().next().map(|line| format!("promtool: {line}"))
}

fn program() -> PathBuf {
    folder().join("usr/bin/promtool")
}

fn folder() -> PathBuf {
    needs::folder("promtool")
}
