//! Who wants what: patients, popular doctors, impatient retries, second thoughts.

use std::time::Duration;

use anyhow::Context as _;
use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Zipf};

/// How a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not.
    Never,
    /// At the same time as the first: a double click.
    AtOnce,
    /// Once the first was accepted and this time has passed: a page that is loaded again.
    After(Duration),
}

/// How a patient learns the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// By long poll, from the acceptance on.
    Poll,
    /// By server-sent events while a stream is free, else by a look once arrivals have ended.
    Push,
}

/// One patient's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// When it is to be sent, from the start.
    pub at: Duration,
    /// Which patient.
    pub patient: usize,
    /// Which session.
    pub session: usize,
    /// Whether it is sent again.
    pub retry: Retry,
    /// Whether the number is given back once it is booked. Never together with a retry, so that both answers to a retry
    /// can be compared.
    pub cancel: bool,
    /// How the outcome is learnt.
    pub follow: Follow,
}

/// What share of intents does what: 0 to 1 each.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Sent again with the same key.
    pub retry: f64,
    /// Cancelled once booked; of those that are not sent again.
    pub cancel: f64,
    /// Followed by long poll.
    pub poll: f64,
}

impl Shares {
    /// Checks them.
    ///
    /// # Errors
    /// When one is not a share.
    pub fn validate(&self) -> anyhow::Result<()> {
        for (name, share) in [("retry", self.retry), ("cancel", self.cancel), ("poll", self.poll)] {
            anyhow::ensure!((0.0..=1.0).contains(&share), "the {name} share is {share}; use 0 to 1");
        }
        Ok(())
    }
}

/// The population of a run.
#[derive(Clone, Debug)]
pub struct Population {
    /// How many patients there are.
    pub patients: usize,
    /// Each doctor's sessions, the most popular doctor first.
    pub doctors: Vec<Vec<usize>>,
    /// The exponent of the doctors' popularity: the n-th is asked for in proportion to n^-zipf.
    pub zipf: f64,
}

impl Population {
    /// Gives every arrival a patient, a session and a character.
    ///
    /// # Errors
    /// When there is nobody to ask or to be asked, or the exponent or a share is out of range.
    pub fn intents(&self, arrivals: &[Duration], shares: Shares, random: &mut impl Rng) -> anyhow::Result<Vec<Intent>> {
        shares.validate()?;
        anyhow::ensure!(self.patients > 0, "there must be at least one patient");
        anyhow::ensure!(
            !self.doctors.is_empty() && self.doctors.iter().all(|sessions| !sessions.is_empty()),
            "there is no open session; open some (`orderly sessions import`) or start the server with --demo"
        );
        let popularity = Zipf::new(self.doctors.len() as f64, self.zipf)
            .context("the Zipf exponent must be 0 or more; 1 is usual")?;
        Ok(arrivals.iter().map(|at| self.intent(*at, shares, &popularity, random)).collect())
    }

    fn intent(&self, at: Duration, shares: Shares, popularity: &Zipf<f64>, random: &mut impl Rng) -> Intent {
        let rank = popularity.sample(random);
        // The sample is a whole number from 1; comparing avoids a cast from a float.
        let doctor = (1..self.doctors.len()).find(|n| *n as f64 >= rank).unwrap_or(self.doctors.len()) - 1;
        let sessions = &self.doctors[doctor];
        let retry = if random.random_bool(shares.retry) {
            if random.random_bool(0.5) {
                Retry::AtOnce
            } else {
                Retry::After(Duration::from_millis(random.random_range(20..2_000)))
            }
        } else {
            Retry::Never
        };
        Intent {
            at,
            patient: random.random_range(0..self.patients),
            session: sessions[random.random_range(0..sessions.len())],
            retry,
            cancel: retry == Retry::Never && random.random_bool(shares.cancel),
            follow: if random.random_bool(shares.poll) { Follow::Poll } else { Follow::Push },
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const SHARES: Shares = Shares { retry: 0.2, cancel: 0.1, poll: 0.5 };

    fn intents(seed: u64) -> Vec<Intent> {
        let population = Population { patients: 500, doctors: (0..20).map(|doctor| vec![doctor]).collect(), zipf: 1.0 };
        let arrivals: Vec<_> = (0..20_000).map(Duration::from_millis).collect();
        population.intents(&arrivals, SHARES, &mut StdRng::seed_from_u64(seed)).expect("valid")
    }

    #[test]
    fn doctors_are_popular_in_zipfs_order() {
        let mut asked = [0_u32; 20];
        for intent in intents(1) {
            asked[intent.session] += 1;
        }
        // 1/n over the sum of 1/1 … 1/20, which is 3.598.
        for (index, expected) in [(0, 5_559), (1, 2_780), (3, 1_390), (19, 278)] {
            let found = asked[index];
            assert!(found.abs_diff(expected) < expected / 5, "doctor {index}: {found} of {expected}");
        }
    }

    #[test]
    fn shares_are_kept_and_exclude_each_other() {
        let intents = intents(2);
        let count = |of: fn(&Intent) -> bool| intents.iter().filter(|intent| of(intent)).count();
        assert!((3_700..4_300).contains(&count(|intent| intent.retry != Retry::Never)));
        assert!((1_400..1_800).contains(&count(|intent| intent.cancel)));
        assert!((9_600..10_400).contains(&count(|intent| intent.follow == Follow::Poll)));
        assert_eq!(count(|intent| intent.cancel && intent.retry != Retry::Never), 0);
    }

    #[test]
    fn a_seed_gives_the_same_demand() {
        assert_eq!(intents(3), intents(3));
        assert_ne!(intents(3), intents(4));
    }

    #[test]
    fn refuses_nobody() {
        let population = Population { patients: 1, doctors: vec![], zipf: 1.0 };
        assert!(population.intents(&[], SHARES, &mut StdRng::seed_from_u64(1)).is_err());
        let population = Population { patients: 1, doctors: vec![vec![0]], zipf: 1.0 };
        assert!(population.intents(&[], Shares { poll: 1.1, ..SHARES }, &mut StdRng::seed_from_u64(1)).is_err());
    }
}
