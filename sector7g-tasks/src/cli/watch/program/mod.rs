use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::files::CACHE_TAG;
use crate::cli::error::CliError;

/// Further arguments for `cargo build`, parted by white space: the features that the program was built with.
const CARGO_ARGS: &str = "SECTOR7G_WATCH_CARGO_ARGS";

/// How long cargo may take to say what a workspace holds.
const METADATA: Duration = Duration::from_secs(30);

/// A program that cargo has built, as its path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its executable, which cargo replaces at each build.
    pub(super) exe: PathBuf,
    name: String,
    kind: Kind,
    /// The directory of its profile: `debug`, `release` or a profile's own name.
    profile: String,
    /// What it was built for, if that was said.
    triple: Option<String>,
    target_dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Binary,
    Example,
}

impl Kind {
    /// Cargo's word for it, in metadata.
    fn name(self) -> &'static str {
        match self {
            Self::Binary => "bin",
            Self::Example => "example",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Binary => "--bin",
            Self::Example => "--example",
        }
    }
}

impl Program {
    /// The program that runs now.
    pub(super) fn current() -> Result<Self, CliError> {
        let exe = std::env::current_exe().map_err(|error| CliError::System(error.into()))?;
        let is_tagged = |directory: &Path| directory.join(CACHE_TAG).exists();
        Self::from_exe(&exe, is_tagged).ok_or_else(|| {
            let place =
                format!("`{}` does not lie where cargo puts programs (target/debug/ and the like)", exe.display());
            CliError::Unbuildable(place)
        })
    }

    /// Takes `TARGET/[triple/]profile/[examples/]name` apart. `is_tagged` tells whether cargo has marked a directory as its own.
    fn from_exe(exe: &Path, is_tagged: impl Fn(&Path) -> bool) -> Option<Self> {
        let name = exe.file_name()?.to_str()?;
        let name = name.strip_suffix(std::env::consts::EXE_SUFFIX)?.to_owned();
        let place = exe.parent()?;
        let (kind, profile) =
            if place.ends_with("examples") { (Kind::Example, place.parent()?) } else { (Kind::Binary, place) };
        let above = profile.parent()?;
        // Cargo marks the directory of a triple, too; what is above it tells them apart.
        let triple =
            above.file_name()?.to_str().filter(|name| name.contains('-') && above.parent().is_some_and(&is_tagged));
        let target_dir = if triple.is_some() { above.parent()? } else { above };
        if !is_tagged(target_dir) {
            return None;
        }
        Some(Self {
            exe: exe.to_owned(),
            name,
            kind,
            profile: profile.file_name()?.to_str()?.to_owned(),
            triple: triple.map(str::to_owned),
            target_dir: target_dir.to_owned(),
        })
    }

    /// The command that builds it anew, into the same place.
    pub(super) fn build(&self, package: &Package) -> Command {
        let extra = std::env::var(CARGO_ARGS).unwrap_or_default();
        let mut cargo = cargo();
        cargo.args(self.arguments(package)).args(extra.split_whitespace());
        // A bar that moves would tear the log lines of the worker, which runs on.
        cargo.env("CARGO_TERM_PROGRESS_WHEN", "never").stdout(Stdio::null());
        cargo
    }

    fn arguments(&self, package: &Package) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["build".into(), self.kind.flag().into(), (&self.name).into()];
        match &*self.profile {
            "debug" => {}
            "release" => arguments.push("--release".into()),
            profile => arguments.extend(["--profile".into(), profile.into()]),
        }
        if let Some(triple) = &self.triple {
            arguments.extend(["--target".into(), triple.into()]);
        }
        arguments.extend(["--target-dir".into(), self.target_dir.clone().into()]);
        if let Some(manifest) = &package.manifest {
            arguments.extend(["--manifest-path".into(), manifest.into()]);
        }
        if !package.features.is_empty() {
            arguments.extend(["--features".into(), package.features.join(",").into()]);
        }
        arguments
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Binary => "binary",
            Kind::Example => "example",
        };
        write!(f, "{kind} `{}`", self.name)
    }
}

/// The package that the program belongs to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    /// Its manifest, unless cargo finds the program from the current directory.
    manifest: Option<PathBuf>,
    /// Those without which it could not have been built.
    features: Vec<String>,
}

impl Package {
    /// Looks for the package in the workspaces around the current directory, where `cargo run` was
    /// likely called, and around `dir`.
    pub(super) async fn find(program: &Program, dir: &Path) -> Result<Self, CliError> {
        let mut problem = String::new();
        for place in [Path::new("."), dir] {
            match metadata(place).await {
                Ok(metadata) => {
                    if let Some(package) = metadata.package_of(program, place == Path::new(".")) {
                        return Ok(package);
                    }
                }
                Err(error) => problem = format!(" ({error})"),
            }
        }
        Err(CliError::Unbuildable(format!(
            "no package of the cargo workspaces around the current directory and `{}` has the {program}{problem}",
            dir.display()
        )))
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetaPackage>,
    #[serde(default)]
    workspace_default_members: Vec<String>,
}

#[derive(Deserialize)]
struct MetaPackage {
    id: String,
    manifest_path: PathBuf,
    targets: Vec<MetaTarget>,
}

#[derive(Deserialize)]
struct MetaTarget {
    name: String,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    required_features: Vec<String>,
}

impl Metadata {
    /// `is_here`: it is what cargo says in the current directory, so its default choice is ours.
    fn package_of(&self, program: &Program, is_here: bool) -> Option<Package> {
        let of = |target: &&MetaTarget| {
            target.name == program.name && target.kind.iter().any(|kind| kind == program.kind.name())
        };
        let found =
            |package: &MetaPackage| package.targets.iter().find(of).map(|target| target.required_features.clone());
        let is_default = |package: &MetaPackage| is_here && self.workspace_default_members.contains(&package.id);
        let mut packages: Vec<&MetaPackage> = self.packages.iter().collect();
        packages.sort_by_key(|package| !is_default(package));
        packages.into_iter().find_map(|package| {
            let features = found(package)?;
            let manifest = (!is_default(package)).then(|| package.manifest_path.clone());
            Some(Package { manifest, features })
        })
    }
}

async fn metadata(place: &Path) -> Result<Metadata, String> {
    let mut cargo = cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(place);
    let output = tokio::time::timeout(METADATA, cargo.output()).await;
    let output = output.map_err(|_| format!("cargo metadata took longer than {METADATA:?}"))?;
    let output = output.map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("cargo metadata failed");
        return Err(first.trim_start_matches("error: ").to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata can't be read: {error}"))
}

/// The cargo that started this program, or the one that the shell finds. It dies with its future.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.stdin(Stdio::null()).kill_on_drop(true);
    cargo
}

#[cfg(test)]
mod tests;
