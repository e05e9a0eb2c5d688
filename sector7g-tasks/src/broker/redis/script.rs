use std::sync::LazyLock;

use redis::Script;

/// A script of `lua/`, behind what all of them share.
macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/common.lua"), include_str!($file))));
    };
}

script!(ENQUEUE, "lua/enqueue.lua");
script!(CLAIM, "lua/claim.lua");
script!(EXTEND, "lua/extend.lua");
script!(LOOK, "lua/look.lua");
script!(ABORT, "lua/abort.lua");
script!(LIVE, "lua/live.lua");
script!(PROGRESS, "lua/progress.lua");
script!(RESULT, "lua/result.lua");
script!(JOBS, "lua/jobs.lua");
script!(STATS, "lua/stats.lua");
script!(DEAD, "lua/dead.lua");
script!(HEALTH, "lua/health.lua");
