//! What a system takes of the machine: of all its processes, those of its servers included.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What some processes have taken by now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Of the processor, children that ended included, in seconds.
    pub(super) cpu_s: f64,
    /// Of memory now, in bytes: each process's own, and once the most that one of them shares or maps.
    pub(super) resident_bytes: u64,
}

/// What these processes and their descendants have taken.
pub(super) fn usage(roots: &[u32]) -> anyhow::Result<Usage> {
    let mut stats = HashMap::new();
    for entry in std::fs::read_dir("/proc").context("/proc cannot be read")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has just ended has nothing to read.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        stats.extend(parse(&stat).map(|stat| (id, stat)));
    }
    let mut family: HashSet<u32> = roots.iter().copied().collect();
    // Parents may have higher numbers than their children, so once is not enough.
    while stats.iter().any(|(id, (parent, _))| family.contains(parent) && family.insert(*id)) {}
    let ticks: u64 = family.iter().filter_map(|id| stats.get(id)).map(|(_, ticks)| ticks).sum();
    let memory: Vec<_> = family.iter().filter_map(|id| memory(*id)).collect();
    let shared = |of: fn(&[u64; 3]) -> u64| memory.iter().map(of).max().unwrap_or(0);
    let own: u64 = memory.iter().map(|[anonymous, ..]| anonymous).sum();
    Ok(Usage {
        cpu_s: ticks as f64 / TICKS_PER_S,
        resident_bytes: own + shared(|[_, file, _]| *file) + shared(|[_, _, shm]| *shm),
    })
}

/// The processor time of this process, its children left out: the client's.
pub(super) fn own_cpu_s() -> anyhow::Result<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Linux counts for programs in hundredths of a second, whatever its own clock.
const TICKS_PER_S: f64 = 100.0;

/// The parent, and the ticks of the process and its ended children.
fn parse(stat: &str) -> Option<(u32, u64)> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>()).sum::<Result<u64, _>>().ok()?;
    Some((fields.get(1)?.parse().ok()?, ticks))
}

/// Anonymous, mapped and shared memory, in bytes.
fn memory(id: u32) -> Option<[u64; 3]> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    };
    Some([of("RssAnon:")?, of("RssFile:")?, of("RssShmem:")?])
}

/// Looks at memory again and again until it is ended.
pub(super) struct Watch {
    stop: watch::Sender<bool>,
    task: JoinHandle<u64>,
}

impl Watch {
    /// Begins.
    pub(super) fn begin(roots: Vec<u32>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut peak = 0;
            loop {
                peak = peak.max(usage(&roots).map_or(0, |usage| usage.resident_bytes));
                if tokio::time::timeout(LOOK_EVERY, stopped.changed()).await.is_ok() {
                    return peak;
                }
            }
        });
        Self { stop, task }
    }

    /// Ends, and tells the most there was, in bytes.
    pub(super) async fn end(self) -> anyhow::Result<u64> {
        // It has ended already when nobody listens.
        let _ = self.stop.send(true);
        Ok(self.task.await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_whose_name_has_a_bracket() {
        let stat = "7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0";
        assert_eq!(parse(stat), Some((3, 37)));
    }

    #[test]
    fn this_process_takes_something() {
        let usage = usage(&[std::process::id()]).expect("readable");
        assert!(usage.resident_bytes > 1_000_000, "{usage:?}");
    }
}
