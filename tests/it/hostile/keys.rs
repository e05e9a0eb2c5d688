//! Bytes put into a real Redis by hand, under every key that a job's way leads by.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{JobFilter, QueueName, RedisBroker};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::{Fleet, Harness};
use support::{Lines, RedisServer};

#[task(queue = "keys", max_tries = 2, backoff = "fixed(1ms)")]
async fn passes(ctx: &Context, fails: u32) -> Result<u32, String> {
    if ctx.attempt() <= fails { Err("not yet".to_owned()) } else { Ok(ctx.attempt()) }
}

#[task(queue = "others")]
async fn elsewhere() -> bool {
    true
}

#[derive(Worker)]
#[worker(queue = "keys", lease = "300ms", poll_delay = "50ms", unknown_task_grace = "300ms")]
struct Keys;

#[derive(Worker)]
#[worker(queue = "others", poll_delay = "50ms")]
struct Others;

/// A server, a worker on it, and the ids of jobs that must end well whatever lies beside them.
struct Ground {
    server: RedisServer,
    harness: Harness,
    fleet: Fleet,
    lines: Lines,
}

impl Ground {
    /// `litter` runs on the server before the worker starts: with `put(id, fails)`, which stores an honest job.
    fn start(litter: &str) -> Self {
        let lines = Lines::capture_everywhere();
        let server = RedisServer::start();
        let ground = Self::on(server, lines);
        ground.lua(litter);
        ground
    }

    fn on(server: RedisServer, lines: Lines) -> Self {
        let broker = RedisBroker::builder(server.url()).build().unwrap();
        let inventory = Inventory::empty().task::<passes>().task::<elsewhere>().worker::<Keys>().worker::<Others>();
        let harness = Harness::on(Arc::new(broker)).inventory(inventory);
        let fleet = harness.start();
        Self { server, harness, fleet, lines }
    }

    fn lua(&self, script: &str) -> String {
        let honest = r#"
            local function call(...) return redis.call(...) end
            local function put(id, fails)
              call('SET', 'arq:job:' .. id, '{"f":"passes","a":[' .. (fails or 0) .. '],"k":{},"et":1}')
              call('ZADD', 'arq:queue:keys', 1, id)
            end
            local function notes(id, ...)
              local payload = call('GET', 'arq:job:' .. id)
              call('HSET', 'arq:s7:job:' .. id, 'j', redis.sha1hex(payload), ...)
            end
        "#;
        self.server.cli(&["EVAL", &format!("{honest}\n{script}"), "0"])
    }

    fn job(&self, id: &str) -> JobHandle<passes> {
        self.harness.client().job("keys", id).unwrap()
    }

