//! What wants a terminal, on one that Python's `pty` plays: `top`, and questions.

use std::process::{Command, Stdio};

use support::{RedisServer, interpreter};

use super::{OPERATE, Said, die, operate, said};

/// Runs the command on a terminal, does what `script` says, and prints its exit code and whether the terminal is as it was.
const PLAY: &str = r#"
import os, pty, select, signal, sys, termios, time, struct, fcntl

main, side = pty.openpty()
fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
before = termios.tcgetattr(side)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(side, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(side, fd)
    os.execv(sys.argv[1], sys.argv[1:])
seen, until = b"", time.monotonic() + 20

def read(wait):
    global seen
    if select.select([main], [], [], wait)[0]:
        seen += os.read(main, 65536)

def expect(text):
    start = len(seen)
    while text not in seen:
        assert time.monotonic() < until, (text, seen)
        read(0.1)

def press(keys):
    global seen
    seen = b""
    os.write(main, keys)

def end():
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        assert time.monotonic() < until, seen
        read(0.05)
    read(0.1)
    left = seen.rfind(b"\x1b[?1049l") > seen.rfind(b"\x1b[?1049h")
    print(os.waitstatus_to_exitcode(status), left, termios.tcgetattr(side) == before)
"#;

fn play(server: &RedisServer, script: &str) -> Said {
    play_with(server, &["top", "--every", "100ms"], script)
}

pub(super) fn play_with(server: &RedisServer, words: &[&str], script: &str) -> Said {
    let mut python = Command::new(interpreter());
    python.args(["-c", &format!("{PLAY}\n{script}"), OPERATE]).args(words).args(["--redis", &server.url()]);
    python.stdin(Stdio::null()).env("TERM", "xterm-256color");
    said(python)
}

#[tokio::test]
async fn keys_lead_to_a_dead_letter_and_out() {
    let server = RedisServer::start();
    die(&server, "lenny", "prods", 1).await;
    let script = r#"
expect(b"lenny")
press(b"\r"); expect(b"None.")
press(b"d"); expect(b"prods")
press(b"\r"); expect(b"broke") # a space is left as it was
press(b"q"); end()"#;
    let said = play(&server, script);
    assert_eq!((said.out.trim(), said.err.as_str()), ("0 True True", ""), "exit code, screen, settings");
}

#[tokio::test]
async fn a_signal_leaves_the_terminal_as_it_was() {
    let server = RedisServer::start();
    die(&server, "lenny", "prods", 1).await;
    for signal in ["SIGTERM", "SIGINT"] {
        let said = play(&server, &format!("expect(b\"lenny\")\nos.kill(child, signal.{signal})\nend()"));
        assert_eq!((said.out.trim(), said.err.as_str()), ("0 True True", ""), "{signal}");
    }
}

/// A server that goes away is shown, and the screen goes on when it is back.
#[tokio::test]
async fn an_outage_is_shown() {
    let server = RedisServer::start();
    die(&server, "lenny", "prods", 1).await;
    let script = format!(
        "import subprocess
expect(b'lenny'); seen = b''
subprocess.run(['redis-cli', '-p', '{}', 'SHUTDOWN', 'NOSAVE'])
expect(b'unavailable'); press(b'q'); end()",
        server.port()
    );
    assert_eq!(play(&server, &script).out.trim(), "0 True True");
}

#[tokio::test]
async fn without_a_terminal_it_says_so() {
    let server = RedisServer::start();
    operate(&server, "top").expect(64, &["`top` needs a terminal"]);
    operate(&server, "top --every 1ms").expect(64, &["100ms or longer"]);
}

/// Many letters are deleted only when that is wanted; silence, and all but a yes, is a no.
#[tokio::test]
async fn many_letters_are_asked_for() {
    let server = RedisServer::start();
    die(&server, "lenny", "prods", 2).await;
    let answer = |keys: &str| {
        let script = format!(
            "expect(b'2 dead letters of `lenny` (2) are to be deleted for good. Go on? [y/N]')
press(b'{keys}'); end()"
        );
        let code = play_with(&server, &["dead", "discard", "--all"], &script).out;
        let left = operate(&server, "queues --json").json()[0]["dead"].as_u64().unwrap_or(0);
        (code.split_whitespace().next().unwrap_or_default().to_owned(), left)
    };
    for no in ["\\n", "n\\n", "yesterday\\n", "\\x04"] {
        assert_eq!(answer(no), ("3".to_owned(), 2), "{no}");
    }
    assert_eq!(answer("y\\n"), ("0".to_owned(), 0));
}
