//! Groups: services of which each batch of decisions reaches one member, whichever is free.
//!
//! A group is kept in Redis and outlives its members. A member is handed batches, handles each and acknowledges it; what it
//! was handed and did not acknowledge comes again to whoever joins under its name, or, after a while, to any other. So every
//! batch is handled at least once, as long as the stream keeps it: it is trimmed by count, and a member is told of what was
//! trimmed before the group had it. The store has all decisions.
//!
//! Needs Redis 7.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use orderly_domain::port::store::Committed;
use orderly_domain::port::{Error, Result};
use orderly_lua::{JOIN, LEAVE, Script, TAKE};
use redis::streams::StreamReadReply;
use redis::{FromRedisValue, ToRedisArgs};
use tokio::time::Instant;

use super::entry::{self, Id, Place};
use crate::redis::{Address, Connection, Servers};
use crate::tls::ClientTls;

/// The pause between two looks for what others left is this share of the time after which it is theirs no more.
const CLAIM_LOOKS: u32 = 4;

/// How a group is joined. Every bound is a maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where Redis is, as [`super::Options::urls`].
    pub urls: Vec<String>,
    /// Whom to trust where an address begins with `rediss`.
    pub tls: ClientTls,
    /// How long an answer may take.
    pub response_timeout: Duration,
    /// The stream's key.
    pub stream: String,
    /// The group's name; it is made when it is missing.
    pub group: String,
    /// This member's name in the group, which no other has at the same time.
    pub member: String,
    /// Where the group begins when it is made.
    pub begin: Begin,
    /// How long a batch is its member's. More than handling it ever takes, or it is handled twice.
    pub claim_after: Duration,
    /// How long is waited for news at once.
    pub idle: Duration,
    /// Batches that are taken at once.
    pub batches_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        let super::Options { urls, tls, response_timeout, stream, idle, .. } = super::Options::default();
        Self {
            urls,
            tls,
            response_timeout,
            stream,
            group: String::new(),
            member: String::new(),
            begin: Begin::Now,
            claim_after: Duration::from_secs(60),
            idle,
            batches_max: 16,
        }
    }
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the oldest batch that the stream has.
    Oldest,
    /// With what is published from now on.
    Now,
}

/// What a member is handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Decisions that were committed together.
    Batch {
        /// With it, the batch is acknowledged.
        receipt: Receipt,
        /// The decisions, in commit order.
        decisions: Arc<[Committed]>,
        /// Somebody was handed them before, and may have handled them.
        again: bool,
    },
    /// Batches that nobody in the group was handed are gone, or may be: catch up from the store.
    Gap {
        /// How many, if that is known.
        batches: Option<u64>,
    },
}

/// Which batch was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt(Id);

/// Which entries are asked for.
#[derive(Clone, Copy, Debug)]
enum Which {
    New,
    Own { after: Id },
    Stuck,
}

/// What the script answers.
struct Taken {
    /// Where the group was before.
    before: Option<Place>,
    /// Entries that were trimmed before they were acknowledged; negative when there is no such group.
    lost: i64,
    /// The id of the stream's newest entry.
    newest: String,
    entries: Vec<Entry>,
}

struct Entry {
    id: Id,
    place: Option<Place>,
    /// `None` when no fan-out wrote it.
    decisions: Option<Arc<[Committed]>>,
}

impl Entry {
    /// From its id, its place and its batch.
    fn read(fields: &[Vec<u8>]) -> Option<Self> {
        let [id, place, batch] = fields else { return None };
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let place = text(place).and_then(Place::parse);
        Some(Self { id: Id::parse(text(id)?)?, place, decisions: entry::decisions(batch).filter(|_| place.is_some()) })
    }
}

/// A member of a group.
pub struct Member {
    servers: Servers,
    /// Connections on which is waited.
    waiting: Servers,
    options: Options,
    keys: [String; 2],
    place_of_stream: String,
    queue: VecDeque<Delivery>,
    /// Where the entries that are this member's go on, until all of them have been handed out again.
    own_after: Option<Id>,
    next_claim: Instant,
    /// The newest entry that was handed out here when it was new.
    newest: Option<Place>,
}

