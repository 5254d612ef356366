//! The relay: carries committed decisions from the store to feeds, such as analytics, each at its own pace and from its own
//! place. A booking never waits for it: while the pipeline is busy it makes way, and while a feed is down it waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use orderly_domain::command::Kind;
use orderly_domain::envelope::{day_number, day_of_number};
use orderly_domain::personal::Pseudonyms;
use orderly_domain::port::analytics::Row;
use orderly_domain::port::store::DecisionRow;
use orderly_domain::port::{self, Feed, Pipeline, Store, Turn};
use orderly_domain::{Offset, Partition, Session, SessionId};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::RELAYED_TOTAL;

/// Rows of one partition that are carried at once.
const PAGE_ROWS: usize = 2_000;
/// How long it waits when there is nothing to carry, or something failed.
const IDLE: Duration = Duration::from_millis(250);
/// How long rows gather when it has carried all there were: a column store bears few large inserts, not many small ones.
const GATHER: Duration = Duration::from_millis(250);
/// How long a stop may take because of it. What is left then is carried after the next start.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);
/// While decisions are being made, it rests this many times as long as it worked.
const MAKE_WAY: u32 = 19;

/// Carries decisions to every feed until it is told to stop.
pub struct Relay {
    carriers: Vec<Carrier>,
}

struct Carrier {
    store: Arc<dyn Store>,
    feed: Arc<dyn Feed>,
    pipeline: Option<Arc<dyn Pipeline>>,
    turn: Option<Arc<dyn Turn>>,
    pseudonyms: Option<Pseudonyms>,
    relayed_total: IntCounter,
    sessions: HashMap<SessionId, Session>,
    next: HashMap<Partition, Offset>,
    decided_total: u64,
}

impl Relay {
    /// From `store` to `feeds`, making way for `pipeline`, if one runs in this process.
    ///
    /// # Errors
    /// When its metric's name is taken.
    pub fn new(
        store: &Arc<dyn Store>,
        feeds: Vec<Arc<dyn Feed>>,
        pipeline: Option<&Arc<dyn Pipeline>>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let relayed_total = IntCounterVec::new(Opts::new(RELAYED_TOTAL, "Decisions carried to a feed."), &["feed"])?;
        registry.register(Box::new(relayed_total.clone()))?;
        let carrier = |feed: Arc<dyn Feed>| Carrier {
            store: Arc::clone(store),
            pipeline: pipeline.cloned(),
            turn: None,
            pseudonyms: None,
            relayed_total: relayed_total.with_label_values(&[feed.name()]),
            feed,
            sessions: HashMap::new(),
            next: HashMap::new(),
            decided_total: 0,
        };
        Ok(Self { carriers: feeds.into_iter().map(carrier).collect() })
    }

    /// Carries only while it is this process's turn; others stand by.
    #[must_use]
    pub fn in_turn(mut self, turn: &Arc<dyn Turn>) -> Self {
        for carrier in &mut self.carriers {
            carrier.turn = Some(Arc::clone(turn));
        }
        self
    }

    /// Tells feeds patients by what stands for them; without it, patients are left out.
    #[must_use]
    pub fn naming(mut self, pseudonyms: &Pseudonyms) -> Self {
        for carrier in &mut self.carriers {
            carrier.pseudonyms = Some(pseudonyms.clone());
        }
        self
    }

    /// Runs until `stop` is set, and then until it has caught up, for ten seconds at most.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        futures::future::join_all(self.carriers.into_iter().map(|carrier| carrier.run(stop.clone()))).await;
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Carried {
    Nothing,
    /// All there was.
    All,
    /// A full page of some partition, and there may be more.
    Page,
}

impl Carried {
    /// How long to rest after a round that took so long.
    fn pause(self, pipeline_is_busy: bool, took: Duration) -> Duration {
        let pause = match self {
            Self::Nothing => return IDLE,
            Self::All => GATHER,
            Self::Page => Duration::ZERO,
        };
        if pipeline_is_busy { pause.max(took * MAKE_WAY) } else { pause }
    }
}

impl Carrier {
    /// What is under way at the end of its time is given up, as a kill would: a feed may be so far away that a call takes longer.
    async fn run(self, stop: watch::Receiver<bool>) {
        let mut stopped = stop.clone();
        let too_late = async move {
            // An error means that the sender is gone, which is a stop too.
            let _ = stopped.wait_for(|stop| *stop).await;
            tokio::time::sleep(CATCH_UP_MAX).await;
        };
        tokio::select! {
            () = self.carry(stop) => {}
            () = too_late => {}
        }
    }

