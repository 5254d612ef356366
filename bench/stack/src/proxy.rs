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
    server: TcpStream,
    /// Answers do not reach the client any more.
    deaf: AtomicBool,
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
        *lock(&self.shared.way) = way;
    }

    /// Closes all connections.
    pub fn cut(&self) {
        lock(&self.shared.connections).values().for_each(|connection| connection.close());
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
        let Ok(server) = TcpStream::connect(self.target) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let connection = Arc::new(Connection { client, server, deaf: AtomicBool::new(false) });
        lock(&self.connections).insert(number, Arc::clone(&connection));
        let (shared, answering) = (Arc::clone(&self), Arc::clone(&connection));
        let answers = thread(move || {
            carry(&answering.server, &answering.client, |piece, finder| shared.answer(&answering, piece, finder));
            answering.close();
        });
        if answers.is_ok() && !self.closing.load(Ordering::SeqCst) {
            let mut mute = false;
            carry(&connection.client, &connection.server, |piece, finder| self.request(&mut mute, piece, finder));
        }
        connection.close();
        lock(&self.connections).remove(&number);
    }

    /// How many bytes of a request pass.
    fn request(&self, mute: &mut bool, piece: &[u8], finder: &mut Finder) -> usize {
        if *mute {
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
        if connection.deaf.load(Ordering::SeqCst) {
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
    fn close(&self) {
        // They may be closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

/// Carries what `passes` lets through, until either end is closed.
fn carry(mut from: &TcpStream, mut to: &TcpStream, mut passes: impl FnMut(&[u8], &mut Finder) -> usize) {
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
        if to.write_all(&piece[..count]).is_err() {
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
mod tests {
    use super::*;

    /// A server that answers everything with itself, a piece at a time, and tells what it was asked.
    fn echo() -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, hearing) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heard = heard.clone();
                std::thread::spawn(move || {
                    carry(&stream, &stream, |piece, _| {
                        let _ = heard.send(piece.to_vec());
                        piece.len()
                    });
                });
            }
        });
        (port, hearing)
    }

    fn client(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap()
    }

    fn say(mut stream: &TcpStream, text: &[u8]) {
        stream.write_all(text).unwrap();
    }

    fn hear(mut stream: &TcpStream, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        stream.read_exact(&mut heard).unwrap();
        heard
    }

    /// Nothing comes until the connection is cut.
    fn hears_nothing_more(proxy: &Proxy, mut stream: &TcpStream) {
        proxy.cut();
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }

    #[test]
    fn forwards_and_cuts() {
        let (port, _hearing) = echo();
        let proxy = Proxy::start(port).unwrap();
        let stream = client(&proxy);
        say(&stream, b"hello");
        assert_eq!(hear(&stream, 5), b"hello");
        proxy.set(Way::Delay(Duration::from_millis(1)));
        say(&stream, b"again");
        assert_eq!(hear(&stream, 5), b"again");
        hears_nothing_more(&proxy, &stream);
        proxy.set(Way::Refuse);
        assert!(matches!(client(&proxy).read(&mut [0; 1]), Ok(0) | Err(_)));
        assert_eq!(proxy.lost(), 0);
    }

    #[test]
    fn a_connection_that_lost_an_answer_hears_no_other() {
        let (port, hearing) = echo();
        let proxy = Proxy::start(port).unwrap();
        let (stream, other) = (client(&proxy), client(&proxy));
        for stream in [&stream, &other] {
            say(stream, b"before");
            assert_eq!((hear(stream, 6), hearing.recv().unwrap()), (b"before".to_vec(), b"before".to_vec()));
        }
        proxy.set(Way::LoseAnswers);
        say(&stream, b"lost");
        assert_eq!(hearing.recv().unwrap(), b"lost", "the request passed");
        while proxy.lost() == 0 {
            std::thread::yield_now();
        }
        proxy.set(Way::Forward);
        say(&stream, b"after");
        assert_eq!(hearing.recv().unwrap(), b"after");
        say(&other, b"fine");
        assert_eq!(hear(&other, 4), b"fine");
        hears_nothing_more(&proxy, &stream);
    }

    #[test]
    fn loses_what_it_is_told_to_and_what_follows() {
        let (port, hearing) = echo();
        let proxy = Proxy::start(port).unwrap();
        proxy.set(Way::LoseAnswer(b"COMMIT".to_vec()));
        let stream = client(&proxy);
        say(&stream, b"begin COM");
        assert_eq!(hear(&stream, 9), b"begin COM");
        say(&stream, b"MIT done");
        while proxy.lost() == 0 {
            std::thread::yield_now();
        }
        hears_nothing_more(&proxy, &stream);
        while hearing.recv().unwrap() != b"MIT done" {}

        proxy.set(Way::LoseRequest(b"COMMIT".to_vec()));
        let stream = client(&proxy);
        say(&stream, b"begin COMMIT done");
        assert_eq!(hear(&stream, 6), b"begin ");
        assert_eq!((hearing.recv().unwrap(), proxy.lost()), (b"begin ".to_vec(), 2));
        hears_nothing_more(&proxy, &stream);
    }
}
