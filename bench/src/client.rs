//! A lean HTTP/1.1 client: a bounded set of kept connections. It must cost much less than the server that it loads, on the
//! same machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use crate::wire::Answer;
use crate::wire::Connection;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL that can be called.
    #[error("{0:?} is not a server's address; use http://HOST:PORT")]
    Url(String),
    /// Nothing was sent.
    #[error("cannot reach {authority}: {source}; is the server running?")]
    Connect {
        /// Where to.
        authority: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The request may have been carried out.
    #[error("the connection broke before the answer was read: {0}; ask again with the same Idempotency-Key")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// The request may have been carried out.
    #[error("no answer within {} s; ask again with the same Idempotency-Key", .0.as_secs_f64())]
    Timeout(Duration),
}

type Sender = SendRequest<Full<Bytes>>;

/// A client of one service: of a server, or of several that answer alike.
#[derive(Debug)]
pub struct Client {
    /// HOST:PORT of every server.
    authorities: Vec<String>,
    /// Connections that were opened; each goes to the next server.
    opened: AtomicUsize,
    timeout: Duration,
    permits: Arc<Semaphore>,
    /// Connections that wait for a request; at most as many as there are permits.
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// A client of the server at `url`, or of several, with commas between their URLs, with at most `connections` connections and `timeout` for one answer.
    ///
    /// # Errors
    /// [`Error::Url`] when a URL is not `http://HOST:PORT`.
    pub fn new(url: &str, connections: usize, timeout: Duration) -> Result<Self, Error> {
        Ok(Self {
            authorities: url.split(',').map(authority).collect::<Result<_, _>>()?,
            opened: AtomicUsize::new(0),
            timeout,
            permits: Arc::new(Semaphore::new(connections)),
            idle: Mutex::new(Vec::with_capacity(connections)),
        })
    }

    /// Sends a request on the next free connection and reads the whole answer. The wait for a connection counts as a wait for
    /// the answer.
    ///
    /// # Errors
    /// All but [`Error::Url`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        let answer = async {
            let _permit = self.permits.acquire().await.map_err(|closed| Error::Broken(closed.into()))?;
            self.exchange(&request).await
        };
        tokio::time::timeout(self.timeout, answer).await.map_err(|_| Error::Timeout(self.timeout))?
    }

    /// Opens a stream on a connection of its own; `None` when all connections are in use.
    ///
    /// # Errors
    /// All but [`Error::Url`].
    pub async fn stream(&self, mut request: Request<Full<Bytes>>) -> Result<Option<Stream>, Error> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return Ok(None) };
        let host = HeaderValue::from_str(self.host()).map_err(|error| Error::Broken(error.into()))?;
        request.headers_mut().insert(HOST, host);
        let open = async {
            let broken = |error: hyper::Error| Error::Broken(error.into());
            let socket = TokioIo::new(self.connect().await?);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await.map_err(broken)?;
            // It ends when the sender is dropped or the server closes; what went wrong is told to the sender.
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(broken)?;
            Ok(Some(Stream { response, _sender: sender, _permit: permit }))
        };
        tokio::time::timeout(self.timeout, open).await.map_err(|_| Error::Timeout(self.timeout))?
    }

    async fn exchange(&self, request: &Request<Bytes>) -> Result<Answer, Error> {
        // The server may have closed a kept connection; nothing was sent on it then.
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().filter(Connection::is_open);
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::new(self.connect().await?),
        };
        let answer = connection.exchange(self.host(), request).await.map_err(|error| Error::Broken(error.into()))?;
        if connection.is_open() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }

    fn host(&self) -> &str {
        &self.authorities[0]
    }

    /// Connects to the next server, or, when that one is gone, to the one after it.
    async fn connect(&self) -> Result<TcpStream, Error> {
        let turn = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut outcome = Err(Error::Url(String::new()));
        for attempt in 0..self.authorities.len() {
            outcome = connect(&self.authorities[(turn + attempt) % self.authorities.len()]).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

/// HOST:PORT of a server's URL.
fn authority(url: &str) -> Result<String, Error> {
    let invalid = || Error::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
        return Err(invalid());
    }
    let host = uri.host().ok_or_else(invalid)?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

async fn connect(authority: &str) -> Result<TcpStream, Error> {
    let refused = |source| Error::Connect { authority: authority.to_owned(), source };
    let socket = TcpStream::connect(authority).await.map_err(refused)?;
    socket.set_nodelay(true).map_err(refused)?;
    Ok(socket)
}

/// An answer that goes on: its body is read as it comes.
#[derive(Debug)]
pub struct Stream {
    response: Response<Incoming>,
    _sender: Sender,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The next piece of its body; `None` at its end or when the connection broke.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = self.response.body_mut().frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                return Some(data);
            }
        }
    }
}
