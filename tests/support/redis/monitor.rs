//! What a server was told, as `MONITOR` shows it.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use super::talk::Talk;

/// The last line of a recording, sent by another connection when the test stops it.
const END: &str = "end-of-the-recording";

/// Collects a server's commands until [`Monitor::stop`].
#[derive(Debug)]
pub struct Monitor {
    reader: Option<JoinHandle<Vec<String>>>,
    stream: UnixStream,
    other: Talk,
}

impl Monitor {
    pub(crate) fn read(mut talk: Talk, other: Talk) -> Self {
        let stream = talk.stream().expect("the socket is open");
        let reader = std::thread::spawn(move || {
            let mut lines = Vec::new();
            while let Ok(line) = talk.line() {
                if line.contains(END) {
                    break;
                }
                lines.push(line.trim_start_matches('+').to_owned());
            }
            lines
        });
        Self { reader: Some(reader), stream, other }
    }

    /// The commands since the start, in the order in which the server ran them, one a line:
    /// `1690000000.123456 [0 127.0.0.1:51234] "GET" "key"`. What a script ran has `[0 lua]` in it.
    #[must_use]
    pub fn stop(mut self) -> Vec<String> {
        if self.other.ask(&format!("ECHO {END}")).is_err() {
            let _ = self.stream.shutdown(Shutdown::Both); // the server is gone
        }
        let reader = self.reader.take().expect("only a stop takes it");
        reader.join().expect("the reader does not panic")
    }

    /// As [`Self::stop`], less what scripts ran: the commands that clients sent.
    #[must_use]
    pub fn stop_from_clients(self) -> Vec<String> {
        self.stop().into_iter().filter(|line| !line.contains(" lua] \"")).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = self.stream.shutdown(Shutdown::Both);
            let _ = reader.join();
        }
    }
}