    async fn carry(mut self, mut stop: watch::Receiver<bool>) {
        let (mut known, mut failed) = (false, false);
        let mut stopped = false;
        loop {
            let start = Instant::now();
            // What another carries meanwhile, the feed knows.
            let ours = self.turn.as_ref().is_none_or(|turn| turn.is_ours());
            let round = async { if ours { self.round(known).await.map(Some) } else { Ok(None) } };
            let (pause, ended) = match round.await {
                Ok(None) => {
                    known = false;
                    self.sessions.clear();
                    (IDLE, true)
                }
                Ok(Some(carried)) => {
                    (known, failed) = (true, false);
                    (carried.pause(self.pipeline_is_busy(), start.elapsed()), carried == Carried::Nothing)
                }
                Err(error) => {
                    if known || stopped || !failed {
                        tracing::warn!(%error, feed = self.feed.name(), "a feed lags behind; it catches up once this heals");
                    }
                    failed = true;
                    known = false;
                    (IDLE, true)
                }
            };
            match stopped {
                true if ended => return,
                true => {}
                false => tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => stopped = true,
                    () = tokio::time::sleep(pause) => {}
                },
            }
        }
    }

    /// Whether it decided something since this was asked last.
    fn pipeline_is_busy(&mut self) -> bool {
        let decided = self.pipeline.as_ref().map_or(0, |pipeline| pipeline.state().decided_total);
        std::mem::replace(&mut self.decided_total, decided) != decided
    }

    /// Carries a page of every partition that has one.
    async fn round(&mut self, known: bool) -> port::Result<Carried> {
        if !known {
            self.next = self.feed.next_offsets().await?.into_iter().collect();
        }
        let mut carried = Carried::Nothing;
        let all = self.store.progress().await?;
        // What a loss of power takes from the store must not be in a feed: that would be ahead of it, and looks broken.
        if all.iter().any(|progress| self.next.get(&progress.partition).is_none_or(|next| *next < progress.next_offset))
        {
            self.store.sync().await?;
        }
        for progress in all {
            let from = self.next.get(&progress.partition).copied().unwrap_or(0);
            if from >= progress.next_offset {
                continue;
            }
            let rows = self.store.decisions(progress.partition, from, PAGE_ROWS).await?;
            let offset_of = |row: Option<&DecisionRow>| row.map(|row| row.decision.position.offset);
            let (Some(first), Some(last)) = (offset_of(rows.first()), offset_of(rows.last())) else { continue };
            if first > from {
                let (partition, feed) = (progress.partition, self.feed.name());
                tracing::warn!(
                    feed,
                    partition,
                    from,
                    first,
                    "the store has forgotten what this feed never had; it goes on after that"
                );
                self.feed.skip_to(partition, first).await?;
            }
            self.learn_sessions(&rows).await?;
            let rows: Vec<_> = rows.into_iter().map(|row| self.row(row)).collect();
            self.feed.append(&rows).await?;
            self.next.insert(progress.partition, last + 1);
            self.relayed_total.inc_by(rows.len() as u64);
            carried = carried.max(if rows.len() < PAGE_ROWS { Carried::All } else { Carried::Page });
        }
        Ok(carried)
    }

    /// Reads the sessions again when one of these rows names an unknown one or changed what one says. Rows lie before their
    /// session's day, so what is older than the oldest row is not needed any more.
    async fn learn_sessions(&mut self, rows: &[DecisionRow]) -> port::Result<()> {
        let unknown = |id: &SessionId| !self.sessions.contains_key(id);
        let changed = |kind| matches!(kind, Kind::OpenSession | Kind::ChangeCapacity);
        let news = |row: &&DecisionRow| {
            row.decision.session_id.as_ref().is_some_and(|id| changed(row.decision.kind) || unknown(id))
        };
        let Some(first) = rows.iter().find(news) else { return Ok(()) };
        let day = first.decision.logged_at.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
        let since = day_of_number(day_number(day) - 3).unwrap_or(Date::MIN);
        let sessions = self.store.sessions(since).await?;
        self.sessions = sessions.into_iter().map(|state| (state.session.session_id.clone(), state.session)).collect();
        Ok(())
    }

    fn row(&self, row: DecisionRow) -> Row {
        let decision = row.decision;
        let patient = self.pseudonyms.as_ref().zip(row.patient_id).map(|(pseudonyms, patient)| pseudonyms.of(&patient));
        Row {
            position: decision.position,
            logged_at: decision.logged_at,
            decided_at: decision.decided_at,
            kind: decision.kind,
            patient,
            outcome: decision.outcome,
            repeat: decision.first.is_some(),
            session: decision.session_id.as_ref().and_then(|id| self.sessions.get(id)).cloned(),
            session_id: decision.session_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay in a process of its own does not know when the pipelines are busy; it must not insert row by row.
    #[test]
    fn rows_gather_unless_a_page_is_full() {
        let took = Duration::from_millis(2);
        assert_eq!(Carried::All.pause(false, took), GATHER);
        assert_eq!(Carried::Page.pause(false, took), Duration::ZERO, "it catches up at full speed");
        assert_eq!(Carried::Page.pause(true, took), took * MAKE_WAY);
        assert_eq!(Carried::All.pause(true, GATHER), GATHER * MAKE_WAY);
        assert_eq!(Carried::Nothing.pause(true, took), IDLE);
    }
}
