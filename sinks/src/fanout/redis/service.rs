//! The fan-out's handle.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use orderly_domain::port::fanout::Event;
use orderly_domain::port::store::Committed;
use orderly_domain::port::{self, Error, Result};
use orderly_lua::PUBLISH;
use prometheus::Registry;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;

use super::Options;
use super::entry::{self, Id};
use super::metrics::Metrics;
use super::reader::{Heard, Reader};
use crate::redis::{Address, Connection, Servers};

/// The fan-out over a Redis stream. Its streams end when it is dropped, after what it published until then.
pub struct Fanout {
    servers: Servers,
    keys: [String; 2],
    kept_batches_max: usize,
    sender: broadcast::Sender<Heard>,
    /// The newest entry that was published here: what the reader has to reach before it may stop.
    published: Mutex<Id>,
    stop: watch::Sender<Option<Id>>,
    metrics: Metrics,
}

impl Fanout {
    /// The most batches that can be kept for slow subscribers.
    pub const CAPACITY_BATCHES_MAX: usize = 1 << 20;

    /// Opens the fan-out and starts its reader on this runtime. Metrics are registered on `registry`.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn open(options: Options, registry: &Registry) -> Result<Self> {
        let Options { urls, tls, response_timeout, stream, kept_batches_max, capacity_batches, listen, idle } = options;
        if stream.contains(['{', '}']) {
            return Err(Error::DidNotHappen(format!(
                "the stream {stream:?} must not contain {{ or }}; choose another"
            )));
        }
        let address = Address { urls, tls };
        let servers = Servers::new(address.clone(), response_timeout, 1)?;
        let sender = broadcast::Sender::new(capacity_batches.clamp(1, Self::CAPACITY_BATCHES_MAX));
        let (stop, stopping) = watch::channel(None);
        // In a cluster, a key in braces lies where the key of that name does.
        let keys = [stream.clone(), format!("{{{stream}}}:place")];
        let metrics = Metrics::register(registry)?;
        if listen {
            let waiting = Servers::new(address, response_timeout + idle, 1)?;
            let gaps = metrics.gaps.clone();
            let reader = Reader::open(waiting, keys.clone(), idle, sender.clone(), stopping, gaps).await?;
            tokio::spawn(reader.run());
        }
        Ok(Self { servers, keys, kept_batches_max, sender, published: Mutex::default(), stop, metrics })
    }

    fn published(&self) -> Id {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        self.stop.send_replace(Some(self.published()));
    }
}

#[async_trait]
impl port::Fanout for Fanout {
    async fn publish(&self, committed: Arc<[Committed]>) -> Result<()> {
        let _timer = self.metrics.publish_seconds.start_timer();
        if committed.is_empty() {
            return Ok(());
        }
        let mut args = vec![self.kept_batches_max.max(1).to_string().into_bytes()];
        args.append(&mut entry::batches(&committed)?);
        let ask = |mut connection: Connection| async move {
            PUBLISH.call::<String>(&mut connection, &self.keys, &args).await
        };
        let id = self.servers.call(PUBLISH.name(), 0, ask).await?;
        let Some(id) = Id::parse(&id) else {
            self.servers.discard_all().await;
            return Err(Error::MayHaveHappened(format!("Redis answered {id:?}, which was not asked")));
        };
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        *published = id.max(*published);
        Ok(())
    }

    fn subscribe(&self) -> BoxStream<'static, Event> {
        // The reader may still be at something that was published before.
        let mut before = Some(self.published());
        let heard = BroadcastStream::new(self.sender.subscribe());
        let events = heard.filter_map(move |heard| {
            ready(match heard {
                Ok(Heard::Batch(id, _)) if before.is_some_and(|before| id <= before) => None,
                Ok(Heard::Batch(_, committed)) => Some(Event::Committed(committed)),
                Ok(Heard::Gap) | Err(_) => {
                    // Ids may have begun anew.
                    before = None;
                    Some(Event::Gap)
                }
            })
        });
        events.boxed()
    }
}
