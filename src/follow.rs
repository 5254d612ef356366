//! `orderly follow`: outcomes as lines of JSON, for a service that reads its standard input.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use orderly_domain::port;
use orderly_domain::port::store::Committed;
use orderly_sinks::fanout::redis::group::{Begin, Delivery, Member, Options};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::cli;
use crate::config::{Config, Profile};
use crate::serve::{owner, stop_signal};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a stop waits for Redis.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Prints what the group is handed until SIGTERM or SIGINT, or until nobody reads it any more. A batch is acknowledged once
/// its lines are written.
///
/// # Errors
/// When the group cannot be joined, the lines cannot be written, or somebody else writes the stream.
pub(crate) async fn run(config: &Config, command: cli::Follow) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.profile == Profile::Distributed,
        "outcomes can be followed in the distributed profile only: they are told through Redis"
    );
    let mut asked_to_stop = Box::pin(stop_signal()?);
    let fanout = config.redis_fanout_options();
    let options = Options {
        urls: fanout.urls,
        tls: fanout.tls,
        response_timeout: fanout.response_timeout,
        stream: fanout.stream,
        group: command.group,
        member: command.consumer.map_or_else(owner, Ok)?,
        begin: match command.from {
            cli::FollowFrom::Start => Begin::Oldest,
            cli::FollowFrom::Now => Begin::Now,
        },
        claim_after: command.claim_after,
        // A batch's time begins when it is taken: those that wait behind a slow reader would be claimed by others.
        batches_max: 1,
        ..Options::default()
    };
    let mut member = Member::join(options).await.context("the group cannot be joined")?;
    let output = Output::start()?;
    let followed = tokio::select! {
        () = &mut asked_to_stop => Ok(()),
        followed = follow(&mut member, &output) => followed,
    };
    if let Ok(Err(error)) = tokio::time::timeout(LEAVE_MAX, member.leave()).await {
        tracing::debug!(%error, "the group still knows this consumer");
    }
    followed
}

async fn follow(member: &mut Member, output: &Output) -> anyhow::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let handled = match member.next().await {
            Ok(Delivery::Batch { receipt, decisions, .. }) => {
                output.write(lines(&decisions)?).await?;
                member.acknowledge(receipt).await
            }
            Ok(Delivery::Gap { batches }) => {
                tracing::warn!(?batches, "outcomes were dropped before this group had them; the store has them");
                output.write(line(&json!({ "gap": { "batches": batches } }))?).await?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        match handled {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error @ port::Error::Corrupt(_)) => return Err(error).context("outcomes cannot be followed"),
            Err(error) => {
                tracing::warn!(%error, ?pause, "Redis did not answer; what was not acknowledged comes again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn lines(decisions: &[Committed]) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for decision in decisions {
        lines.append(&mut line(decision)?);
    }
    Ok(lines)
}

fn line(value: &impl serde::Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

type Piece = (Vec<u8>, oneshot::Sender<io::Result<()>>);

/// The standard output, on a thread of its own: whoever reads it may be slow, and a stop does not wait for them.
struct Output(mpsc::Sender<Piece>);

impl Output {
    fn start() -> anyhow::Result<Self> {
        let (sender, mut pieces) = mpsc::channel::<Piece>(1);
        let write = move || {
            let mut out = io::stdout().lock();
            while let Some((bytes, done)) = pieces.blocking_recv() {
                // Whoever waited for it may have been told to stop.
                let _ = done.send(out.write_all(&bytes).and_then(|()| out.flush()));
            }
        };
        std::thread::Builder::new().name("output".into()).spawn(write).context("a thread cannot be started")?;
        Ok(Self(sender))
    }

    /// Returns when all of it is written.
    async fn write(&self, bytes: Vec<u8>) -> anyhow::Result<()> {
        let (done, written) = oneshot::channel();
        let ended = || anyhow!("the thread that writes the lines ended; see above");
        self.0.send((bytes, done)).await.map_err(|_| ended())?;
        Ok(written.await.map_err(|_| ended())??)
    }
}
