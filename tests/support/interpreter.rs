//! The Python that has arq.

use std::path::PathBuf;

/// That of the environment which `cargo xtask needs` has made, in the folder in which this program was built.
#[must_use]
pub fn interpreter() -> PathBuf {
    let own = std::env::current_exe().expect("the system knows this program");
    let mut found = own.ancestors().map(|folder| folder.join("arq-venv/bin/python"));
    found.find(|python| python.exists()).expect("`cargo xtask needs` has installed arq")
}
