//! A kept HTTP/1.1 connection with one request at a time under way. A load client shares the processor with what it measures:
//! what it does for each request is taken from every figure, so it does little. A request is one write, an answer is read into
//! one buffer, and of its head only what somebody looks at is kept.

use std::io;

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much is read at once, at least.
const READ_BYTES: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its whole body.
    pub body: Bytes,
    /// As it came, looked into when somebody asks.
    head: Bytes,
}

impl Answer {
    /// A header of its own, by its name in any case; `None` where it is missing or no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = std::str::from_utf8(&self.head).ok()?.lines();
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

#[cfg(test)]
impl Answer {
    /// One that nobody sent; `head` has its headers, one a line.
    pub(crate) const fn of(status: StatusCode, head: &'static str, body: &'static str) -> Self {
        Self { status, body: Bytes::from_static(body.as_bytes()), head: Bytes::from_static(head.as_bytes()) }
    }
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
    is_kept: bool,
}

impl Connection {
    /// One on which nothing has been sent.
    pub(crate) const fn new(socket: TcpStream) -> Self {
        Self { socket, sent: Vec::new(), received: Vec::new(), is_kept: true }
    }

    /// Whether another request can be sent: neither side has closed it, as far as is known here.
    pub(crate) fn is_open(&self) -> bool {
        // Nothing is to be read between an answer and the next request; what is, is the end.
        self.is_kept
            && matches!(self.socket.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a request, and reads the whole answer. After an error, or when this is dropped on the way, the connection is good
    /// for nothing.
    pub(crate) async fn exchange(&mut self, host: &str, request: &Request<Bytes>) -> io::Result<Answer> {
        self.is_kept = false;
        write(&mut self.sent, host, request);
        self.socket.write_all(&self.sent).await?;
        self.received.clear();
        let head = loop {
            match Head::read(&self.received)? {
                Some(head) => break head,
                None => self.read(READ_BYTES).await?,
            }
        };
        let (top, body) = match head.length {
            Length::Known(length) => {
                let end = head.bytes + length;
                while self.received.len() < end {
                    self.read(end - self.received.len()).await?;
                }
                // Both in one piece of memory.
                let mut head_and_body = Bytes::copy_from_slice(&self.received[..end]);
                (head_and_body.split_to(head.bytes), head_and_body)
            }
            Length::InChunks => loop {
                match join_chunks(&self.received[head.bytes..])? {
                    Some(body) => break (Bytes::copy_from_slice(&self.received[..head.bytes]), body.into()),
                    None => self.read(READ_BYTES).await?,
                }
            },
        };
        self.is_kept = head.is_kept;
        Ok(Answer { status: head.status, body, head: top })
    }

    async fn read(&mut self, at_least: usize) -> io::Result<()> {
        if self.received.len() > ANSWER_BYTES_MAX {
            return Err(invalid("an answer that is too long"));
        }
        self.received.reserve(at_least.clamp(READ_BYTES, ANSWER_BYTES_MAX));
        match self.socket.read_buf(&mut self.received).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }
}

fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The request as it is sent.
fn write(out: &mut Vec<u8>, host: &str, request: &Request<Bytes>) {
    out.clear();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\nhost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let body = request.body();
    if !body.is_empty() || *request.method() != Method::GET {
        out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug)]
enum Length {
    Known(usize),
    InChunks,
}

/// What is read of an answer's head.
#[derive(Debug)]
struct Head {
    /// Its own length.
    bytes: usize,
    status: StatusCode,
    length: Length,
    is_kept: bool,
}

impl Head {
    /// `None` when it is not all there yet.
    fn read(received: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(bytes) = response.parse(received).map_err(invalid)? else { return Ok(None) };
        let status = StatusCode::from_u16(response.code.unwrap_or_default()).map_err(invalid)?;
        let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let (mut length, mut is_kept) = (has_none.then_some(Length::Known(0)), true);
        for header in response.headers.iter() {
            let is = |name| header.name.eq_ignore_ascii_case(name);
            let text = || std::str::from_utf8(header.value).map_err(invalid);
            if is("content-length") {
                length = Some(Length::Known(text()?.parse().map_err(invalid)?));
            } else if is("transfer-encoding") {
                length = Some(Length::InChunks);
            } else if is("connection") {
                is_kept = !text()?.eq_ignore_ascii_case("close");
            }
        }
        let length = length.ok_or_else(|| invalid("an answer that does not tell its length"))?;
        Ok(Some(Self { bytes, status, length, is_kept }))
    }
}

/// The body that came in chunks; `None` when it is not all there yet.
fn join_chunks(mut rest: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(rest).map_err(|_| invalid("a chunk without a size"))?;
        let httparse::Status::Complete((head, size)) = size else { return Ok(None) };
        let size = usize::try_from(size).map_err(invalid)?;
        // Two more: the end of the line.
        let Some(chunk) = rest.get(head..).filter(|rest| rest.len() >= size.saturating_add(2)) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..size]);
        rest = &chunk[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A connection to a server that gives each request the next of these answers, in pieces of so many bytes.
    async fn connection(answers: &'static [&'static str], piece: usize) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a client");
            for answer in answers {
                let mut request = Vec::new();
                while !request.ends_with(b"{}") {
                    assert_ne!(socket.read_buf(&mut request).await.expect("a request"), 0);
                }
                for piece in answer.as_bytes().chunks(piece) {
                    socket.write_all(piece).await.expect("sent");
                    tokio::task::yield_now().await;
                }
            }
        });
        Connection::new(TcpStream::connect(address).await.expect("connected"))
    }

    fn request() -> Request<Bytes> {
        Request::post("/a?b=c").header("x-one", "1").body(Bytes::from_static(b"{}")).expect("a request")
    }

    #[test]
    fn a_request_is_written_in_full() {
        let mut out = Vec::new();
        write(&mut out, "h:1", &request());
        let text = "POST /a?b=c HTTP/1.1\r\nhost: h:1\r\nx-one: 1\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8_lossy(&out), text);
        write(&mut out, "h:1", &Request::get("/").body(Bytes::new()).expect("a request"));
        assert_eq!(String::from_utf8_lossy(&out), "GET / HTTP/1.1\r\nhost: h:1\r\n\r\n");
    }

    #[tokio::test]
    async fn answers_are_read_however_they_come() {
        const ANSWERS: [&str; 4] = [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        ];
        for piece in [1, 7, 1_000] {
            let mut connection = connection(&ANSWERS, piece).await;
            let mut told = Vec::new();
            for _ in ANSWERS {
                assert!(connection.is_open());
                let answer = connection.exchange("h", &request()).await.expect("an answer");
                let retry = answer.header("Retry-After").map(str::to_owned);
                told.push((answer.status.as_u16(), retry, String::from_utf8_lossy(&answer.body).into_owned()));
            }
            let expected = [(200, None, "hello"), (429, Some("2"), ""), (200, None, "abcde"), (204, None, "")];
            assert_eq!(told, expected.map(|(status, retry, body)| (status, retry.map(str::to_owned), body.to_owned())));
            assert!(!connection.is_open(), "the server said that it closes");
        }
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_or_has_no_end_is_an_error() {
        for answer in [
            &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"],
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello"],
            &["HTTP/1.1 200 OK\r\n\r\nhello"],
            &["nonsense\r\n\r\n"],
        ] {
            let mut connection = connection(answer, 1_000).await;
            connection.exchange("h", &request()).await.expect_err(answer[0]);
            assert!(!connection.is_open(), "{answer:?}");
        }
    }
}
