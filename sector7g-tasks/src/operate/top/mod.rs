//! `top`: the fleet on a terminal, looked at anew now and then. It changes nothing.

mod draw;
mod model;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval};

use self::model::{Act, Model, Screen};
use super::Site;
use super::args::TopArgs;
use super::error::OperateError;
use crate::broker::{Broker as _, BrokerError, JobId, QueueName};
use crate::error::Chain;
use crate::inspect::{JobView, Overview, Reveal, Thresholds};
use crate::runner::Signals;

/// How many jobs of a queue are shown: more than a terminal has lines.
const MOST_JOBS: usize = 200;

/// How long the reader of keys may take to see that nobody listens any more.
const LOOK: Duration = Duration::from_millis(100);

/// Shows the fleet until it is left.
pub(super) async fn run(site: &Site<'_>, args: &TopArgs) -> Result<(), OperateError> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(OperateError::NoTerminal);
    }
    let thresholds = args.thresholds.read();
    if let Some(queue) = site.queue
        && !thresholds.expected.contains(queue)
    {
        site.known(queue).await?;
    }
    let terminal = ratatui::try_init().map_err(|error| OperateError::System(error.into()))?; // it restores it on a panic, too
    let restored = Restored;
    let ended = show(site, args.every, &thresholds, terminal).await;
    drop(restored);
    ended.map_err(|error| OperateError::System(error.into()))
}

/// Dropped, the terminal is as it was.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn show(
    site: &Site<'_>,
    every: Duration,
    thresholds: &Thresholds,
    mut terminal: DefaultTerminal,
) -> std::io::Result<()> {
    let (sender, mut events) = channel(16);
    std::thread::Builder::new().name("s7g-keys".to_owned()).spawn(move || read_keys(&sender))?;
    let mut model = Model::default();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut signals = Signals::new()?;
    loop {
        let act = tokio::select! {
            biased;
            _ = signals.heard() => Act::Quit, // cancel safe: the next call returns it
            act = next_act(&mut events, &mut model) => act, // cancel safe: takes only what it acts on
            _ = ticks.tick() => Act::Look, // cancel safe: only waits
        };
        match act {
            Act::Quit => return Ok(()),
            Act::Draw => {}
            Act::Look => {
                let looked = look(site, thresholds, &mut model).await;
                model.trouble = looked.err().map(|error| Chain(&error).to_string());
            }
        }
        terminal.draw(|frame| draw::draw(frame, &mut model))?;
    }
}

async fn next_act(events: &mut Receiver<Event>, model: &mut Model) -> Act {
    match events.recv().await {
        Some(Event::Key(key)) => model.key(key),
        Some(_) => Act::Draw, // it has another size
        None => Act::Quit,
    }
}

/// Reads keys on a thread of its own, as reading blocks, until nobody takes them.
fn read_keys(sender: &Sender<Event>) {
    while !sender.is_closed() {
        match event::poll(LOOK) {
            Ok(false) => {}
            Ok(true) => {
                let sent = event::read().is_ok_and(|event| sender.blocking_send(event).is_ok());
                if !sent {
                    return;
                }
            }
            Err(_) => return, // the terminal is gone, and `show` ends for that
        }
    }
}

/// Reads what the screen shows.
async fn look(site: &Site<'_>, thresholds: &Thresholds, model: &mut Model) -> Result<(), BrokerError> {
    let broker = site.broker;
    model.location = broker.location();
    let only = site.queue.map(std::slice::from_ref);
    let overview = Overview::of_expected(broker, only, &thresholds.expected).await?;
    let health = thresholds.assess(overview);
    model.reasons = health.reasons.into_iter().map(|reason| reason.message).collect();
    model.see(health.overview);
    let (queue, id) = match &model.screen {
        Screen::Queues => return Ok(()),
        Screen::Queue { name } => (name.clone(), None),
        Screen::Job { queue, id } => (queue.clone(), Some(id.clone())),
    };
    let Ok(queue) = QueueName::new(queue) else { return Ok(()) };
    let reveal = Reveal::of(broker, &queue).await?;
    match id.map(JobId::new) {
        None => {
            let page = broker.jobs(&queue, model.filter.of_broker(), None, MOST_JOBS).await?;
            model.jobs = page.jobs.into_iter().map(|record| JobView::new(record, &queue, &reveal)).collect();
        }
        Some(Ok(id)) => model.job = JobView::find(broker, &queue, &id, &reveal).await?,
        Some(Err(_)) => model.job = None,
    }
    model.stay_within();
    Ok(())
}
