//! sector7g beside other libraries: builds and installs them, then lets the runner in `benches/` compare.

use std::fs;
use std::path::PathBuf;

use crate::needs::{self, refuse};
use crate::python;
use crate::run::{Failed, Runner, Step};

pub(crate) fn peers(runner: &mut Runner, options: &[&str]) -> Result<(), Failed> {
    if std::env::var_os("SECTOR7G_REDIS_SERVER").is_none() {
        needs::install_only(runner, "redis-server")?;
    }
    runner.run(&Step::cargo("build --release --package sector7g-benches --bins"))?;
    let target = target(runner);
    let program = target.join("release/peers").to_string_lossy().into_owned();
    let told = |step: Step| options.iter().fold(step, |step, option| step.argument(option));
    let Some(homes) = runner.ask(&told(Step::new(&program, "homes"))) else {
        return runner.run(&told(Step::new(&program, "homes"))); // it says why
    };
    for home in homes.split_whitespace() {
        let installed = match home {
            "rust" => rust(runner, &target),
            "python" => environment(runner, &target),
            _ => node(runner, &target),
        };
        if installed.is_err() {
            eprintln!("xtask: can't install the peers in peers/{home}; they take no part");
        }
    }
    runner.run(&told(Step::new(&program, "")))
}

fn target(runner: &Runner) -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    runner.root.join(folder)
}

fn rust(runner: &mut Runner, target: &std::path::Path) -> Result<(), Failed> {
    let folder = target.join("peers/rust").to_string_lossy().into_owned();
    let build = Step::cargo("build --release --locked --manifest-path peers/rust/Cargo.toml --target-dir");
    runner.run_again_on_failure(&[build.argument(&folder)])
}

fn environment(runner: &mut Runner, target: &std::path::Path) -> Result<(), Failed> {
    let folder = target.join("peers/python");
    python::fill_from(runner, &folder, "peers/python/requirements.txt")
}

/// Node looks for packages beside the script: both are put where nothing of ours is.
fn node(runner: &mut Runner, target: &std::path::Path) -> Result<(), Failed> {
    let folder = target.join("peers/node");
    let copied = fs::create_dir_all(&folder).and_then(|()| {
        ["package.json", "package-lock.json", "contender.mjs"]
            .iter()
            .try_for_each(|name| fs::copy(runner.root.join("peers/node").join(name), folder.join(name)).map(drop))
    });
    copied.map_err(|error| refuse(&format!("xtask: can't write into {}: {error}", folder.display())))?;
    let install = Step::new("npm", "ci --no-audit --no-fund --prefix").argument(&folder.to_string_lossy());
    runner.run_again_on_failure(&[install])
}
