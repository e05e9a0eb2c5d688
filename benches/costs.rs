//! `cargo bench -p sector7g-benches --bench costs`, or `cargo xtask bench`: what a job costs, instructions beside times.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().skip(1).ne(["--bench"]) {
        return ExitCode::SUCCESS; // a run of tests, or of some of criterion's cases: there are none here
    }
    match sector7g_benches::costs::tables(Path::new(env!("CARGO_BIN_EXE_probe"))) {
        Ok(tables) => eprintln!("\n{tables}"),
        Err(why) => {
            eprintln!("costs: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
