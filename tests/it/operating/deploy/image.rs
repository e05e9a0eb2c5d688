//! `Dockerfile`: it builds programs that there are.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::super::OPERATE;
use super::{IN_THE_IMAGE, OPERATORS, read, root};
use crate::plant::plant_program;

/// What cargo knows of the workspace.
#[derive(Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Built>,
    features: BTreeMap<String, Vec<String>>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Built {
    name: String,
    kind: Vec<String>,
}

#[test]
fn the_image_is_built_of_programs_that_there_are() {
    let known = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let workspace: Workspace = serde_json::from_slice(&known.stdout).unwrap();
    let file = read("Dockerfile");
    let builds: Vec<Vec<&str>> = file
        .lines()
        .filter_map(|line| line.split_once("cargo build "))
        .map(|(_, rest)| rest.split_whitespace().take_while(|word| *word != "\\").collect())
        .collect();
    assert_eq!(builds.len(), 2);
    for words in builds {
        let after = |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1]);
        let package = workspace.packages.iter().find(|package| Some(&*package.name) == after("--package")).unwrap();
        let (kind, name) = after("--example").map_or(("bin", after("--bin")), |name| ("example", Some(name)));
        let is_it = |built: &Built| Some(&*built.name) == name && built.kind == [kind];
        assert!(package.targets.iter().any(is_it), "{words:?}");
        let asked: Vec<&str> = after("--features").into_iter().flat_map(|features| features.split(',')).collect();
        assert!(asked.iter().all(|feature| package.features.contains_key(*feature)), "{words:?}");
        let library = package.dependencies.iter().filter(|dependency| dependency.name == "sector7g-tasks");
        let has = |feature: &&str| {
            let mut of_library = library.clone().flat_map(|dependency| &dependency.features);
            asked.contains(feature) || of_library.any(|known| known == feature)
        };
        let missing: Vec<&str> = ["tls", "sentinel", "cluster"].into_iter().filter(|feature| !has(feature)).collect();
        assert_eq!(missing, [""; 0], "it reaches any Redis: {words:?}");
        let built: PathBuf =
            ["target/release", if kind == "bin" { "" } else { "examples" }, name.unwrap()].iter().collect();
        assert!(file.contains(built.to_str().unwrap()), "the image takes {}", built.display());
    }
    assert!(file.contains(&format!("ENTRYPOINT [\"{IN_THE_IMAGE}\"]")));
    assert!(file.lines().any(|line| line.starts_with("FROM ") && line.ends_with(":nonroot")), "it runs as nobody");
}

/// The Dockerfile's instructions, each on one line.
fn instructions() -> Vec<String> {
    let file = read("Dockerfile");
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    let whole = lines.join("\n").replace("\\\n", " ");
    whole.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What the build stage has a shell do.
fn commands() -> Vec<String> {
    let instructions = instructions();
    let run = instructions.iter().find_map(|line| line.strip_prefix("RUN ")).unwrap();
    let words = run.split_whitespace().skip_while(|word| word.starts_with("--mount="));
    let script = words.collect::<Vec<_>>().join(" ");
    script.split(" && ").map(str::to_owned).collect()
}

/// cargo itself takes each line, features, profile and lock file included: it comes as far as the first compilation,
/// which is where this ends it.
#[test]
fn cargo_builds_as_the_image_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let wrapper = folder.path().join("rustc");
    // What cargo asks about the compiler is answered.
    let script = "#!/bin/sh\ncase \" $* \" in *' --crate-name ___ '* | *' -vV '*) exec \"$@\" ;; esac\necho so far >&2\nexit 1\n";
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let starts = |command: &str| {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("cargo"), "{command}");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(words).current_dir(root()).env("RUSTC_WRAPPER", &wrapper);
        let output = cargo.env("CARGO_TARGET_DIR", folder.path()).env("CARGO_NET_OFFLINE", "true").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (said.contains("so far"), said)
    };
    let builds: Vec<String> = commands().into_iter().filter(|command| command.starts_with("cargo ")).collect();
    assert_eq!(builds.len(), 2);
    for build in builds {
        let (started, said) = starts(&build);
        assert!(started, "{build}: {said}");
        let (started, said) = starts(&format!("{build} --profile no-such-profile"));
        assert!(!started, "a mistake is told before: {said}");
    }
}

