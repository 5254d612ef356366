//! A TCP proxy between Orderly and a server, which loses what passes when it is told to.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// The stack of one direction's thread, in bytes.
const STACK_BYTES: usize = 128 * 1024;

/// What it does with what passes. A connection that lost something never hears or says anything more, as TCP has it: it stays
/// open until one of its ends closes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    #[default]
    Forward,
    /// Requests pass, answers are lost.
    LoseAnswers,
    /// The first answer of a connection that contains this is lost from there on.
    LoseAnswer(Vec<u8>),
    /// The first request of a connection that contains this is lost from there on.
    LoseRequest(Vec<u8>),
    /// Every piece of an answer waits this long.
    Delay(Duration),
    /// New connections are closed at once; those that are open go on.
    Refuse,
    /// Nothing passes in either direction and neither end hears that the other one has closed, as behind a router that forgot
    /// its connections. Those that are open now and those that are made meanwhile stay so, also when this is over.
    HalfOpen,
}

/// A running proxy. It closes its connections when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    way: Mutex<Way>,
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    lost: AtomicU64,
    closing: AtomicBool,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    /// `None` when it was half-open from its beginning: then the server never hears of it.
    server: Option<TcpStream>,
    /// Answers do not reach the client any more.
    deaf: AtomicBool,
    /// Nothing passes any more, not even that an end has closed.
    silent: AtomicBool,
    /// It has lost something, and is counted.
    robbed: AtomicBool,
    /// One of its ends has closed and the other one does not know.
    orphaned: AtomicBool,
}

impl Proxy {
    /// Listens on a free loopback port for clients of the server on the loopback port `target`, which need not run yet.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a proxy")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target: (Ipv4Addr::LOCALHOST, target).into(),
            way: Mutex::default(),
            connections: Mutex::default(),
            lost: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accepting.accept(&listener));
        Ok(Self { port, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes what it does, from the next piece on.
    pub fn set(&self, way: Way) {
        let half_open = way == Way::HalfOpen;
        *lock(&self.shared.way) = way;
        if half_open {
            lock(&self.shared.connections).values().for_each(|connection| connection.silence());
        }
    }

    /// Closes all connections.
    pub fn cut(&self) {
        lock(&self.shared.connections).values().for_each(|connection| connection.close());
    }

    /// Closes connections of which one end has closed long ago and the other one does not know, as keep-alive does in the end.
    pub fn bury(&self) {
        let connections = lock(&self.shared.connections);
        let orphans = connections.values().filter(|connection| connection.orphaned.load(Ordering::SeqCst));
        orphans.for_each(|connection| connection.close());
    }

    /// How many connections have lost something since it was started.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes the acceptor up.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for number in 0.. {
            let accepted = listener.accept();
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            let Ok((client, _)) = accepted else { continue };
            if *lock(&self.way) == Way::Refuse {
                continue;
            }
            let shared = Arc::clone(&self);
            // Without a thread the client is let go of, as by a server that is overloaded.
            let _ = thread(move || shared.serve(number, client));
        }
    }

    /// Carries requests, and has another thread carry answers, until one of the ends is closed.
    fn serve(self: Arc<Self>, number: u64, client: TcpStream) {
        let half_open = *lock(&self.way) == Way::HalfOpen;
        let server = if half_open { None } else { TcpStream::connect(self.target).ok() };
        if server.is_none() && !half_open {
            return;
        }
        let connection = Arc::new(Connection::new(client, server));
        lock(&self.connections).insert(number, Arc::clone(&connection));
        // It may have become half-open before this one was known.
        if *lock(&self.way) == Way::HalfOpen {
            connection.silence();
        }
        let (shared, answering) = (Arc::clone(&self), Arc::clone(&connection));
        let answers = thread(move || {
            if let Some(server) = &answering.server {
                carry(server, Some(&answering.client), |piece, finder| shared.answer(&answering, piece, finder));
                answering.ended();
            }
        });
        if answers.is_ok() && !self.closing.load(Ordering::SeqCst) {
            let mut mute = false;
            let server = connection.server.as_ref();
            carry(&connection.client, server, |piece, finder| self.request(&connection, &mut mute, piece, finder));
            connection.ended();
        } else {
            connection.close();
        }
        // An end that does not know of the other's is kept open.
        if let Ok(answers) = answers {
            let _ = answers.join();
        }
        connection.close();
        lock(&self.connections).remove(&number);
    }

    /// Whether nothing passes; then what came is lost.
    fn swallows(&self, connection: &Connection) -> bool {
        let silent = connection.silent.load(Ordering::SeqCst);
        if silent && !connection.robbed.swap(true, Ordering::SeqCst) {
            self.lost.fetch_add(1, Ordering::SeqCst);
        }
        silent
    }

    /// How many bytes of a request pass.
    fn request(&self, connection: &Connection, mute: &mut bool, piece: &[u8], finder: &mut Finder) -> usize {
        if *mute || self.swallows(connection) {
            return 0;
        }
        let Way::LoseRequest(wanted) = lock(&self.way).clone() else {
            finder.forget();
            return piece.len();
        };
        let Some(at) = finder.find(piece, &wanted) else { return piece.len() };
        *mute = true;
        self.lost.fetch_add(1, Ordering::SeqCst);
        at
    }

    /// How many bytes of an answer pass.
    fn answer(&self, connection: &Connection, piece: &[u8], finder: &mut Finder) -> usize {
        if connection.deaf.load(Ordering::SeqCst) || self.swallows(connection) {
            return 0;
        }
        let way = lock(&self.way).clone();
        let lost_from = match &way {
            Way::LoseAnswers => Some(0),
            Way::LoseAnswer(wanted) => finder.find(piece, wanted),
            _ => {
                finder.forget();
                None
            }
        };
        if let Way::Delay(delay) = way {
            pause(delay);
        }
        let Some(at) = lost_from else { return piece.len() };
        connection.deaf.store(true, Ordering::SeqCst);
        self.lost.fetch_add(1, Ordering::SeqCst);
        at
    }
}

