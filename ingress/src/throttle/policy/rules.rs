//! What types alone cannot check about a policy.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use jiff::tz::TimeZone;

use super::{Exception, Kind, Lane, Limits, Policy, Rate, Shed, Suspicion};

/// The lowest and highest rate of a limit, in requests a second.
pub const RATE_PER_S: RangeInclusive<f64> = 0.001..=1_000_000.0;

/// The smallest and largest burst of a limit, in requests.
pub const BURST: RangeInclusive<u32> = 1..=1_000_000;

/// The smallest and largest number of keys that a limit remembers.
pub const KEYS_MAX: RangeInclusive<u32> = 1..=10_000_000;

/// How much of the global limit all lanes together may keep.
pub const LANES_SHARE_MAX: f64 = 0.5;

/// How much of it one lane may keep at least.
const LANE_SHARE_MIN: f64 = 0.01;

/// How many exceptions, lanes and schedules there may be, each.
const ENTRIES_MAX: usize = 1_000;

const LANES_MAX: usize = 8;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// How long a rush may last at most, in seconds.
const RUSH_S_MAX: u32 = 7 * 24 * 3_600;

/// How long a wait may be and how many intents without a decision there may be.
const WAIT_MS: RangeInclusive<u64> = 1..=86_400_000;
const UNDECIDED: RangeInclusive<u64> = 1..=100_000_000;

/// How fast counts may decay, from which score on bookings may be challenged, and how many may be told apart.
const HALF_LIFE_S: RangeInclusive<f64> = 1.0..=86_400.0;
const CHALLENGE_SCORE: RangeInclusive<f64> = 0.1..=1_000_000.0;
const SUSPICION_KEYS: RangeInclusive<u32> = 8..=1_000_000;

/// What may be tolerated, and what it may count.
const TOLERATED: RangeInclusive<f64> = 0.0..=1_000_000.0;
const WEIGHT: RangeInclusive<f64> = 0.0..=1_000.0;

/// How hard a challenge may be, and for how long it may be answered. Beyond 28 bits a phone would need hours.
const BITS: RangeInclusive<u8> = 1..=28;
const VALID_S: RangeInclusive<u32> = 5..=600;

