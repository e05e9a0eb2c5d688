//! `Dockerfile`: it builds programs that there are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::{IN_THE_IMAGE, read, root};

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
