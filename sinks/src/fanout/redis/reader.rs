//! The one reader of a process: follows the stream and tells the subscribers.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::port::Result;
use orderly_domain::port::store::Committed;
use prometheus::IntCounter;
use redis::streams::{StreamRangeReply, StreamReadReply};
use redis::{Cmd, FromRedisValue};
use tokio::sync::{broadcast, watch};

use super::entry::{self, Id, Place};
use crate::redis::{Connection, Servers};

/// Batches that are read at once; between two reads, subscribers have their turn.
const READ_MAX: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What the reader tells.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Batch(Id, Arc<[Committed]>),
    Gap,
}

/// Why it does not go on.
enum Ended {
    /// The fan-out was dropped.
    Stopped,
    /// There may be no connection any more.
    Failed(orderly_domain::port::Error),
}

/// Follows the stream.
pub(super) struct Reader {
    servers: Servers,
    keys: [String; 2],
    idle: Duration,
    sender: broadcast::Sender<Heard>,
    stop: watch::Receiver<Option<Id>>,
    gaps: IntCounter,
    /// The last entry that was read.
    id: Id,
    place: Option<Place>,
}

impl Reader {
    /// A reader of what comes from now on.
    pub(super) async fn open(
        servers: Servers,
        keys: [String; 2],
        idle: Duration,
        sender: broadcast::Sender<Heard>,
        stop: watch::Receiver<Option<Id>>,
        gaps: IntCounter,
    ) -> Result<Self> {
        let mut reader = Self { servers, keys, idle, sender, stop, gaps, id: Id::default(), place: None };
        reader.skip_to_end().await?;
        Ok(reader)
    }

    /// Follows until the fan-out is dropped; then ends the streams by letting go of their sender.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.id;
            match self.follow().await {
                Ended::Stopped => return self.drain().await,
                Ended::Failed(error) => {
                    if self.id != before {
                        pause = FIRST_PAUSE;
                    }
                    tracing::warn!(%error, ?pause, "the fan-out's reader lost Redis, connects again");
                }
            }
            // What was published in between may be lost; the store has it.
            while let Err(error) = self.skip_to_end().await {
                tracing::debug!(%error, ?pause, "no connection yet");
                if tokio::time::timeout(pause, self.stop.changed()).await.is_ok() {
                    return self.gap();
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
            self.gap();
        }
    }

    async fn follow(&mut self) -> Ended {
        loop {
            let mut stop = self.stop.clone();
            tokio::select! {
                _ = stop.changed() => return Ended::Stopped,
                read = self.read(Some(self.idle)) => match read {
                    Ok(entries) if entries.is_empty() => {}
                    Ok(entries) => {
                        self.tell(&entries);
                        continue;
                    }
                    Err(error) => return Ended::Failed(error),
                },
            }
            if let Err(error) = self.check().await {
                return Ended::Failed(error);
            }
        }
    }

    /// Reads on to what was published by this process, as far as Redis still has it.
    async fn drain(&mut self) {
        let last = *self.stop.borrow();
        // The connection that waited for news still does.
        self.servers.discard_all().await;
        while last.is_some_and(|last| self.id < last) {
            match self.read(None).await {
                Ok(entries) if entries.is_empty() => return,
                Ok(entries) => self.tell(&entries),
                Err(error) => {
                    tracing::debug!(%error, "what was published last is not told");
                    return self.gap();
                }
            }
        }
    }

    fn tell(&mut self, entries: &[redis::streams::StreamId]) {
        for read in entries {
            let Some((id, place)) = entry::locate(read) else { continue };
            if !place.is_some_and(|place| place.follows(self.place)) {
                self.gap();
            }
            (self.id, self.place) = (id, place);
            match entry::batch(read) {
                // It fails only when nobody listens, and then there is nobody to tell.
                Some(batch) => drop(self.sender.send(Heard::Batch(id, batch))),
                None => {
                    tracing::warn!(stream = self.keys[0], %id, "an entry that no fan-out wrote; give the stream to Orderly alone");
                    self.gap();
                }
            }
        }
    }

    fn gap(&self) {
        self.gaps.inc();
        let _ = self.sender.send(Heard::Gap);
    }

    /// Looks whether the stream is still the one that was read.
    async fn check(&mut self) -> Result<()> {
        let Some(place) = self.place else { return Ok(()) };
        let mut get = redis::cmd("GET");
        get.arg(&self.keys[1]);
        let newest: Option<String> = self.ask("GET", &get).await?;
        if !place.is_reached_by(newest.as_deref().and_then(Place::parse)) {
            self.skip_to_end().await?;
            self.gap();
        }
        Ok(())
    }

    /// Goes on from the newest entry.
    async fn skip_to_end(&mut self) -> Result<()> {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(&self.keys[0]).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: StreamRangeReply = self.ask("XREVRANGE", &range).await?;
        (self.id, self.place) = newest.ids.first().and_then(entry::locate).unwrap_or_default();
        Ok(())
    }

    /// What comes after the last entry; waits for it when `wait` says how long.
    async fn read(&self, wait: Option<Duration>) -> Result<Vec<redis::streams::StreamId>> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(READ_MAX);
        if let Some(wait) = wait {
            // 0 would be for ever.
            read.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        read.arg("STREAMS").arg(&self.keys[0]).arg(self.id.to_string());
        let reply: Option<StreamReadReply> = self.ask("XREAD", &read).await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids).collect())
    }

    async fn ask<T: FromRedisValue>(&self, what: &str, command: &Cmd) -> Result<T> {
        let ask = |mut connection: Connection| async move { command.query_async(&mut connection).await };
        self.servers.call(what, 0, ask).await
    }
}
