//! A socket that gives up on a client who does not read.

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
}

impl Socket {
    pub(super) fn new(stream: TcpStream, patience: Duration, cut: IntCounter) -> Self {
        Self { stream, patience, timer: None, waits: false, cut }
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
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
