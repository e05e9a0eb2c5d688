//! The operator's command. See `sector7g_tasks::operate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sector7g_tasks::operate::main()
}
