//! Who gets in during a flood, and what they wait.

use super::accept::{self, Crowd};
use super::offer::{Nodes, offer};
use super::{Ratio, Run, Wait, median, process, throttle};

impl Run<'_> {
    /// Ten times as many bookings as are let in, from many addresses, beside what is let in at most under the same limit.
    pub(super) async fn flood(&mut self) -> anyhow::Result<()> {
        /// What the whole flood may take of what the server takes in at most, so that the client can keep it up: the limit is
        /// a tenth of that.
        const FLOOD: f64 = 0.6;
        /// Offers around the limit: the one of which most is let in is the most.
        const AROUND: [f64; 3] = [1.0, 1.5, 2.0];
        let server = process::orderly(&self.program).await?;
        let crowd = Crowd::gather(&server.url).await?;
        self.say("flood: what the server takes in at most");
        let most = accept::saturate(&server.url, self.options.connections, self.length(), &crowd).await?.rate_per_s;
        let limit_per_s = (most * FLOOD / 10.0).round();
        throttle::set(&server, &throttle::narrow(limit_per_s)).await?;
        let nodes = Nodes::new([(server.url.as_str(), 1.0)])?;
        let mut let_in = 0.0_f64;
        for times in AROUND {
            self.say(format!("flood: {times} times {limit_per_s} bookings a second"));
            let_in = let_in.max(offer(&nodes, &crowd, limit_per_s * times, self.length()).await?.accepted_per_s);
        }
        // In turns, so that a moment that somebody else takes of the machine decides nothing.
        let (mut unloaded, mut floods) = (Vec::new(), Vec::new());
        for round in 1..=self.options.rounds {
            self.say(format!("round {round}: half of {limit_per_s} bookings a second"));
            unloaded.push(offer(&nodes, &crowd, limit_per_s / 2.0, self.length()).await?.latency.p99_ms);
            self.say(format!("round {round}: a flood, ten times {limit_per_s} bookings a second"));
            floods.push(offer(&nodes, &crowd, limit_per_s * 10.0, self.length()).await?);
        }
        floods.sort_by(|one, other| one.latency.p99_ms.total_cmp(&other.latency.p99_ms));
        let flood = floods.swap_remove(floods.len() / 2);
        let what = "202s a second in a flood of ten times the limit (6 % of what is taken in without one)";
        let beside = "the most under the same limit, at 1, 1.5 or 2 times it";
        let value = flood.accepted_per_s;
        self.report.rates.push(Ratio { what, value, beside, limit: let_in, goal: Some(0.9) });
        self.report.waits.push(Wait {
            what: "202 in that flood, in the median of turns (goal: twice that at half of the limit)",
            rate_per_s: flood.sent as f64 / self.length().as_secs_f64(),
            latency: flood.latency,
            goal_p99_ms: median(unloaded)? * 2.0,
        });
        Ok(())
    }
}