impl Policy {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// Every rule that is broken, with what to do.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        limits("limits", &self.limits, &mut problems);
        if !KEYS_MAX.contains(&self.keys_max) {
            let (least, most) = KEYS_MAX.into_inner();
            problems.push(format!("keys_max is {}; set {least} to {most} keys", self.keys_max));
        }
        too_many("frozen", self.frozen.len(), ENTRIES_MAX, &mut problems);
        self.phases(&mut problems);
        self.exceptions(&mut problems);
        lanes("lanes", &self.lanes, self.limits.global.is_some(), &mut problems);
        self.schedule(&mut problems);
        if let Some(of) = self.shed {
            shed("shed", of, &mut problems);
        }
        if let Some(suspicion) = &self.suspicion {
            suspicious("suspicion", suspicion, &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn phases(&self, problems: &mut Vec<String>) {
        let phases = &self.phases;
        if phases.rush_s > RUSH_S_MAX {
            problems.push(format!("phases.rush_s is {}; set at most {RUSH_S_MAX} seconds", phases.rush_s));
        }
        for (name, of) in [("before", &phases.before), ("rush", &phases.rush), ("after", &phases.after)] {
            limits(&format!("phases.{name}"), of, problems);
            if of.global.is_some() {
                problems.push(format!("phases.{name}.global is set; the global limit is the same in all phases: set limits.global, or a schedule"));
            }
        }
    }

    fn exceptions(&self, problems: &mut Vec<String>) {
        too_many("exceptions", self.exceptions.len(), ENTRIES_MAX, problems);
        let mut seen = HashSet::new();
        for (index, exception) in self.exceptions.iter().enumerate() {
            let Exception { limit, key, .. } = exception;
            let at = format!("exceptions[{index}]");
            rate(&at, exception.rate(), problems);
            if matches!(limit, Kind::Global | Kind::Address) {
                problems.push(format!(
                    "{at}.limit is {}; it can be patient, doctor, department, campus or client",
                    limit.as_str()
                ));
            }
            name(&format!("{at}.key"), key, problems);
            if !seen.insert((*limit, key)) {
                problems.push(format!("{at} is the second for {} {key:?}; keep one", limit.as_str()));
            }
        }
    }

    fn schedule(&self, problems: &mut Vec<String>) {
        too_many("schedule", self.schedule.len(), ENTRIES_MAX, problems);
        for (index, entry) in self.schedule.iter().enumerate() {
            let at = format!("schedule[{index}]");
            name(&format!("{at}.name"), &entry.name, problems);
            limits(&format!("{at}.limits"), &entry.limits, problems);
            if let Some(of) = &entry.lanes {
                let has_global = self.limits.global.or(entry.limits.global).is_some();
                lanes(&format!("{at}.lanes"), of, has_global, problems);
            }
            if let Some(of) = entry.shed {
                shed(&format!("{at}.shed"), of, problems);
            }
            if let Some(of) = &entry.suspicion {
                suspicious(&format!("{at}.suspicion"), of, problems);
            }
            if entry.limits.is_empty() && entry.lanes.is_none() && entry.shed.is_none() && entry.suspicion.is_none() {
                problems
                    .push(format!("{at} changes nothing; give it limits, lanes, shed or suspicion, or leave it out"));
            }
            if entry.from == entry.to {
                problems.push(format!("{at} ends when it begins, at {}; set another `to`", entry.to));
            }
            if TimeZone::get(&entry.timezone).is_err() {
                problems.push(format!(
                    "{at}.timezone {:?} is not known; use an IANA name such as Asia/Shanghai",
                    entry.timezone
                ));
            }
        }
    }
}

fn lanes(at: &str, lanes: &[Lane], has_global: bool, problems: &mut Vec<String>) {
    too_many(at, lanes.len(), LANES_MAX, problems);
    if !lanes.is_empty() && !has_global {
        problems.push(format!("{at} share the global limit, and there is none; set limits.global"));
    }
    let mut levels = HashSet::new();
    for (index, lane) in lanes.iter().enumerate() {
        let at = format!("{at}[{index}]");
        name(&format!("{at}.name"), &lane.name, problems);
        if lane.levels.is_empty() {
            problems.push(format!("{at}.levels is empty; name the member levels that the lane is for"));
        }
        for level in &lane.levels {
            name(&format!("{at}.levels"), level, problems);
            if !levels.insert(level) {
                problems.push(format!("{at}.levels has {level:?}, which is in a lane already"));
            }
        }
        if !(LANE_SHARE_MIN..=LANES_SHARE_MAX).contains(&lane.share) {
            problems.push(format!("{at}.share is {}; set {LANE_SHARE_MIN} to {LANES_SHARE_MAX}", lane.share));
        }
    }
    let share: f64 = lanes.iter().map(|lane| lane.share).sum();
    if share > LANES_SHARE_MAX {
        problems.push(format!("the {at} keep {share} of the global limit; leave at least half to everybody"));
    }
}

fn limits(at: &str, limits: &Limits, problems: &mut Vec<String>) {
    for kind in std::iter::once(Kind::Global).chain(Kind::KEYED) {
        if let Some(of) = limits.get(kind) {
            rate(&format!("{at}.{}", kind.as_str()), of, problems);
        }
    }
}

fn rate(at: &str, Rate { rate_per_s, burst }: Rate, problems: &mut Vec<String>) {
    if !RATE_PER_S.contains(&rate_per_s) {
        let (least, most) = RATE_PER_S.into_inner();
        problems.push(format!(
            "{at}.rate_per_s is {rate_per_s}; set {least} to {most} requests a second, or leave {at} out to lift the limit"
        ));
    }
    if !BURST.contains(&burst) {
        let (least, most) = BURST.into_inner();
        problems.push(format!(
            "{at}.burst is {burst}; set {least} to {most} requests, or leave {at} out to lift the limit"
        ));
    }
}

fn name(at: &str, name: &str, problems: &mut Vec<String>) {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        problems.push(format!("{at} is {name:?}; use 1 to {NAME_BYTES_MAX} bytes of text"));
    }
}

fn too_many(at: &str, count: usize, most: usize, problems: &mut Vec<String>) {
    if count > most {
        problems.push(format!("{at} has {count} entries; keep at most {most}"));
    }
}

fn shed(at: &str, of: Shed, problems: &mut Vec<String>) {
    outside(&format!("{at}.wait_max_ms"), of.wait_max_ms, &WAIT_MS, "milliseconds", problems);
    outside(&format!("{at}.undecided_max"), of.undecided_max, &UNDECIDED, "intents", problems);
}

fn suspicious(at: &str, policy: &Suspicion, problems: &mut Vec<String>) {
    let work = &policy.work;
    outside(&format!("{at}.half_life_s"), policy.half_life_s, &HALF_LIFE_S, "seconds", problems);
    outside(&format!("{at}.challenge_score"), policy.challenge_score, &CHALLENGE_SCORE, "points", problems);
    outside(&format!("{at}.keys_max"), policy.keys_max, &SUSPICION_KEYS, "keys", problems);
    outside(&format!("{at}.work.bits_min"), work.bits_min, &BITS, "bits", problems);
    outside(&format!("{at}.work.bits_max"), work.bits_max, &BITS, "bits", problems);
    outside(&format!("{at}.work.valid_s"), work.valid_s, &VALID_S, "seconds", problems);
    if work.bits_min > work.bits_max {
        problems.push(format!("{at}.work.bits_min is {}, above bits_max, {}; lower it", work.bits_min, work.bits_max));
    }
    for (name, weight) in policy.weights() {
        outside(&format!("{at}.{name}.tolerated"), weight.tolerated, &TOLERATED, "of them", problems);
        outside(&format!("{at}.{name}.weight"), weight.weight, &WEIGHT, "points", problems);
    }
}

fn outside<T: PartialOrd + Display + Copy>(
    at: &str,
    value: T,
    range: &RangeInclusive<T>,
    unit: &str,
    problems: &mut Vec<String>,
) {
    if !range.contains(&value) {
        problems.push(format!("{at} is {value}; set {} to {} {unit}", range.start(), range.end()));
    }
}
