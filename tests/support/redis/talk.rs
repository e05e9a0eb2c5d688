//! One connection, and just enough of the protocol to ask and to listen.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

#[derive(Debug)]
pub(crate) struct Talk(BufReader<UnixStream>);

impl Talk {
    /// Connects, as `user` (whose password is not asked for) or as the default one.
    pub(crate) fn open(socket: &Path, user: Option<&str>) -> io::Result<Self> {
        let mut talk = Self(BufReader::new(UnixStream::connect(socket)?));
        if let Some(user) = user {
            talk.ask(&format!("AUTH {user} {user}"))?;
        }
        Ok(talk)
    }

    /// Sends a command of plain words; the answer's first line.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.line()
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// What ends the reads of another thread.
    pub(crate) fn stream(&self) -> io::Result<UnixStream> {
        self.0.get_ref().try_clone()
    }
}
