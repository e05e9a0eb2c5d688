//! The order of the key space: while jobs run, and when all is over.

use redis::{Commands, Connection, RedisResult, Script};

/// Keys that may stay for ever: one each, however many jobs there were.
const SINGLETONS: [&str; 2] = [
    "arq:s7:queues", // the queues' names; one that nobody has used for a month goes
    "arq:abort",     // arq's requests to abort; workers sweep those for jobs that are nowhere
];

/// What breaks «a job is in one place» at this moment, between two calls.
pub(crate) fn places(connection: &mut Connection, queue: &str, ours_alone: bool) -> RedisResult<Vec<String>> {
    let script = Script::new(include_str!("audit.lua"));
    script.key(format!("arq:queue:{queue}")).arg(u8::from(ours_alone)).arg(format!("{queue}:")).invoke(connection)
}

/// Keys that a drained queue leaves behind without an end, and what of a job is left beside its result.
pub(crate) fn leftovers(connection: &mut Connection) -> RedisResult<Vec<String>> {
    let keys: Vec<String> = connection.scan()?.collect::<RedisResult<_>>()?;
    let mut found = Vec::new();
    for key in keys {
        if key.contains("{s7-check-") {
            continue; // of a trial of rights, whose worker was killed meanwhile; see RELIABILITY.md
        }
        let ttl: i64 = connection.ttl(&key)?;
        if ttl == -1 && !SINGLETONS.contains(&&*key) {
            found.push(format!("{key} has no end"));
        }
        if ["arq:job:", "arq:in-progress:", "arq:retry:", "arq:s7:job:"].iter().any(|part| key.starts_with(part)) {
            found.push(format!("{key} is left of a job that has ended"));
        }
    }
    Ok(found)
}