    /// The neighbours end, in each queue; then the worker stops as ever.
    async fn neighbours_finish(self) -> Self {
        let client = self.harness.client();
        let jobs = client.enqueue_all((0..5).map(|n| passes::job(n % 2))).await.unwrap();
        let other = client.enqueue(elsewhere::job()).await.unwrap();
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(within(job.result()).await.unwrap(), u32::try_from(n % 2).unwrap() + 1);
        }
        assert!(within(other.result()).await.unwrap());
        self
    }

    async fn is_drained(&self) {
        let stats = self.harness.client();
        let mut left = 0;
        for _ in 0..1_000 {
            left = stats.stats("keys").await.unwrap().live();
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{left} jobs stay: {}", self.server.cli(&["ZRANGE", "arq:queue:keys", "0", "-1", "WITHSCORES"]));
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it comes to an end")
}

/// Python's ids are text; bytes that are none would be leased for ever, as no worker could say which job it is.
#[tokio::test]
async fn an_id_that_is_no_text_is_a_dead_letter_under_its_bytes() {
    let ground = Ground::start(
        r"
        for _, id in ipairs({ '\255\254', 'half \226\130', '\226\130\195\169\172', '\192\128', '\237\160\128', '\244\144\128\128', '' }) do
          put(id)
          call('SET', 'arq:retry:' .. id, '1')
        end
        for _, id in ipairs({ 'na\195\175ve', '\240\159\141\169', '\226\130\172', '\239\191\191' }) do put(id) end
        call('ZADD', 'arq:abort', 1, '\255')
        ",
    );
    let ground = ground.neighbours_finish().await;
    for id in ["naïve", "🍩", "€", "\u{ffff}"] {
        assert_eq!(within(ground.job(id).result()).await.unwrap(), 1, "{id} is text");
    }
    ground.is_drained().await;
    let mut dead = ground.harness.dead_letters("keys").await.unwrap();
    dead.sort_by_key(|letter| letter.id.clone());
    let names: Vec<&str> = dead.iter().map(|letter| letter.id.as_str()).collect();
    let escaped = [
        "(empty)",
        r"\xc0\x80",
        r"\xe2\x82\xc3\xa9\xac",
        r"\xed\xa0\x80",
        r"\xf4\x90\x80\x80",
        r"\xff\xfe",
        r"half \xe2\x82",
    ];
    assert_eq!(names, escaped);
    for letter in &dead {
        let failure = letter.failures.last().unwrap();
        assert_eq!((failure.kind, letter.task.as_deref()), (FailureKind::Payload, Some("passes")), "{letter:?}");
        assert!(failure.message.starts_with("its id was no text (UTF-8)"), "{failure}");
    }
    let told = ground.lines.with("is not run but kept as a dead letter: its id is no text");
    assert_eq!(told.len(), 7, "each is told once: {told:?}");
    let left = ground.lua(r"local left = {} for _, id in ipairs({ '\255\254', '\192\128' }) do for _, key in ipairs({ 'job', 'retry', 'in-progress', 's7:job' }) do left[#left+1] = call('EXISTS', 'arq:' .. key .. ':' .. id) end end return table.concat(left)");
    assert_eq!(left, "00000000", "nothing is left under the old name");
    // It can be run under the new one.
    let id = JobId::new(r"\xff\xfe").unwrap();
    assert!(ground.harness.client().retry_dead("keys", &id).await.unwrap());
    assert_eq!(within(ground.job(id.as_str()).result()).await.unwrap(), 1);
    ground.fleet.stop().await.unwrap();
}

/// Printable signs are fewer than bytes, and a letter's name is short: no letter takes another one's place for that.
#[tokio::test]
async fn ids_that_are_no_text_keep_a_letter_each() {
    let ground = Ground::start(
        r#"
        local long = string.rep('x', 600)
        for i, id in ipairs({ '\255', '\255\255', '\255' .. long .. '1', '\255' .. long .. '2', '\254' }) do
          put(id)
          call('SET', 'arq:job:' .. id, '{"f":"passes","a":[' .. i .. '],"k":{},"et":1}')
        end
        -- Text that looks like bytes: of a dead letter, and of a job that waits.
        call('ZADD', 'arq:queue:keys:s7:dead', call('TIME')[1] .. '000', '\\xff')
        call('HSET', 'arq:queue:keys:s7:dead:\\xff', 'p', '{"f":"passes","a":[6],"k":{},"et":1}', 'a', '1')
        put('\\xfe', 0)
        call('ZADD', 'arq:queue:keys', 9e14, '\\xfe')
        "#,
    );
    let ground = ground.neighbours_finish().await;
    within(async {
        while ground.harness.dead_letters("keys").await.unwrap().len() < 6 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let dead = ground.harness.dead_letters("keys").await.unwrap();
    let mut letters: Vec<(String, String)> =
        dead.iter().map(|letter| (letter.arguments.clone().unwrap(), letter.id.to_string())).collect();
    letters.sort();
    let names: Vec<&str> = letters.iter().map(|(_, name)| name.as_str()).collect();
    let is_marked = |name: &str, begin: &str| {
        let mark = name.strip_prefix(begin).and_then(|rest| rest.strip_prefix('-'));
        mark.is_some_and(|mark| mark.len() == 40) && name.len() <= 500
    };
    assert!(is_marked(names[0], r"\xff"), "{names:?}");
    assert_eq!(names[1], r"\xff\xff");
    assert!(names[2..4].iter().all(|name| is_marked(name, &name[..459])) && names[2] != names[3], "{names:?}");
    assert!(is_marked(names[4], r"\xfe"), "{names:?}");
    assert_eq!(names[5], r"\xff");
    assert!(ground.job(r"\xfe").abort().await.unwrap(), "it still waits");
    ground.fleet.stop().await.unwrap();
}

/// Notes, attempts, leases and payloads that are nonsense, or of another type.
#[tokio::test]
async fn nonsense_under_a_jobs_keys_costs_that_job_at_most() {
    let ground = Ground::start(
        r#"
        local texts = { '', 'x', '-1', '0', '1e300', '-1e300', 'inf', '-inf', 'nan', '0x10', '99999999999999999999', '\255\0\254' }
        for i, text in ipairs(texts) do
          -- Notes of this very job.
          put('notes-' .. i, i % 2)
          notes('notes-' .. i, 'f', text, 'x', text, 'u', text, 'c', text, 'n', text, 'p', text)
          put('unknown-' .. i)
          call('SET', 'arq:job:unknown-' .. i, '{"f":"nobody knows","a":[],"k":{},"et":1}')
          notes('unknown-' .. i, 'f', text, 'x', text, 'u', text, 'c', text, 'n', i % 2 == 0 and text or '0')
          put('retry-' .. i, 1)
          call('SET', 'arq:retry:retry-' .. i, text)
          put('payload-' .. i)
          call('SET', 'arq:job:payload-' .. i, text)
          put('result-' .. i)
          call('SET', 'arq:result:result-' .. i, text)
          -- Python's claim is any text, here of one that died.
          put('claim-' .. i)
          call('SET', 'arq:in-progress:claim-' .. i, text, 'PX', 500)
          put('lease-' .. i)
          call('SET', 'arq:in-progress:lease-' .. i, '0123456789abcdef-1 ' .. text .. ' 0 0 300 0 1', 'PX', 500)
        end
        put('long-lease')
        call('SET', 'arq:in-progress:long-lease', 'token-1 ' .. string.rep('9', 400) .. ' 0 ' .. string.rep('9', 400) .. ' 300 0 1', 'PX', 500)
        for i, score in ipairs({ '-inf', '-1e300', '-0.5', '1e-300', '1.5' }) do
          put('score-' .. i)
          call('ZADD', 'arq:queue:keys', score, 'score-' .. i)
        end
        for i, key in ipairs({ 'job', 'retry', 'in-progress', 's7:job', 'result', 's7:hold' }) do
          put('list-' .. i, 1)
          call('DEL', 'arq:' .. key .. ':list-' .. i)
          call('RPUSH', 'arq:' .. key .. ':list-' .. i, 'x')
          put('hash-' .. i, 1)
          call('DEL', 'arq:' .. key .. ':hash-' .. i)
          call('HSET', 'arq:' .. key .. ':hash-' .. i, 'f', '\255')
        end
        put('string-notes', 1)
        call('SET', 'arq:s7:job:string-notes', 'x')
        put('huge-notes', 1)
        notes('huge-notes', 'f', string.rep('x', 5000000), 'p', string.rep('\255', 1000000))
        "#,
    );
    let ground = ground.neighbours_finish().await;
    ground.is_drained().await;
    for id in
        ["notes-5", "notes-8", "lease-5", "long-lease", "claim-1", "score-1", "score-4", "string-notes", "huge-notes"]
    {
        within(ground.job(id).result()).await.unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    for id in ["list-2", "list-3", "list-4", "list-5", "list-6", "hash-2", "hash-3", "hash-4", "hash-5", "hash-6"] {
        assert_eq!(within(ground.job(id).result()).await.unwrap(), 2, "{id}");
    }
    // What counts more attempts than are allowed is not run, and says so; what is no count counts as none.
    for (n, ended) in [(2, Ok(2)), (5, Err(FailureKind::MaxTries)), (8, Ok(2))] {
        let result = within(ground.job(&format!("retry-{n}")).result()).await;
        assert_eq!(result.map_err(|error| error.failure().unwrap().kind), ended, "retry-{n}");
    }
    assert_eq!(ground.lines.with("is not its own"), [""; 0], "no script's answer was misread");
    for n in 1..=12 {
        let unknown = within(ground.job(&format!("unknown-{n}")).result()).await.unwrap_err();
        assert_eq!(unknown.failure().unwrap().kind, FailureKind::UnknownTask, "unknown-{n}");
        let payload = within(ground.job(&format!("payload-{n}")).result()).await.unwrap_err();
        assert_eq!(payload.failure().unwrap().kind, FailureKind::Payload, "payload-{n}");
    }
    for id in ["list-1", "hash-1"] {
        let gone = within(ground.job(id).result()).await.unwrap_err();
        assert_eq!(gone.failure().unwrap().kind, FailureKind::Expired, "{id}");
    }
    ground.fleet.stop().await.unwrap();
}

/// Scores that no clock will reach are far in the future; they are shown as such and hold nothing up.
#[tokio::test]
async fn scores_without_end_wait_for_ever_and_are_shown() {
    let ground = Ground::start(
        "put('never') call('ZADD', 'arq:queue:keys', '+inf', 'never') put('far') call('ZADD', 'arq:queue:keys', '1e300', 'far')",
    );
    let ground = ground.neighbours_finish().await;
    let client = ground.harness.client();
    assert_eq!(client.stats("keys").await.unwrap().deferred, 2);
    let listed = client.jobs("keys", JobFilter::Live, None, 10).await.unwrap().jobs;
    assert_eq!(listed.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["far", "never"]);
    assert!(ground.job("never").abort().await.unwrap(), "and can be aborted");
    assert_eq!(within(ground.job("never").result()).await.unwrap_err().failure().unwrap().kind, FailureKind::Aborted);
    ground.fleet.stop().await.unwrap();
}

/// Those who look see what can be read, whatever lies beside it.
#[tokio::test]
async fn lists_and_counts_are_told_beside_nonsense() {
    let ground = Ground::start(
        r#"
        call('SET', 'arq:queue:keys:health-check', '\255 j_complete=nine j_failed=-1')
        call('ZADD', 'arq:s7:queues', 1e15, '\255', 1e15, '', 1e15, 'two\nlines')
        call('ZADD', 'arq:queue:keys:s7:workers', '+inf', '\255', '+inf', 'list', '+inf', 'text')
        call('SET', 'arq:queue:keys:s7:worker:\255', '{"name":')
        call('RPUSH', 'arq:queue:keys:s7:worker:list', 'x')
        call('SET', 'arq:queue:keys:s7:worker:text', string.rep('[', 100000))
        call('SET', 'arq:queue:keys:s7:look', 'soon')
        call('ZADD', 'arq:queue:keys:s7:dead', '+inf', 'gone', 5, '\255', 6, 'list', 7, 'hash')
        call('RPUSH', 'arq:queue:keys:s7:dead:list', 'x')
        call('HSET', 'arq:queue:keys:s7:dead:hash', 'p', '\255', 'f', '\255\n{"kind":"nonsense"}\n\n{}', 'a', 'many')
        call('HSET', 'arq:queue:keys:s7:dead:\255', 'p', 'x')
        for i = 1, 3 do
          call('ZADD', 'arq:queue:nobody', i * 1e13, '\255' .. i)
          call('SET', 'arq:job:\255' .. i, '{}')
        end
        call('SET', 'arq:result:garbage', '\255')
        call('RPUSH', 'arq:result:list', 'x')
        "#,
    );
    let ground = ground.neighbours_finish().await;
    let client = ground.harness.client();
    let stats = client.stats("keys").await.unwrap();
    assert_eq!(stats.workers.iter().map(|worker| worker.name.as_str()).collect::<Vec<_>>(), ["keys"]);
    let dead = client.dead_letters("keys", None, 10).await.unwrap().jobs;
    assert_eq!(dead.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["gone", "hash", "list"]);
    assert!(dead.iter().all(|job| job.failures.is_empty() && job.attempt == 0), "{dead:?}");
    // Pages go on behind an id that can't be shown.
    let first = client.jobs("nobody", JobFilter::Live, None, 1).await.unwrap();
    assert!(first.jobs.is_empty());
    let second = client.jobs("nobody", JobFilter::Live, first.next, 1).await.unwrap();
    let third = client.jobs("nobody", JobFilter::Live, second.next, 1).await.unwrap();
    assert!(third.next.is_none());
    let queues = ground.harness.broker().queues().await.unwrap();
    assert!(queues.contains(&QueueName::new("keys").unwrap()), "{queues:?}");
    assert!(ground.job("garbage").result().await.unwrap_err().failure().is_none());
    assert!(ground.job("list").result().await.unwrap_err().failure().is_none());
    assert_eq!(client.discard_all_dead("keys").await.unwrap(), 2);
    ground.fleet.stop().await.unwrap();
}

/// A queue's own key of another type: its worker says so and goes on trying, and another queue's worker goes on.
#[tokio::test]
async fn a_queue_that_is_no_queue_is_told_and_harms_no_other() {
    let lines = Lines::capture_everywhere();
    let server = RedisServer::start();
    server.cli(&["SET", "arq:queue:keys", "x"]);
    let ground = Ground::on(server, lines);
    let client = ground.harness.client();
    let other = client.enqueue(elsewhere::job()).await.unwrap();
    assert!(within(other.result()).await.unwrap());
    let refused = client.enqueue(passes::job(0)).await.unwrap_err();
    let refused = format!("{refused:?}");
    assert!(refused.contains("WRONGTYPE"), "{refused}");
    within(async {
        while ground.lines.with("WRONGTYPE").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    ground.server.cli(&["DEL", "arq:queue:keys"]);
    let ground = ground.neighbours_finish().await;
    ground.fleet.stop().await.unwrap();
}
