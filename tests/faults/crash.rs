//! Deaths and cuts at every point that anybody else can tell from another: what a process does shows in nothing but what
//! it writes to the server, so it is hit before each of its writes gets there, and after that before the reply.

use std::time::Duration;

use support::{Dice, Proxy, Way};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::ledger::What;
use crate::plant::Plant;
use crate::scenario::{Breach, Fate, Outcome, Role, Scenario, Victim};

/// Hits at once: they mostly wait, after a death for a lease to end.
const AT_ONCE: u64 = 6; // an even number: each write is tried twice

/// Batches without a hit after which no further write is looked for.
const ENOUGH: usize = 2;

/// Within which what is waited for comes.
const LIMIT: Duration = Duration::from_secs(20);

/// Where one is hit.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// How many writes get through before.
    writes: u64,
    /// Whether the one that it is hit at gets through, too.
    after: bool,
}

/// From the first write to the one that never comes, as all is done before; the sum of it.
pub(crate) async fn everywhere(scenario: &Scenario, victim: Victim, dice: &Dice, keep: bool) -> Outcome {
    let began = Instant::now();
    let mut sum: Option<Outcome> = None;
    let mut first = 0;
    let mut empty = 0;
    while empty < ENOUGH {
        let mut hits = JoinSet::new();
        for writes in first..first + AT_ONCE / 2 {
            for after in [false, true] {
                let (scenario, dice) = (scenario.clone(), dice.apart(&format!("{writes} {after}")));
                hits.spawn(async move { hit(&scenario, victim, Point { writes, after }, dice, keep).await });
            }
        }
        let outcomes = hits.join_all().await;
        // One that ends early says little: how work is spread over writes is chance. None twice over says: it is all.
        empty = if outcomes.iter().any(|outcome| outcome.strikes > 0) { 0 } else { empty + 1 };
        for outcome in outcomes {
            match &mut sum {
                None => sum = Some(outcome),
                Some(sum) => sum.add(outcome),
            }
        }
        first += AT_ONCE / 2;
    }
    let mut sum = sum.expect("at least the first write is tried");
    if sum.strikes < victim.least {
        let few = format!("it was hit at {} points, of {} at least", sum.strikes, victim.least);
        sum.broken.push(Breach::chance(few));
    }
    sum.took = began.elapsed();
    sum
}

/// One of them. After a death there is another worker; another producer would have other jobs.
async fn hit(scenario: &Scenario, victim: Victim, point: Point, dice: Dice, keep: bool) -> Outcome {
    let Victim { role, fate, .. } = victim;
    let mut plant = Plant::prepare(scenario, dice).await;
    let worker = plant.hire(0);
    plant.workers.push(worker);
    let mut late: Vec<String> = until("the worker is there", || is_up(&plant)).await.err().into_iter().collect();
    if role != Role::Producer {
        late.extend(quiet(&plant.ways[0]).await.err()); // its look at the server's set-up is over
    }
    if role != Role::StoppingWorker {
        way(&plant, role).halt(point.writes, point.after);
    }
    let producer = plant.commission(scenario.load.jobs);
    plant.producers.push(producer);
    let was_hit = match role {
        Role::Worker => at_work(&mut plant, fate).await,
        Role::StoppingWorker => stopping(&mut plant, fate, point).await,
        Role::Producer => producing(&mut plant, fate).await,
    };
    let was_hit = was_hit.unwrap_or_else(|what| {
        late.push(what);
        false
    });
    if !was_hit {
        plant.ways.iter().chain(&plant.proxy).for_each(|way| way.set(Way::Pass)); // all that is left must get through
    }
    let mut outcome = scenario.close(plant, keep).await;
    outcome.strikes = usize::from(was_hit);
    let lived = !was_hit || fate == Fate::IsCut;
    if role == Role::StoppingWorker && lived && outcome.account.given_back == 0 {
        late.push("who lived to the end of its stop gave nothing back".to_owned());
    }
    outcome.broken.extend(late.into_iter().map(Breach::harm));
    for broken in &mut outcome.broken {
        broken.what = format!("{point:?}: {}", broken.what);
    }
    outcome
}

