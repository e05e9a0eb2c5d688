//! What checks `deploy/prometheus`: unpacked below the target folder, because these Debian packages start servers for
//! the whole network as soon as they are installed.

use crate::needs::{self, refuse};
use crate::run::{Failed, Runner, Step};

/// A Debian package of which one program is taken.
struct Unpacked {
    package: &'static str,
    /// The folder beside the profiles' folders, where the tests look.
    folder: &'static str,
    /// Below `usr/bin`.
    program: &'static str,
}

const ALL: [Unpacked; 2] = [
    Unpacked { package: "prometheus", folder: "promtool", program: "promtool" },
    Unpacked { package: "prometheus-alertmanager", folder: "alertmanager", program: "amtool" },
];

/// Downloads the packages and unpacks them, unless they are there.
pub(crate) fn get(runner: &mut Runner) -> Result<(), Failed> {
    ALL.iter().try_for_each(|unpacked| unpacked.get(runner))
}

/// What to show of them.
pub(crate) fn versions(runner: &Runner) -> impl Iterator<Item = String> {
    ALL.iter().filter_map(|unpacked| unpacked.version(runner))
}

impl Unpacked {
    fn get(&self, runner: &mut Runner) -> Result<(), Failed> {
        if self.version(runner).is_some() {
            return Ok(());
        }
        let (package, program, folder) = (self.package, self.program, needs::folder(self.folder));
        if !needs::is_debian() {
            return Err(refuse(&format!(
                "missing: {program}, for the tests of deploy/prometheus\n\
                 from https://prometheus.io/download; put it into {}",
                folder.join("usr/bin").display()
            )));
        }
        let path = folder.to_string_lossy();
        let download = format!("apt-get --quiet download {package}");
        let steps = [
            Step::new("rm", "-rf").argument(&path),
            Step::new("mkdir", "-p").argument(&path),
            Step::new("sh", "-c")
                .argument(&format!("cd \"$0\" && {{ {download} || {{ apt-get update --quiet && {download}; }}; }}"))
                .argument(&path),
            Step::new("sh", "-c")
                .argument(&format!(
                    "cd \"$0\" && dpkg-deb --fsys-tarfile {package}_*.deb | tar -x ./usr/bin/{program} && rm {package}_*.deb"
                ))
                .argument(&path),
        ];
        runner.run_again_on_failure(&steps)
    }

    fn version(&self, runner: &Runner) -> Option<String> {
        let program = needs::folder(self.folder).join("usr/bin").join(self.program);
        let said = runner.ask(&Step::new(&program.to_string_lossy(), "--version"))?;
        said.lines().next().map(|line| format!("{}: {line}", self.program))
    }
}