impl Member {
    /// Joins a group, which is made when it is missing.
    ///
    /// # Errors
    /// When a name cannot be used, or Redis cannot be reached.
    pub async fn join(options: Options) -> Result<Self> {
        for (what, name) in [("group", &options.group), ("member", &options.member)] {
            if name.is_empty() || name.contains(|letter: char| "{}".contains(letter) || letter.is_whitespace()) {
                return Err(Error::DidNotHappen(format!(
                    "the {what}'s name {name:?} cannot be used; take one without spaces and without {{ and }}"
                )));
            }
        }
        let Options { urls, tls, stream, group, response_timeout, idle, .. } = &options;
        let address = Address { urls: urls.clone(), tls: tls.clone() };
        let member = Self {
            servers: Servers::new(address.clone(), *response_timeout, 1)?,
            waiting: Servers::new(address, *response_timeout + *idle, 1)?,
            keys: [stream.clone(), format!("{{{stream}}}:group:{group}")],
            place_of_stream: format!("{{{stream}}}:place"),
            queue: VecDeque::new(),
            own_after: Some(Id::default()),
            next_claim: Instant::now(),
            newest: None,
            options,
        };
        member.make_group(member.options.begin).await?;
        Ok(member)
    }

    /// What this member is handed next: first what it did not acknowledge when it was there before under this name, then
    /// what others left, then what is new. Waits until there is something. Dropping the future loses nothing: what was on its
    /// way comes again, here after an error, elsewhere after [`Options::claim_after`].
    ///
    /// # Errors
    /// When Redis does not answer; ask again. What was handed out and not acknowledged then comes again.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            if let Some(delivery) = self.queue.pop_front() {
                return Ok(delivery);
            }
            if let Err(error) = self.fill().await {
                self.queue.clear();
                self.own_after = Some(Id::default());
                return Err(error);
            }
        }
    }

    /// Tells the group that a batch was handled.
    ///
    /// # Errors
    /// When Redis does not answer; then the batch may come again.
    pub async fn acknowledge(&mut self, receipt: Receipt) -> Result<()> {
        let acknowledged = self.acknowledge_all(&[receipt.0]).await;
        if acknowledged.is_err() {
            self.own_after = Some(Id::default());
        }
        acknowledged
    }

    /// Leaves the group. What was handed out and not acknowledged goes to another.
    ///
    /// # Errors
    /// When Redis does not answer. Its name then stays in the group, which does no harm.
    pub async fn leave(self) -> Result<()> {
        let args = [self.options.group.as_str(), self.options.member.as_str()];
        call::<u8, _>(&self.servers, &LEAVE, &[self.keys[0].clone()], &args).await.map(drop)
    }

    async fn make_group(&self, begin: Begin) -> Result<()> {
        let begin = match begin {
            Begin::Oldest => "oldest",
            Begin::Now => "now",
        };
        let [stream, place] = self.keys.clone();
        let keys = [stream, place, self.place_of_stream.clone()];
        call::<u8, _>(&self.servers, &JOIN, &keys, &[self.options.group.as_str(), begin]).await.map(drop)
    }

    /// Puts into the queue what there is, or waits for it.
    async fn fill(&mut self) -> Result<()> {
        if let Some(after) = self.own_after {
            let taken = self.take(Which::Own { after }).await?;
            // Those that were trimmed are not there any more when it is asked again.
            self.own_after = taken.entries.last().map(|entry| entry.id).or((taken.lost > 0).then_some(after));
            return self.hand_out(taken, true).await;
        }
        if Instant::now() >= self.next_claim {
            self.next_claim = Instant::now() + self.options.claim_after / CLAIM_LOOKS;
            let taken = self.take(Which::Stuck).await?;
            if taken.lost > 0 || !taken.entries.is_empty() {
                return self.hand_out(taken, true).await;
            }
        }
        let taken = self.take(Which::New).await?;
        if taken.lost == 0 && taken.entries.is_empty() {
            return self.wait_for_news(&taken.newest).await;
        }
        self.hand_out(taken, false).await
    }

    async fn take(&self, which: Which) -> Result<Taken> {
        let Options { group, member, batches_max, claim_after, .. } = &self.options;
        let (word, rest) = match which {
            Which::New => ("new", String::new()),
            Which::Own { after } => ("own", after.to_string()),
            Which::Stuck => ("stuck", claim_after.as_millis().to_string()),
        };
        let most = (*batches_max).max(1).to_string();
        let args = [group.as_str(), member.as_str(), &most, word, &rest];
        let (before, lost, newest, fields): (String, i64, String, Vec<Vec<u8>>) =
            call(&self.servers, &TAKE, &self.keys, &args).await?;
        let Some(entries) = fields.chunks(3).map(Entry::read).collect() else {
            self.servers.discard_all().await;
            return Err(Error::MayHaveHappened(format!("Redis answered {} with what was not asked", TAKE.name())));
        };
        Ok(Taken { before: Place::parse(&before), lost, newest, entries })
    }

    async fn hand_out(&mut self, taken: Taken, again: bool) -> Result<()> {
        let Taken { mut before, lost, entries, .. } = taken;
        match u64::try_from(lost) {
            Ok(0) => {}
            Ok(batches) => self.queue.push_back(Delivery::Gap { batches: Some(batches) }),
            Err(_) => {
                // Redis was emptied, or somebody removed the group.
                self.make_group(Begin::Oldest).await?;
                self.newest = None;
                self.queue.push_back(Delivery::Gap { batches: None });
            }
        }
        let mut unreadable = Vec::new();
        for Entry { id, place, decisions } in entries {
            if !again {
                let gap = place.and_then(|place| self.gap_before(place, before));
                self.queue.extend(gap);
                before = place;
            }
            if let Some(decisions) = decisions {
                self.queue.push_back(Delivery::Batch { receipt: Receipt(id), decisions, again });
            } else {
                tracing::warn!(stream = self.keys[0], %id, "an entry that no fan-out wrote; give the stream to Orderly alone");
                self.queue.push_back(Delivery::Gap { batches: None });
                unreadable.push(id);
            }
        }
        if unreadable.is_empty() { Ok(()) } else { self.acknowledge_all(&unreadable).await }
    }

    /// What is missing between the entry that the group had before and the one at `place`. A place that was there before, and
    /// another life of the stream than the one that was seen here, tell that Redis has gone back in time.
    fn gap_before(&mut self, place: Place, before: Option<Place>) -> Option<Delivery> {
        let went_back = self.newest.is_some_and(|newest| !newest.is_before(place));
        self.newest = Some(place);
        let batches = place.missing_after(before).filter(|_| !went_back);
        (went_back || !place.follows(before)).then_some(Delivery::Gap { batches })
    }

    async fn acknowledge_all(&self, ids: &[Id]) -> Result<()> {
        let mut acknowledge = redis::cmd("XACK");
        acknowledge.arg(&self.keys[0]).arg(&self.options.group);
        ids.iter().for_each(|id| {
            acknowledge.arg(id.to_string());
        });
        let ask = |mut connection: Connection| async move { acknowledge.query_async::<u64>(&mut connection).await };
        self.servers.call("XACK", 0, ask).await.map(drop)
    }

    /// Returns when something is newer than `newest`, or some time has passed.
    async fn wait_for_news(&self, newest: &str) -> Result<()> {
        let mut read = redis::cmd("XREAD");
        // 0 would be for ever.
        let wait = u64::try_from(self.options.idle.as_millis()).unwrap_or(u64::MAX).max(1);
        read.arg("COUNT").arg(1).arg("BLOCK").arg(wait).arg("STREAMS").arg(&self.keys[0]).arg(newest);
        let ask = |mut connection: Connection| async move {
            read.query_async::<Option<StreamReadReply>>(&mut connection).await
        };
        self.waiting.call("XREAD", 0, ask).await.map(drop)
    }
}

/// Calls a script.
async fn call<T: FromRedisValue, const KEYS: usize>(
    servers: &Servers,
    script: &Script<KEYS>,
    keys: &[String; KEYS],
    args: &[impl ToRedisArgs],
) -> Result<T> {
    let ask = |mut connection: Connection| async move { script.call(&mut connection, keys, args).await };
    servers.call(script.name(), 0, ask).await
}
