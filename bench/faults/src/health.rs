//! Whether a process lives, asked on a connection of the caller's own: what a connection and a clock are tried with.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// More than such an answer has.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const YES: &str = "HTTP/1.1 200";
const HEAD_ENDS: &str = "\r\n\r\n";

/// Asks on that connection, which then is good for the next question. The answer's headers.
///
/// # Errors
/// When it does not say that it lives.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> anyhow::Result<String> {
    let asking = async {
        stream.write_all(ASK).await?;
        stream.flush().await?;
        let mut told = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&told).into_owned();
            if let Some((head, body)) = text.split_once(HEAD_ENDS)
                && body.len() >= header(head, "content-length").and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
            {
                anyhow::ensure!(head.starts_with(YES), "it answered {text}");
                return Ok(head.to_owned());
            }
            let count = stream.read_buf(&mut told).await?;
            anyhow::ensure!(count > 0 && told.len() < ANSWER_BYTES_MAX, "no whole answer came: {text}");
        }
    };
    tokio::time::timeout(ANSWER_MAX, asking).await.context("no answer in time")?
}

/// The value of a header.
pub(crate) fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asks_twice_on_one_connection() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let serving = tokio::spawn(async move {
            let mut asked = vec![0; ASK.len()];
            for piece in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "\r\nok"] {
                server.write_all(piece.as_bytes()).await.unwrap();
            }
            server.read_exact(&mut asked).await.unwrap();
            server.read_exact(&mut asked).await.unwrap();
            server.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap();
        });
        let head = ask(&mut client).await.unwrap();
        assert_eq!(header(&head, "content-length"), Some("2"));
        assert!(ask(&mut client).await.unwrap_err().to_string().contains("503"));
        serving.await.unwrap();
    }
}
