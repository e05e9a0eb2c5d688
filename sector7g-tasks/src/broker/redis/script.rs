use std::sync::LazyLock;

use redis::Script;

#[cfg(feature = "testing")]
use super::guards::left_of as whole;

#[cfg(not(feature = "testing"))]
fn whole(text: &'static str) -> &'static str {
    text
}

/// A script of `lua/`, behind what all of them share.
macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(&whole(concat!(include_str!("lua/common.lua"), include_str!($file)))));
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
script!(DUE, "lua/due.lua");
script!(PAUSE, "lua/pause.lua");
script!(HEALTH, "lua/health.lua");

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// What a script says of itself at its top.
    fn header(text: &str) -> String {
        text.lines().take_while(|line| line.starts_with("--")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_script_says_what_it_takes_and_returns() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/broker/redis/lua");
        let scripts = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let scripts: Vec<_> = scripts.filter(|path| !path.ends_with("common.lua")).collect();
        assert!(scripts.len() > 10, "the folder holds the scripts");
        for path in scripts {
            let (name, text) = (path.file_name().unwrap().to_string_lossy(), fs::read_to_string(&path).unwrap());
            let header = header(&text);
            assert!(header.starts_with(&format!("-- {name}: ")), "{name} begins with its name");
            for part in ["KEYS", "ARGV", "Returns ", "O("] {
                assert!(header.contains(part) || !text.contains(part), "{name}: its header tells {part}");
            }
            for argument in 1..=9 {
                let used = text[header.len()..].contains(&format!("ARGV[{argument}]"));
                let told = header.contains(&format!("ARGV[{argument}")) || header.contains("ARGV[2..]") && argument > 2;
                assert!(!used || told || header.contains("'one' id"), "{name}: its header tells ARGV[{argument}]");
            }
        }
    }
}
