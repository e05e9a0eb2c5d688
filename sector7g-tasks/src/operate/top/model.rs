//! What `top` shows, and what keys do to it: pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;

use crate::broker::JobFilter;
use crate::inspect::rates::{Rate, Rates};
use crate::inspect::{JobView, Overview};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Quit,
    /// The same, otherwise shown.
    Draw,
    /// To look anew.
    Look,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Screen {
    #[default]
    Queues,
    Queue {
        name: String,
    },
    Job {
        queue: String,
        id: String,
    },
}

/// Which jobs of a queue are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Filter {
    #[default]
    Running,
    Waiting,
    Dead,
}

impl Filter {
    pub(super) fn of_broker(self) -> JobFilter {
        match self {
            Self::Running => JobFilter::Running,
            Self::Waiting => JobFilter::Live,
            Self::Dead => JobFilter::Dead,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) location: String,
    pub(super) overview: Option<Overview>,
    pub(super) screen: Screen,
    pub(super) filter: Filter,
    pub(super) jobs: Vec<JobView>,
    pub(super) job: Option<JobView>,
    /// What is not well, by the thresholds.
    pub(super) reasons: Vec<String>,
    /// Why the last look failed.
    pub(super) trouble: Option<String>,
    pub(super) queue_row: TableState,
    pub(super) job_row: TableState,
    /// How far the text of a job is scrolled.
    pub(super) scroll: u16,
    rates: Rates,
}

impl Model {
    /// Takes what a look has found.
    pub(super) fn see(&mut self, overview: Overview) {
        self.rates.see(&overview);
        self.overview = Some(overview);
        self.stay_within();
    }

    /// How many jobs a minute the workers of a queue end, those of their other queues included; `None` until they have
    /// said so twice.
    pub(super) fn per_minute(&self, queue: usize) -> Option<u64> {
        self.rates.of(self.overview.as_ref()?.queues.get(queue)?).map(Rate::ended)
    }

    /// Rows may have gone.
    pub(super) fn stay_within(&mut self) {
        let queues = self.overview.as_ref().map_or(0, |overview| overview.queues.len());
        keep_within(&mut self.queue_row, queues);
        keep_within(&mut self.job_row, self.jobs.len());
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Act::Quit;
        }
        match key.code {
            KeyCode::Char('q') => Act::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => self.enter(),
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace | KeyCode::Char('h') => self.leave(),
            KeyCode::Char('r') => self.choose(Filter::Running),
            KeyCode::Char('w') => self.choose(Filter::Waiting),
            KeyCode::Char('d') => self.choose(Filter::Dead),
            _ => Act::Draw,
        }
    }

    fn step(&mut self, by: i16) -> Act {
        let steps = by.unsigned_abs();
        let row = match self.screen {
            Screen::Queues => &mut self.queue_row,
            Screen::Queue { .. } => &mut self.job_row,
            Screen::Job { .. } => {
                self.scroll =
                    if by < 0 { self.scroll.saturating_sub(steps) } else { self.scroll.saturating_add(steps) };
                return Act::Draw;
            }
        };
        if by < 0 {
            row.scroll_up_by(steps);
        } else {
            row.scroll_down_by(steps);
        }
        self.stay_within();
        Act::Draw
    }

    fn enter(&mut self) -> Act {
        let next = match &self.screen {
            Screen::Queues => self.overview.as_ref().zip(self.queue_row.selected()).and_then(|(overview, row)| {
                overview.queues.get(row).map(|queue| Screen::Queue { name: queue.name.clone() })
            }),
            Screen::Queue { name } => self
                .job_row
                .selected()
                .and_then(|row| self.jobs.get(row).map(|job| Screen::Job { queue: name.clone(), id: job.id.clone() })),
            Screen::Job { .. } => None,
        };
        let Some(next) = next else { return Act::Draw };
        if matches!(next, Screen::Queue { .. }) {
            (self.jobs, self.job_row) = (Vec::new(), TableState::default());
        }
        (self.screen, self.job, self.scroll) = (next, None, 0);
        Act::Look
    }

    fn leave(&mut self) -> Act {
        self.screen = match std::mem::take(&mut self.screen) {
            Screen::Job { queue, .. } => Screen::Queue { name: queue },
            _ => Screen::Queues,
        };
        Act::Look
    }

    fn choose(&mut self, filter: Filter) -> Act {
        if !matches!(self.screen, Screen::Queue { .. }) || self.filter == filter {
            return Act::Draw;
        }
        (self.filter, self.jobs, self.job_row) = (filter, Vec::new(), TableState::default());
        Act::Look
    }
}

/// Keeps a row chosen while there is one.
fn keep_within(row: &mut TableState, rows: usize) {
    row.select(rows.checked_sub(1).map(|last| row.selected().unwrap_or(0).min(last)));
}