/// Runs what the build stage does after cargo, on programs that are built for tests, and copies what the final stage copies.
#[test]
fn what_the_image_copies_is_there_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().join("target/release");
    fs::create_dir_all(built.join("examples")).unwrap();
    symlink(plant_program(), built.join("examples/plant")).unwrap();
    symlink(OPERATE, built.join("sector-7g")).unwrap();
    let here = |path: &str| folder.path().join(path.trim_start_matches('/'));
    let shell = |command: &str| {
        let command = command.replace("/out", here("/out").to_str().unwrap());
        let command = command.replace("/rooms", here("/rooms").to_str().unwrap());
        let status = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).status().unwrap();
        status.success()
    };
    let commands = commands();
    let (bounds, steps): (Vec<_>, Vec<_>) = commands.iter().partition(|command| command.starts_with("test "));
    for step in steps.into_iter().filter(|step| !step.starts_with("cargo ")) {
        assert!(shell(step), "{step}");
    }
    let image = folder.path().join("image");
    let mut copied = Vec::new();
    for line in instructions().iter().filter(|line| line.starts_with("COPY --from=build ")) {
        let words: Vec<&str> = line.split(' ').skip(1).filter(|word| !word.starts_with("--")).collect();
        let (to, from) = words.split_last().unwrap();
        for source in from {
            assert!(here(source).exists(), "{line}");
            let name = Path::new(source).file_name().unwrap();
            copied.push(if to.ends_with('/') { Path::new(to).join(name) } else { PathBuf::from(to) });
            if here(source).is_file() {
                fs::create_dir_all(&image).unwrap();
                fs::rename(here(source), image.join(name)).unwrap();
            }
        }
    }
    assert_eq!(copied, [IN_THE_IMAGE, OPERATORS, "/var/lib/plant"].map(PathBuf::from));
    for program in ["plant", "sector-7g"] {
        let output = Command::new(image.join(program)).arg("--help").output().unwrap();
        assert!(output.status.success(), "{program}, stripped: {}", String::from_utf8_lossy(&output.stderr));
    }
    // It bounds their sizes, as OPERATIONS.md says.
    let [bound] = bounds[..] else { panic!("{bounds:?}") };
    let most = bound.split_once("-size +").unwrap().1.split_once('M').unwrap().0;
    assert!(read("OPERATIONS.md").contains(&format!("than {most} MiB")), "{most}");
    let most = most.parse::<u64>().unwrap() << 20;
    let file = fs::File::create(here("/out/plant")).unwrap();
    for (size, fits) in [(most, true), (most + 1, false)] {
        file.set_len(size).unwrap();
        assert_eq!(shell(bound), fits, "{size}");
    }
}

/// What `gcr.io/distroless/cc` has: Debian's libc6, libgcc-s1, libgomp1, libssl3 and libstdc++6.
const LIBRARIES: [&str; 12] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libcrypto.so.3",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libgomp.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libssl.so.3",
    "libstdc++.so.6",
];

/// The programs of the tests have all features, those of the image among them.
#[cfg(target_os = "linux")]
#[test]
fn the_final_image_has_the_libraries_that_its_programs_load() {
    for program in [plant_program(), OPERATE.into()] {
        let read = Command::new("readelf").args(["--dynamic", "--wide"]).arg(&program).output().unwrap();
        let said = String::from_utf8_lossy(&read.stdout);
        let needed = said.lines().filter(|line| line.contains("(NEEDED)"));
        let needed: Vec<&str> = needed.map(|line| line.split(['[', ']']).nth(1).unwrap()).collect();
        assert!(needed.contains(&"libc.so.6"), "{said}");
        let missing: Vec<_> = needed.iter().filter(|name| !LIBRARIES.contains(name)).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", program.display());
    }
    // A libc of another release may lack what they were linked with.
    let instructions = instructions();
    let stages: Vec<&str> = instructions.iter().filter_map(|line| line.strip_prefix("FROM ")).collect();
    let [build, last] = stages[..] else { panic!("{stages:?}") };
    assert!(
        build.contains("-trixie ") && last.starts_with("gcr.io/distroless/cc-debian13:"),
        "one release: {stages:?}"
    );
}
