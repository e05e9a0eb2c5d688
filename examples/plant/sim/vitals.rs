//! How this machine is: `/proc` where it exists, little where it does not.

use std::fs;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

use super::real;

/// A sample of the machine and this process. What the machine does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    /// Processors that this process may use.
    pub processors: usize,
    /// Runnable processes, on average over the last minute.
    pub load: Option<f64>,
    /// Memory of the machine, KiB.
    pub memory_kib: Option<u64>,
    /// Of that, what programs could still get, KiB.
    pub available_kib: Option<u64>,
    /// Memory of this process, KiB.
    pub resident_kib: Option<u64>,
    /// Threads of this process.
    pub threads: Option<u64>,
    /// Seconds since the machine started.
    pub uptime: Option<f64>,
}

/// Samples `/proc`; on systems without one only the processors are known.
pub fn sample() -> Vitals {
    let read = |file: &str| fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
    let (memory, process) = (read("meminfo"), read("self/status"));
    Vitals {
        processors: available_parallelism().map_or(1, usize::from),
        load: first_number(&read("loadavg")),
        memory_kib: field(&memory, "MemTotal"),
        available_kib: field(&memory, "MemAvailable"),
        resident_kib: field(&process, "VmRSS"),
        threads: field(&process, "Threads"),
        uptime: first_number(&read("uptime")),
    }
}

impl Vitals {
    /// Whether the machine has room: load below twice its processors, a twentieth of its memory free.
    ///
    /// What is not known does not count against it.
    pub fn is_healthy(&self) -> bool {
        let busy = self.load.is_some_and(|load| load > 2.0 * real(self.processors));
        let full = self.memory_kib.zip(self.available_kib).is_some_and(|(all, free)| free < all / 20);
        !busy && !full
    }
}

/// The number after `name:` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "MemTotalish:  1 kB\nMemTotal:       8052004 kB\nMemFree: many\n";
        assert_eq!(field(text, "MemTotal"), Some(8_052_004));
        assert_eq!(field(text, "MemFree"), None);
        assert_eq!(field(text, "SwapFree"), None);
        assert_eq!(first_number("0.52 0.58 0.59 1/467 12345\n"), Some(0.52));
        assert_eq!(first_number(""), None);
    }

    #[test]
    fn health_is_judged_by_what_is_known() {
        let vitals = Vitals { processors: 2, ..Vitals::default() };
        assert!(vitals.is_healthy());
        assert!(Vitals { load: Some(3.9), ..vitals.clone() }.is_healthy());
        assert!(!Vitals { load: Some(4.1), ..vitals.clone() }.is_healthy());
        let memory = |free| Vitals { memory_kib: Some(1_000), available_kib: Some(free), ..vitals.clone() };
        assert!(memory(50).is_healthy());
        assert!(!memory(49).is_healthy());
    }

    #[test]
    fn this_machine_can_be_sampled() {
        let vitals = sample();
        assert!(vitals.processors >= 1);
        #[cfg(target_os = "linux")]
        assert!(
            vitals.memory_kib > Some(0) && vitals.resident_kib > Some(0) && vitals.threads >= Some(1),
            "{vitals:?}"
        );
    }
}
