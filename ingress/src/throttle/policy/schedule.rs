//! Limits by the time of the day.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use orderly_domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Limits;

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

/// Limits that hold at some time of the day, in place of the others of their kind.
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
    /// What holds meanwhile.
    pub limits: Limits,
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
