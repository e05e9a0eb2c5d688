//! What users see of their mistakes: each file in `ui/fail` makes one, its `.stderr` is the message.

use std::process::Command;

/// The compiler whose words the `.stderr` files hold; others put some of them differently.
const COMPILER: &str = "rustc 1.95.";

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("the compiler that built this test is there");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    let compiler = compiler();
    if compiler.starts_with(COMPILER) {
        cases.compile_fail("ui/fail/*.rs");
    } else {
        eprintln!("ui/fail is left out: its messages are those of {COMPILER}x, and this is {compiler}");
    }
}
