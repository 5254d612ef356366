//! A socket that gives up on a client who does not read, or is gone.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// A client's socket. A write for which there was no room for `patience` fails; then the connection ends, and what was
/// not sent is thrown away with it.
///
/// What a client sent who has closed the connection since is not read: nobody waits for the answer. In a crowd that loses its
/// patience sooner than its turn comes, the time that this spares serves those who still wait; otherwise everybody would be served
/// after they had left.
///
/// Most connections never wait for room. So there is no timer before the first wait, and between waits nothing is touched
/// but a flag.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    patience: Duration,
    /// Made at the first wait, and used again.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether a write waits for room; `timer` says until when.
    waits: bool,
    cut: IntCounter,
    gone: IntCounter,
}

impl Socket {
    /// `cut` counts clients who do not read, `gone` those who left before they were read.
    pub(super) fn new(stream: TcpStream, patience: Duration, cut: IntCounter, gone: IntCounter) -> Self {
        Self { stream, patience, timer: None, waits: false, cut, gone }
    }

    /// Whether the client is known to have closed the connection. It asks the kernel only where that was told of the socket.
    fn is_gone(&mut self, context: &mut Context<'_>) -> bool {
        let mut byte = [0];
        matches!(self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte)), Poll::Ready(Ok(0)))
    }

    /// What came of a write, unless it has waited for too long.
    fn patiently(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if !self.waits {
            timer.as_mut().reset(Instant::now() + patience);
            self.waits = true;
        }
        ready!(timer.as_mut().poll(context));
        self.waits = false;
        self.cut.inc();
        // Closed without this, the kernel would keep what was not sent and go on trying. If it fails, it does.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before && self.is_gone(context) {
            self.gone.inc();
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client has left")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.patiently(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.patiently(written, context)
    }

    // Without it, bodies would be copied behind their heads.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, Socket, IntCounter) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let counter = |name| IntCounter::new(name, name).unwrap();
        let gone = counter("gone");
        (client, Socket::new(server, Duration::from_secs(60), counter("cut"), gone.clone()), gone)
    }

    #[tokio::test]
    async fn what_somebody_sent_who_has_left_is_not_read() {
        let (mut client, mut socket, gone) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        drop(client);
        // The end is told of a moment after what was sent.
        while !socket.stream.ready(tokio::io::Interest::READABLE).await.unwrap().is_read_closed() {
            tokio::task::yield_now().await;
        }
        let error = socket.read(&mut [0; 100]).await.unwrap_err();
        assert_eq!((error.kind(), gone.get()), (io::ErrorKind::ConnectionAborted, 1));
    }

    #[tokio::test]
    async fn who_waits_is_read_and_so_is_a_request_in_pieces() {
        let (mut client, mut socket, gone) = pair().await;
        for piece in [&b"GET / HT"[..], b"TP/1.1\r\n\r\n"] {
            client.write_all(piece).await.unwrap();
            let mut read = [0; 100];
            let bytes = socket.read(&mut read).await.unwrap();
            assert_eq!(&read[..bytes], piece);
        }
        assert_eq!(gone.get(), 0);
        drop(client);
        assert_eq!(socket.read(&mut [0; 100]).await.unwrap(), 0, "an end after what was read is one");
    }
}
