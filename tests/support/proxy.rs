//! The way to the server, which can be made a bad one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How the way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Good.
    Pass,
    /// All takes this long, and by chance up to twice of it.
    Delay(Duration),
    /// Nothing goes through; it does later.
    Stall,
    /// Requests go through, replies do later.
    StallReplies,
    /// Requests go through; their replies are thrown away, and the connection breaks when this ends.
    Swallow,
    /// Requests are thrown away, replies to earlier ones go through, and the connection breaks when this ends.
    SwallowRequests,
    /// So many bytes of the next reply go through, then the connection breaks.
    Cut(usize),
    /// The same for a later one: see [`Proxy::cut_later`].
    CutLater(usize),
    /// Connections break, and new ones are closed at once.
    Refuse,
    /// Good up to one of the client's writes, see [`Proxy::halt`].
    Halt {
        /// Whether that one gets through.
        after: bool,
    },
    /// As [`Way::Stall`]: that write has come. [`Way::Refuse`] breaks what stands still, and it never gets through.
    Halted,
}

/// A way that all connections of a scenario take.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Way>,
    /// How many writes [`Way::Halt`] still lets through, or replies [`Way::CutLater`].
    left: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    /// Each connection has one of it, and so have the listener and this.
    open: Arc<()>,
    _connections: JoinSet<()>,
}

/// Which way the bytes of a pump go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Towards {
    Server,
    Client,
}

impl Proxy {
    /// To the server at `port` of loopback.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (mode, modes) = watch::channel(Way::Pass);
        let mut connections = JoinSet::new();
        let left = Arc::<AtomicU64>::default();
        let writes = Arc::<AtomicU64>::default();
        let open = Arc::new(());
        let halt = Halt { mode: mode.clone(), left: left.clone(), writes: writes.clone(), _open: open.clone() };
        connections.spawn(listen(listener, port, modes, halt));
        Self { address, mode, left, writes, open, _connections: connections }
    }

    /// `redis://127.0.0.1:PORT/0`: the way to database 0.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// That of loopback at which it begins.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the way is so, also for connections that there are.
    pub fn set(&self, mode: Way) {
        self.mode.send_replace(mode);
    }

    /// Lets `writes` of the clients' writes through, each a call or more in one piece, and their replies. With the next one
    /// all stands still, before it gets through or after that, and no reply comes any more: [`Self::has_halted`].
    pub fn halt(&self, writes: u64, after: bool) {
        self.left.store(writes, Ordering::SeqCst);
        self.set(Way::Halt { after });
    }

    /// Lets `replies` through, each in one piece, and so many bytes of the next one, see [`Way::Cut`].
    pub fn cut_later(&self, replies: u64, bytes: usize) {
        self.left.store(replies, Ordering::SeqCst);
        self.set(Way::CutLater(bytes));
    }

    /// How many writes of clients have come so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        Arc::strong_count(&self.open).saturating_sub(2)
    }

    /// Whether the write has come that [`Self::halt`] waits for.
    #[must_use]
    pub fn has_halted(&self) -> bool {
        *self.mode.borrow() == Way::Halted
    }
}

/// What ends a way by itself.
#[derive(Clone, Debug)]
struct Halt {
    mode: watch::Sender<Way>,
    left: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    _open: Arc<()>,
}

impl Halt {
    /// Counts one of those that get through; false when they have.
    fn is_before(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }

    /// Counts a write; whether it is the one, of which there is no second.
    fn is_now(&self) -> bool {
        if self.is_before() {
            return false;
        }
        // Before the write goes on: its reply must find it so.
        self.mode.send_if_modified(|mode| {
            let is_first = matches!(mode, Way::Halt { .. });
            if is_first {
                *mode = Way::Halted;
            }
            is_first
        })
    }
}

async fn listen(listener: TcpListener, port: u16, modes: watch::Receiver<Way>, halt: Halt) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => { // cancel safe: no connection is lost
                let Ok((client, _)) = accepted else { continue };
                if *modes.borrow() == Way::Refuse {
                    continue;
                }
                connections.spawn(carry(client, port, modes.clone(), halt.clone()));
            }
            Some(_) = connections.join_next() => {} // cancel safe: takes only what it returns
        }
    }
}

/// One connection, until either side, or the mode, ends it.
async fn carry(client: TcpStream, port: u16, modes: watch::Receiver<Way>, halt: Halt) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let chances = Arc::new(AtomicU64::new(u64::from(port)));
    tokio::select! { // whichever ends first takes the other with it: dropped, a stream is closed
        () = pump(from_client, to_server, Towards::Server, modes.clone(), &halt, &chances) => {}
        () = pump(from_server, to_client, Towards::Client, modes, &halt, &chances) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    towards: Towards,
    mut modes: watch::Receiver<Way>,
    halt: &Halt,
    chances: &AtomicU64,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut has_swallowed = false;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read, // cancel safe: nothing is read when it is dropped
            changed = modes.changed() => { // cancel safe: only waits
                let is_over = changed.is_err() || *modes.borrow() == Way::Refuse || has_swallowed;
                if is_over {
                    return;
                }
                continue;
            }
        };
        let Ok(count @ 1..) = read else { return };
        if towards == Towards::Server {
            halt.writes.fetch_add(1, Ordering::Relaxed);
        }
        let mode = *modes.borrow();
        let (mut passed, mut is_last) = (count, false);
        match (mode, towards) {
            (Way::Halt { after }, Towards::Server) => is_last = halt.is_now() && after,
            (Way::Stall | Way::Halted, _) | (Way::StallReplies, Towards::Client) => {
                let _ = modes.wait_for(|now| *now != mode).await; // without a sender, the next read sees its end
            }
            (Way::Delay(least), _) => {
                let chance = chances.fetch_add(0x9e37_79b9, Ordering::Relaxed) % 100;
                sleep(least + least * u32::try_from(chance).unwrap_or_default() / 100).await;
            }
            (Way::Swallow, Towards::Client) | (Way::SwallowRequests, Towards::Server) => {
                has_swallowed = true;
                continue;
            }
            (Way::Cut(bytes), Towards::Client) => passed = bytes.min(count),
            (Way::CutLater(bytes), Towards::Client) if !halt.is_before() => passed = bytes.min(count),
            _ => {}
        }
        if *modes.borrow() == Way::Halted && !is_last {
            // Another connection's write has come meanwhile that all halts at.
            let _ = modes.wait_for(|now| *now != Way::Halted).await;
        }
        if *modes.borrow() == Way::Refuse {
            return; // with what was held up
        }
        if to.write_all(&buffer[..passed]).await.is_err() || passed < count {
            return;
        }
    }
}
