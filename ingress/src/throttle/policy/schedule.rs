//! What holds by the time of the day.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use orderly_domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Lane, Limits, Policy, Shed, Suspicion};

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DayOfWeek)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// What holds at some time of the day. Each limit of it holds in place of the one of its kind, and each of the other sections
/// in place of the whole section of its name; what it leaves out stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scheduled {
    /// What ops call it.
    pub name: String,
    /// The days on which it begins; left out: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// From when on, local time.
    #[schema(value_type = String, example = "07:55")]
    pub from: Time,
    /// Until when, local time. Earlier than `from` means on the next day.
    #[schema(value_type = String, example = "08:10")]
    pub to: Time,
    /// The time zone of the hospital, by its IANA name.
    #[schema(example = "Asia/Shanghai")]
    pub timezone: String,
    /// The limits meanwhile.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// All lanes meanwhile; an empty list closes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<Vec<Lane>>,
    /// When to turn intents away meanwhile because the line is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shed: Option<Shed>,
    /// When somebody is suspicious meanwhile, and how hard they are challenged then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspicion: Option<Suspicion>,
}

impl Policy {
    /// Which entries of the schedule hold at a moment.
    pub(in crate::throttle) fn scheduled(&self, now: Timestamp) -> Vec<usize> {
        let holds = self.schedule.iter().enumerate().filter(|(_, entry)| entry.holds(now));
        holds.map(|(index, _)| index).collect()
    }

    /// What the policy amounts to while these entries of its schedule hold: the last one that says something wins.
    pub(in crate::throttle) fn during(&self, scheduled: &[usize]) -> Self {
        let mut policy = self.clone();
        for entry in scheduled.iter().filter_map(|index| self.schedule.get(*index)) {
            policy.limits = policy.limits.overlaid(&entry.limits);
            policy.lanes = entry.lanes.clone().unwrap_or(policy.lanes);
            policy.shed = entry.shed.or(policy.shed);
            policy.suspicion = entry.suspicion.clone().or(policy.suspicion);
        }
        policy
    }
}

impl Scheduled {
    /// Whether it holds at a moment. Never in a time zone that is not known.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        let Ok(zone) = TimeZone::get(&self.timezone) else { return false };
        let local = now.to_jiff().to_zoned(zone);
        let (date, time) = (local.date(), local.time());
        let begins = |day: Weekday| self.days.is_empty() || self.days.contains(&day.into());
        if self.from <= self.to {
            return begins(date.weekday()) && self.from <= time && time < self.to;
        }
        let begun_yesterday = begins(date.weekday().previous()) && time < self.to;
        begun_yesterday || (begins(date.weekday()) && self.from <= time)
    }
}
