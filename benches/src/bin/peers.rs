//! The side-by-side runner; `cargo xtask peers` installs what it needs and starts it in the workspace's root.

use std::process::ExitCode;

use sector7g_benches::peers::{Options, run};

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let asks_homes = words.first().is_some_and(|word| word == "homes");
    if asks_homes {
        words.remove(0);
    }
    let options = match Options::read(&words) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("peers: {error}");
            return ExitCode::from(2);
        }
    };
    if asks_homes {
        sector7g_benches::side::say(&options.homes().join(" "));
        return ExitCode::SUCCESS;
    }
    let root = std::env::current_dir().unwrap_or_default();
    match run(&options, &root) {
        Ok(file) => {
            eprintln!("\nthe report: {}", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
