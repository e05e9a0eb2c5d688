//! Who is compared: sector7g, the raw ceiling, and the peers that are installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::Measure;
use super::process;

/// What a contender needs beside cargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// Our workspace's own binaries.
    Workspace,
    /// `peers/rust`, built into `target/peers/rust`.
    Rust,
    /// `peers/python`, with the environment in `target/peers/python`.
    Python,
    /// `peers/node`, copied to `target/peers/node` and installed there.
    Node,
}

/// Somebody who takes part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contender {
    /// What it is called.
    pub(super) name: &'static str,
    /// Where its program is.
    pub(super) home: Home,
    /// The program, or what the home's one script is told to be.
    pub(super) program: &'static str,
    /// Or as the library comes.
    pub(super) is_tuned: bool,
    /// How many jobs it runs in a second, about, with 100 slots, or more, where a run of that would have few looks at the
    /// queue: it sets how long runs are.
    pub(super) load: usize,
    /// The longest backlog that it is given.
    pub(super) most: usize,
    /// Which of its queues: ours has one for each way to lie on a cluster.
    pub(super) queue: Queue,
}

/// How a queue lies on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Not at all: its keys have many slots.
    Plain,
    /// In one slot, by its hash tag.
    Tagged,
    /// In four slots, a partition each.
    Parted,
}

impl Queue {
    /// The word for it on a contender's command line.
    #[must_use]
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tagged => "tagged",
            Self::Parted => "parted",
        }
    }
}

const fn contender(name: &'static str, home: Home, program: &'static str, is_tuned: bool, load: usize) -> Contender {
    Contender { name, home, program, is_tuned, load, most: usize::MAX, queue: Queue::Plain }
}

/// The longest backlog of apalis: beyond 8,000 due jobs its script fails, and the worker ends. What is compared with it is of as many.
pub(super) const APALIS_MOST: usize = 7_900;

/// All of them.
pub(super) const ALL: &[Contender] = &[
    contender(OURS, Home::Workspace, "contender", true, 120_000),
    contender(OUR_DEFAULTS, Home::Workspace, "contender", false, 30_000),
    Contender { queue: Queue::Tagged, ..contender("sector7g-tagged", Home::Workspace, "contender", true, 40_000) },
    Contender { queue: Queue::Parted, ..contender("sector7g-parted", Home::Workspace, "contender", true, 40_000) },
    contender(RAW, Home::Workspace, "raw", true, 120_000),
    Contender { most: APALIS_MOST, ..contender("apalis", Home::Rust, "apalis", true, 50_000) },
    Contender { most: APALIS_MOST, ..contender("apalis-defaults", Home::Rust, "apalis", false, 7_900) },
    contender("rusty-sidekiq", Home::Rust, "sidekiq", true, 15_000),
    contender("rusty-sidekiq-defaults", Home::Rust, "sidekiq", false, 15_000),
    contender("bullmq-rust", Home::Rust, "bullmq", true, 20_000),
    contender("bullmq-rust-defaults", Home::Rust, "bullmq", false, 5_000),
    contender("bullmq", Home::Node, "bullmq", true, 20_000),
    contender("bullmq-defaults", Home::Node, "bullmq", false, 6_000),
    contender("arq", Home::Python, "arq", true, 3_000),
    contender("arq-defaults", Home::Python, "arq", false, 2_000),
    contender("saq", Home::Python, "saq", true, 2_500),
    contender("saq-defaults", Home::Python, "saq", false, 2_000),
];

/// The name that the others are compared with.
pub(super) const OURS: &str = "sector7g";

/// The same as it comes.
pub(super) const OUR_DEFAULTS: &str = "sector7g-defaults";

/// Who is measured all around in a quick run: ours, and who comes nearest.
pub(super) const QUICK: [&str; 3] = [OURS, RAW, "apalis"];

/// The ceiling: no queue that anybody could use.
pub(super) const RAW: &str = "raw";

impl Contender {
    /// Whether a measure that skips it says nothing of it: another form of the same library takes part, or only ours.
    #[must_use]
    pub(super) fn is_silent(&self, measure: Measure) -> bool {
        let has_other_form = !self.is_tuned || self.queue != Queue::Plain;
        has_other_form || matches!(measure, Measure::Cluster { .. } | Measure::Idle | Measure::Dispatch { .. })
    }

    /// Its command, to which the rest of the command line is added.
    #[must_use]
    pub(super) fn command(&self, root: &Path) -> Command {
        let target = target(root);
        match self.home {
            Home::Workspace => Command::new(target.join("release").join(self.program)),
            Home::Rust => Command::new(target.join("peers/rust/release").join(self.program)),
            Home::Python => {
                let mut command = Command::new(target.join("peers/python/bin/python"));
                command.arg(root.join("peers/python/contender.py")).arg(self.program);
                command
            }
            Home::Node => {
                let mut command = Command::new("node");
                command.arg(target.join("peers/node/contender.mjs"));
                command
            }
        }
    }

    /// What it says it is; `None` when it is not installed.
    #[must_use]
    pub(super) fn version(&self, root: &Path) -> Option<String> {
        process::said(self.command(root).arg("version"))
    }
}

/// Where cargo builds.
#[must_use]
pub(super) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}