/// The one that who is hit takes to the server.
fn way(plant: &Plant, role: Role) -> &Proxy {
    match role {
        Role::Worker | Role::StoppingWorker => &plant.ways[0],
        Role::Producer => plant.proxy.as_ref().expect("producers have one"),
    }
}

/// Breaks all connections of a way that has halted. It is noted nowhere: it excuses nothing.
async fn cut(plant: &Plant, role: Role) -> Result<(), String> {
    let way = way(plant, role);
    way.set(Way::Refuse);
    let cut = until("all connections are cut", || way.connections() == 0).await;
    way.set(Way::Pass);
    cut
}

async fn at_work(plant: &mut Plant, fate: Fate) -> Result<bool, String> {
    let is_over = |plant: &mut Plant| plant.ways[0].has_halted() || plant.has_produced() && plant.left() == Ok(0);
    until("the worker was hit, or all is done", || is_over(plant)).await?;
    let was_hit = plant.ways[0].has_halted();
    match fate {
        _ if !was_hit => {}
        Fate::Dies => {
            plant.kill_worker();
            plant.audit(); // of what it left, before the next one is up
        }
        Fate::IsCut => cut(plant, Role::Worker).await?,
    }
    until("all is asked for", || plant.has_produced()).await?;
    Ok(was_hit)
}

async fn stopping(plant: &mut Plant, fate: Fate, point: Point) -> Result<bool, String> {
    until("all is asked for", || plant.has_produced()).await?;
    until("the worker has jobs", || plant.at_work()[0] > Some(0)).await?;
    plant.ways[0].halt(point.writes, point.after);
    plant.notes.note(What::Told, plant.workers[0].pid());
    plant.workers[0].ask_to_stop();
    let is_over = |plant: &mut Plant| plant.ways[0].has_halted() || plant.workers[0].exit_code().is_some();
    until("the worker was hit, or has stopped", || is_over(plant)).await?;
    let was_hit = plant.workers[0].exit_code().is_none();
    match fate {
        _ if !was_hit => {}
        Fate::Dies => {
            plant.kill_worker();
            plant.audit();
            return Ok(true);
        }
        Fate::IsCut => {
            cut(plant, Role::StoppingWorker).await?;
            until("the worker has stopped", || plant.workers[0].exit_code().is_some()).await?;
        }
    }
    let code = plant.workers[0].exit_code();
    if code != Some(0) {
        plant.crashes.push(format!("told to stop, a worker ended with {code:?}: {}", plant.workers[0].said()));
    }
    plant.notes.note(What::Gone, plant.workers[0].pid());
    plant.workers[0] = plant.hire(0);
    Ok(was_hit)
}

async fn producing(plant: &mut Plant, fate: Fate) -> Result<bool, String> {
    let has_halted = |plant: &Plant| plant.proxy.as_ref().is_some_and(Proxy::has_halted);
    until("the producer was hit, or has ended", || has_halted(plant) || plant.has_produced()).await?;
    let was_hit = !plant.producers.is_empty();
    match fate {
        _ if !was_hit => {}
        Fate::Dies => plant.producers.pop().expect("there is one").program.kill9(),
        Fate::IsCut => {
            cut(plant, Role::Producer).await?;
            until("all is asked for", || plant.has_produced()).await?;
        }
    }
    Ok(was_hit)
}

fn is_up(plant: &Plant) -> bool {
    let key = format!("arq:queue:{}:health-check", plant.queue());
    plant.tell(|connection| redis::cmd("EXISTS").arg(&key).query::<bool>(connection)).unwrap_or_default()
}

/// Waits until a worker without jobs sends nothing for a while.
async fn quiet(way: &Proxy) -> Result<(), String> {
    const WHILE: Duration = Duration::from_millis(150);
    let (mut last, mut since) = (way.writes(), Instant::now());
    until("the worker is idle", || {
        if way.writes() != last {
            (last, since) = (way.writes(), Instant::now());
        }
        since.elapsed() > WHILE
    })
    .await
}

/// Waits; `Err` says what did not come.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        if Instant::now() >= end {
            return Err(format!("not within {LIMIT:?}: {what}"));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
