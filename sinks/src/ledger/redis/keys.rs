//! Where a department's day lies in Redis.

use std::hash::BuildHasher as _;

use jiff::civil::Date;
use orderly_domain::DepartmentId;

/// What is decided together: a department's local day.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Day {
    pub(super) date: Date,
    pub(super) department: DepartmentId,
}

/// The keys of a day, in the order in which scripts take them.
pub(super) const NAMES: [&str; 6] = ["sessions", "tickets", "holders", "bookings", "free", "calls"];

impl Day {
    /// Its keys. They share a hash tag, so that a cluster keeps them on one node. The date comes first in it: a tag that
    /// began with a department's `}` would be empty, and an empty one is none.
    pub(super) fn keys(&self, prefix: &str) -> [String; 6] {
        NAMES.map(|name| format!("{prefix}{{{}:{}}}:{name}", self.date, self.department))
    }

    /// Calls about one day go the same way, one after the other.
    pub(super) fn lane(&self) -> u64 {
        rustc_hash::FxBuildHasher.hash_one(self)
    }
}

/// The keys of that name of all days, or of every name, as a pattern for `SCAN`.
pub(super) fn pattern(prefix: &str, name: &str) -> String {
    let literal: String = prefix
        .chars()
        .flat_map(|letter| {
            matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^').then_some('\\').into_iter().chain([letter])
        })
        .collect();
    format!("{literal}{{*}}:{name}")
}

/// The date of a key; `None` when it is not the ledger's.
pub(super) fn date_of(prefix: &str, key: &str) -> Option<Date> {
    key.strip_prefix(prefix)?.strip_prefix('{')?.split_once(':')?.0.parse().ok()
}

/// All keys of the day to which a key belongs.
pub(super) fn siblings(key: &str) -> Option<[String; NAMES.len()]> {
    let (day, _) = key.rsplit_once(':')?;
    Some(NAMES.map(|name| format!("{day}:{name}")))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;
    use redis::cluster_routing::Slot;

    use super::*;

    #[test]
    fn names_keys_for_people() {
        let day = Day { date: date(2026, 11, 23), department: "cardiology".parse().unwrap() };
        assert_eq!(day.keys("orderly:")[0], "orderly:{2026-11-23:cardiology}:sessions");
        // The client's slots are the specification's.
        assert_eq!(Slot::for_key("123456789"), Slot::new(12_739).unwrap());
        assert_eq!(Slot::for_key("{user1000}.following"), Slot::for_key("{user1000}.followers"));
    }

    #[test]
    fn takes_a_prefix_literally() {
        assert_eq!(pattern("a*[b]?:", "sessions"), "a\\*\\[b\\]\\?:{*}:sessions");
    }

    proptest! {
        /// All keys of a call lie in one slot of a cluster, whatever the department is called.
        #[test]
        fn keeps_a_day_on_one_node(name in "[{}:a-z心]{1,12}", year in -9999_i16..=9999, prefix in "[a-z:}]{0,5}") {
            let day = Day { date: date(year, 2, 28), department: name.parse().unwrap() };
            let keys = day.keys(&prefix);
            let slots: Vec<_> = keys.iter().map(Slot::for_key).collect();
            prop_assert!(slots.iter().all(|slot| *slot == slots[0]), "{keys:?} {slots:?}");
            prop_assert!(keys.iter().all(|key| date_of(&prefix, key) == Some(day.date)));
            prop_assert!(keys.iter().all(|key| siblings(key).as_ref() == Some(&keys)));
        }

        /// Two days never share a key.
        #[test]
        fn keeps_days_apart(one in "[{}:a-z]{1,8}", other in "[{}:a-z]{1,8}") {
            prop_assume!(one != other);
            let keys = |name: &str| Day { date: date(2026, 11, 23), department: name.parse().unwrap() }.keys("orderly:");
            for key in keys(&one) {
                prop_assert!(!keys(&other).contains(&key), "{key}");
            }
        }
    }
}
