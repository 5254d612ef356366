//! The peak as a flow through two queues, a millisecond at a time: intents come at a steady rate, are taken in, and are decided.
//! There is no chance in it, so a plan is the same every time.

use serde::Serialize;

/// The longest that is looked at after the peak, in milliseconds: an hour.
const LONGEST_MS: usize = 3_600_000;

/// How fast intents are taken in and decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Speed {
    /// Each on nodes of its own: so many a second.
    Apart {
        /// Taken in.
        accepts: f64,
        /// Decided.
        decides: f64,
    },
    /// Both, and the client, on the same cores.
    Together {
        /// How many cores.
        cores: f64,
        /// Microseconds of a core until an intent is taken in, the client's included.
        accept_us: f64,
        /// Microseconds from there to its decision.
        decide_us: f64,
        /// Decisions a second of the step that one thread does.
        decides_max: f64,
    },
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Simulated {
    /// Intents taken in and not decided when the last one has come.
    pub(super) backlog: f64,
    /// From the first request to the last decision, in seconds.
    pub(super) last_outcome_s: f64,
    /// From the request to the 202, in milliseconds.
    pub(super) accept_p99_ms: f64,
    /// From the 202 to the decision, in milliseconds.
    pub(super) outcome_p99_ms: f64,
    /// From the request to the decision, in milliseconds.
    pub(super) total_p99_ms: f64,
}

/// What 99 of 100 wait at most where nothing queues, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Least {
    pub(super) accept_ms: f64,
    pub(super) outcome_ms: f64,
    pub(super) total_ms: f64,
}

/// Lets a peak of `rate` intents a second pass, which lasts `seconds`.
pub(super) fn simulate(rate: f64, seconds: f64, speed: Speed, least: Least) -> Simulated {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the command line bounds seconds")]
    let peak = (seconds * 1_000.0).ceil() as usize;
    let each = rate * seconds / peak as f64;
    // How many had come, were taken in and were decided by the end of each millisecond.
    let (mut come, mut taken, mut decided) = (Vec::new(), Vec::new(), Vec::new());
    let (mut waiting, mut line) = (0.0_f64, 0.0_f64);
    let (mut all, mut accepted, mut done) = (0.0_f64, 0.0_f64, 0.0_f64);
    let mut backlog = 0.0;
    for ms in 0..peak + LONGEST_MS {
        if ms < peak {
            waiting += each;
            all += each;
        }
        let (take, decide) = step(speed, waiting, line);
        waiting -= take;
        line += take - decide;
        accepted += take;
        done += decide;
        come.push(all);
        taken.push(accepted);
        decided.push(done);
        if ms + 1 == peak {
            backlog = line;
        }
        if ms + 1 >= peak && waiting + line < 0.5 {
            break;
        }
    }
    // What is in the line for less than the least wait is in it all the same.
    let held = |ms: f64| (rate * ms / 1_000.0).min(all);
    Simulated {
        backlog: backlog.max(held(least.outcome_ms / 2.0)),
        last_outcome_s: decided.len() as f64 / 1_000.0 + least.total_ms / 1_000.0,
        accept_p99_ms: wait_p99(&come, &taken) + least.accept_ms,
        outcome_p99_ms: wait_p99(&taken, &decided) + least.outcome_ms,
        total_p99_ms: wait_p99(&come, &decided) + least.total_ms,
    }
}

/// How many are taken in and decided in a millisecond, of those who wait for each.
fn step(speed: Speed, waiting: f64, line: f64) -> (f64, f64) {
    match speed {
        Speed::Apart { accepts, decides } => {
            let take = waiting.min(accepts / 1_000.0);
            (take, (line + take).min(decides / 1_000.0))
        }
        Speed::Together { cores, accept_us, decide_us, decides_max } => {
            let budget = cores * 1_000.0;
            let wanted = (line + waiting).min(decides_max / 1_000.0) * decide_us;
            let fair = budget / 2.0;
            // The kernel is fair: who wants less than half leaves the rest to the other.
            let accept_budget = (budget - wanted).max(fair).min(waiting * accept_us);
            let take = accept_budget / accept_us;
            let decide = (line + take).min(decides_max / 1_000.0).min((budget - accept_budget) / decide_us);
            (take, decide)
        }
    }
}

/// What 99 of 100 wait at most between two counts over time, in milliseconds: first come, first served.
fn wait_p99(from: &[f64], to: &[f64]) -> f64 {
    let mut waits = Vec::new();
    let (mut before, mut at) = (0.0, 0);
    for (ms, count) in from.iter().enumerate() {
        if *count > before {
            // Sums of many small numbers are off by less than this.
            while at + 1 < to.len() && to[at] + 1e-6 + count * 1e-9 < *count {
                at += 1;
            }
            waits.push((at.saturating_sub(ms) as f64, count - before));
            before = *count;
        }
    }
    waits.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut left = before * 0.99;
    for (wait, count) in &waits {
        left -= count;
        if left <= 0.0 {
            return *wait;
        }
    }
    waits.last().map_or(0.0, |(wait, _)| *wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Least = Least { accept_ms: 0.0, outcome_ms: 0.0, total_ms: 0.0 };

    #[test]
    fn a_peak_within_its_capacity_leaves_no_line() {
        let came = simulate(1_000.0, 2.0, Speed::Apart { accepts: 2_000.0, decides: 1_500.0 }, LEAST);
        assert!(came.backlog < 1.0 && came.total_p99_ms <= 1.0 && (came.last_outcome_s - 2.0).abs() < 0.01, "{came:?}");
    }

    #[test]
    fn a_line_is_what_came_less_what_was_decided() {
        let came = simulate(1_000.0, 10.0, Speed::Apart { accepts: 5_000.0, decides: 500.0 }, LEAST);
        assert!((came.backlog - 5_000.0).abs() < 10.0, "{came:?}");
        assert!((came.last_outcome_s - 20.0).abs() < 0.1, "{came:?}");
        assert!((came.outcome_p99_ms - 9_900.0).abs() < 50.0, "{came:?}");
    }

    #[test]
    fn one_machine_divides_its_cores() {
        let speed = Speed::Together { cores: 2.0, accept_us: 100.0, decide_us: 300.0, decides_max: 1e9 };
        let came = simulate(10_000.0, 10.0, speed, LEAST);
        // 100,000 intents of 400 µs are 40 s of a core.
        assert!((came.last_outcome_s - 20.0).abs() < 0.1, "{came:?}");
        // While both want all, a core each: 10,000 a second are taken in, 3,333 are decided.
        assert!((came.backlog - 66_667.0).abs() < 100.0, "{came:?}");
    }

    #[test]
    fn less_speed_is_never_better() {
        let mut worst = simulate(10_000.0, 3.0, Speed::Apart { accepts: 8_000.0, decides: 20_000.0 }, LEAST);
        for decides in [10_000.0, 7_000.0, 4_000.0, 1_000.0] {
            let next = simulate(10_000.0, 3.0, Speed::Apart { accepts: 8_000.0, decides }, LEAST);
            assert!(next.last_outcome_s >= worst.last_outcome_s && next.backlog >= worst.backlog, "{next:?}");
            worst = next;
        }
    }
}
