//! Asking before what can't be taken back.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::error::OperateError;

/// Goes on only if the operator says so: by `yes`, or at the terminal. `what` is a sentence without its end.
pub(super) fn sure(what: &str, yes: bool) -> Result<(), OperateError> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(OperateError::Unasked { what: what.to_owned() });
    }
    let mut answer = String::new();
    let _ = write!(anstream::stderr(), "{what}. Go on? [y/N] ");
    // An end of the input is a no.
    stdin.lock().read_line(&mut answer).map_err(|error| OperateError::System(error.into()))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(OperateError::Declined)
    }
}