impl Connection {
    fn new(client: TcpStream, server: Option<TcpStream>) -> Self {
        let _ = client.set_nodelay(true);
        let _ = server.as_ref().map(|server| server.set_nodelay(true));
        let [deaf, silent, robbed, orphaned] = [const { AtomicBool::new(false) }; 4];
        Self { client, server, deaf, silent, robbed, orphaned }
    }

    fn silence(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// One of its ends has closed.
    fn ended(&self) {
        match self.silent.load(Ordering::SeqCst) {
            true => self.orphaned.store(true, Ordering::SeqCst),
            false => self.close(),
        }
    }

    fn close(&self) {
        // They may be closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.as_ref().map(|server| server.shutdown(Shutdown::Both));
    }
}

/// Carries what `passes` lets through, until either end is closed.
fn carry(mut from: &TcpStream, mut to: Option<&TcpStream>, mut passes: impl FnMut(&[u8], &mut Finder) -> usize) {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut finder = Finder::default();
    loop {
        let piece = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let count = passes(piece, &mut finder);
        if to.as_mut().is_some_and(|to| to.write_all(&piece[..count]).is_err()) {
            return;
        }
    }
}

/// Finds bytes in what comes in pieces.
#[derive(Debug, Default)]
struct Finder {
    /// The end of what came before: too short to be what is looked for.
    before: Vec<u8>,
}

impl Finder {
    /// Where in the piece that which is wanted begins; 0 when it began earlier.
    fn find(&mut self, piece: &[u8], wanted: &[u8]) -> Option<usize> {
        let before = self.before.len();
        self.before.extend_from_slice(piece);
        let found = self.before.windows(wanted.len().max(1)).position(|window| window == wanted);
        let kept = wanted.len().saturating_sub(1).min(self.before.len());
        self.before.drain(..self.before.len() - kept);
        found.map(|at| at.saturating_sub(before))
    }

    fn forget(&mut self) {
        self.before.clear();
    }
}

fn pause(delay: Duration) {
    let until = Instant::now() + delay;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

fn thread(work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("proxy".into()).stack_size(STACK_BYTES).spawn(work)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
