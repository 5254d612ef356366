//! Long answers over HTTP/2, where a client can stop one without stopping the socket: it opens no window for it, and
//! answers pings. Such an answer is given out piece by piece, and ends the connection when no piece is taken for too long.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::cut::Cut;

/// The longest piece, in bytes: what an HTTP/2 frame takes unless a client asks for more. Answers that are not longer are
/// left as they are: with the bound on streams, little of them can wait on one connection.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// An answer's body, in pieces. Who sends it asks for a piece only when there is room for the one before.
pub(super) struct Paced {
    body: Body,
    /// What is left of the body's last frame.
    rest: Bytes,
    /// Odd while a piece was given out and the next was not asked for. Each turn has a number of its own.
    turn: Arc<AtomicU64>,
    patience: Duration,
    cut: Arc<Cut>,
    /// Who watches the turns, from the first piece on.
    watch: Option<AbortHandle>,
}

impl Paced {
    /// The body, in pieces when it is long or has no end that is known.
    pub(super) fn body(body: Body, patience: Duration, cut: Arc<Cut>) -> Body {
        if body.size_hint().upper().is_some_and(|bytes| bytes <= PIECE_BYTES_MAX as u64) {
            return body;
        }
        let turn = Arc::new(AtomicU64::new(0));
        Body::new(Self { body, rest: Bytes::new(), turn, patience, cut, watch: None })
    }

    fn give_out(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES_MAX));
        self.turn.fetch_add(1, Ordering::Release);
        if self.watch.is_none() {
            let watch = watch(Arc::clone(&self.turn), self.patience, Arc::clone(&self.cut));
            self.watch = Some(tokio::spawn(watch).abort_handle());
        }
        Frame::data(piece)
    }
}

/// Makes the cut when a piece that was given out stays the last one for `patience`; at most twice that passes before.
async fn watch(turn: Arc<AtomicU64>, patience: Duration, cut: Arc<Cut>) {
    loop {
        let before = turn.load(Ordering::Acquire);
        tokio::time::sleep(patience).await;
        if before % 2 == 1 && turn.load(Ordering::Acquire) == before {
            return cut.make();
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let paced = self.get_mut();
        if paced.turn.load(Ordering::Relaxed) % 2 == 1 {
            paced.turn.fetch_add(1, Ordering::Release);
        }
        if paced.rest.is_empty() {
            match ready!(Pin::new(&mut paced.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => paced.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        Poll::Ready(Some(Ok(paced.give_out())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    fn paced(body: impl Into<Body>) -> (Body, Arc<Cut>) {
        let cut = Arc::new(Cut::default());
        (Paced::body(body.into(), PATIENCE, Arc::clone(&cut)), cut)
    }

    #[tokio::test]
    async fn a_long_body_comes_whole_in_pieces() {
        let text: Vec<u8> = (0..=250).cycle().take(3 * PIECE_BYTES_MAX + 7).collect();
        let (mut body, _cut) = paced(text.clone());
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!((1..=PIECE_BYTES_MAX).contains(&piece.len()));
            read.extend_from_slice(&piece);
            assert_eq!(body.size_hint().exact(), Some((text.len() - read.len()) as u64));
        }
        assert!(body.is_end_stream());
        assert_eq!(read, text);
    }

    #[tokio::test]
    async fn a_piece_that_is_not_taken_makes_the_cut() {
        let (mut body, cut) = paced(vec![1; 2 * PIECE_BYTES_MAX]);
        body.frame().await.unwrap().unwrap();
        cut.made().await;
    }

    #[tokio::test]
    async fn a_stream_without_news_is_not_cut() {
        let (news, told) = futures::channel::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let (mut body, cut) = paced(Body::from_stream(told));
        let mut news = news;
        news.try_send(Ok(Bytes::from_static(b"first"))).unwrap();
        body.frame().await.unwrap().unwrap();
        // It was asked for the next piece, and has none.
        let watched = tokio::time::timeout(4 * PATIENCE, async {
            tokio::select! {
                _ = body.frame() => "a piece",
                () = cut.made() => "the cut",
            }
        });
        assert!(watched.await.is_err());
    }
}
