//! The fan-out.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use orderly_domain::port::Result;
use orderly_domain::port::fanout::Event;
use orderly_domain::port::store::Committed;

use crate::edge::{Edge, Server};
use crate::told;

pub(crate) struct Fanout(pub(crate) Edge);

#[async_trait]
impl orderly_domain::port::Fanout for Fanout {
    async fn publish(&self, committed: Arc<[Committed]>) -> Result<()> {
        let work = move |state: &mut crate::world::State| {
            told::publish(state, &committed);
            Ok(())
        };
        self.0.call(Server::Fanout, "publish", work).await
    }

    fn subscribe(&self) -> BoxStream<'static, Event> {
        futures::stream::empty().boxed()
    }
}
