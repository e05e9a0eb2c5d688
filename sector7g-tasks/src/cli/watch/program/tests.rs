use super::*;

/// The directories that cargo has marked in these tests.
fn is_tagged(directory: &Path) -> bool {
    ["/plant/target", "/plant/target/aarch64-unknown-linux-gnu", "/cache/ci-build"].map(Path::new).contains(&directory)
}

fn program(exe: &str) -> Option<Program> {
    Program::from_exe(&PathBuf::from(format!("{exe}{}", std::env::consts::EXE_SUFFIX)), is_tagged)
}

fn arguments(exe: &str, package: &Package) -> String {
    let arguments = program(exe).unwrap().arguments(package);
    arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_cargo_is_asked_to_build() {
    let check = |exe: &str, expected: &str| assert_eq!(arguments(exe, &Package::default()), expected, "{exe}");
    check("/plant/target/debug/worker-homer", "build --bin worker-homer --target-dir /plant/target");
    check("/plant/target/release/homer", "build --bin homer --release --target-dir /plant/target");
    check("/plant/target/debug/examples/plant", "build --example plant --target-dir /plant/target");
    check("/plant/target/fast/examples/plant", "build --example plant --profile fast --target-dir /plant/target");
    check(
        "/plant/target/aarch64-unknown-linux-gnu/release/homer",
        "build --bin homer --release --target aarch64-unknown-linux-gnu --target-dir /plant/target",
    );
    check("/cache/ci-build/debug/homer", "build --bin homer --target-dir /cache/ci-build");
}

#[test]
fn programs_that_lie_elsewhere_are_not_built() {
    let check = |exe: &str| assert_eq!(program(exe), None, "{exe}");
    check("/usr/local/bin/homer");
    check("/homer");
    check("/plant/target/homer");
    check("/plant/target/debug/deps/homer-0f3a");
    check("/elsewhere/target/debug/homer");
}

const METADATA: &str = r#"{
    "packages": [
        { "id": "one", "manifest_path": "/plant/one/Cargo.toml", "targets": [
            { "name": "homer", "kind": ["bin"] },
            { "name": "lenny", "kind": ["lib"] } ] },
        { "id": "two", "manifest_path": "/plant/two/Cargo.toml", "targets": [
            { "name": "homer", "kind": ["bin"] },
            { "name": "homer", "kind": ["example"], "required-features": ["cli", "donuts"] } ] }
    ],
    "workspace_default_members": ["two"],
    "target_directory": "/plant/target"
}"#;

#[test]
fn the_package_is_found_as_cargo_would() {
    let metadata: Metadata = serde_json::from_str(METADATA).unwrap();
    let check = |exe: &str, is_here: bool, expected: Option<Package>| {
        assert_eq!(metadata.package_of(&program(exe).unwrap(), is_here), expected, "{exe}");
    };
    let at = |manifest: &str| Some(PathBuf::from(manifest));
    let features: Vec<String> = ["cli", "donuts"].map(str::to_owned).into();
    check("/plant/target/debug/homer", true, Some(Package::default()));
    check(
        "/plant/target/debug/homer",
        false,
        Some(Package { manifest: at("/plant/one/Cargo.toml"), features: vec![] }),
    );
    check("/plant/target/debug/examples/homer", true, Some(Package { manifest: None, features: features.clone() }));
    check(
        "/plant/target/debug/examples/homer",
        false,
        Some(Package { manifest: at("/plant/two/Cargo.toml"), features }),
    );
    check("/plant/target/debug/lenny", true, None);
    check("/plant/target/debug/examples/plant", true, None);
}

#[test]
fn the_package_is_said_to_cargo() {
    let package = Package {
        manifest: Some("/plant/two/Cargo.toml".into()),
        features: vec!["cli".to_owned(), "donuts".to_owned()],
    };
    let expected =
        "build --example homer --target-dir /plant/target --manifest-path /plant/two/Cargo.toml --features cli,donuts";
    assert_eq!(arguments("/plant/target/debug/examples/homer", &package), expected);
}
