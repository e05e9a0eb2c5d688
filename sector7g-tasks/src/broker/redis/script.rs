//! The scripts, and calls of them.

use std::sync::LazyLock;

use redis::{Arg, Cmd, ToRedisArgs};

/// What stands in a script where it wants another file, and that file: of these one may want the next.
const PARTS: [(&str, &str); 3] = [
    ("-- with: common.lua\n", include_str!("lua/common.lua")),
    ("-- with: claim_any.lua\n", include_str!("lua/claim_any.lua")),
    ("-- with: notes.lua\n", include_str!("lua/notes.lua")),
];

/// A script's whole text.
fn whole(text: &str) -> String {
    let text = PARTS.iter().fold(text.to_owned(), |text, (place, part)| text.replace(place, part));
    #[cfg(feature = "testing")]
    let text = super::guards::left_of(text);
    text
}

/// A script that the server keeps under the hash of its text.
pub(super) struct Script {
    text: String,
    hash: String,
}

impl Script {
    fn new(text: String) -> Self {
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A call with one key.
    pub(super) fn key(&'static self, key: &str) -> Call {
        self.keys(std::iter::once(key))
    }

    /// A call with as many keys as there are.
    pub(super) fn keys<'a>(&'static self, keys: impl ExactSizeIterator<Item = &'a str>) -> Call {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&*self.hash).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        Call { script: self, command }
    }
}

/// A call of a script, with its arguments.
pub(super) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// The call by the script's hash.
    pub(super) fn short(&self) -> &Cmd {
        &self.command
    }

    /// The call with the script's text, for a server that has lost it: it runs even if it is flushed at once again.
    pub(super) fn whole(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&*self.script.text);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}

/// A script of `lua/`.
macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(whole(include_str!($file))));
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
    use std::collections::HashMap;
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
        let is_part =
            |path: &Path| ["common.lua", "claim_any.lua", "notes.lua"].iter().any(|part| path.ends_with(part));
        let scripts: Vec<_> = scripts.filter(|path| !is_part(path)).collect();
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

    /// Some scripts have constants at hand, which the files that they include have, too.
    #[test]
    fn constants_that_stand_twice_are_alike() {
        let constants = |text: &'static str| {
            text.lines().filter_map(|line| {
                let (name, value) = line.strip_prefix("local ")?.split_once(" = ")?;
                let value = value.split(' ').next()?;
                (name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).then_some((name, value))
            })
        };
        let others = [include_str!("lua/common.lua"), include_str!("lua/claim_any.lua")];
        let others: HashMap<_, _> = others.into_iter().flat_map(constants).collect();
        let here = [include_str!("lua/claim.lua"), include_str!("lua/enqueue.lua")].into_iter().flat_map(constants);
        let twice = here.filter(|(name, _)| others.contains_key(name));
        let twice: Vec<_> = twice.inspect(|(name, value)| assert_eq!(others[name], *value, "{name}")).collect();
        assert_eq!(twice.len(), 8, "{twice:?}");
    }
}
