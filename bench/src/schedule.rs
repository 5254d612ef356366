//! When intents arrive: a quiet base rate, the release's spike, its decay. Open loop: arrivals don't wait for answers.

use std::time::Duration;

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Exp};

/// The release, as a share of the whole time.
const RELEASE: f64 = 0.25;
/// How long the rate takes from the base to the peak, as a share of the whole time.
const RISE: f64 = 0.02;
/// How long the excess over the base takes to fall to 1/e, as a share of the whole time.
const DECAY: f64 = 0.08;

/// The most arrivals of one run: the plan and its results are held in memory.
pub const ARRIVALS_MAX: f64 = 5_000_000.0;

/// The arrival rate over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// How long intents arrive, in seconds.
    pub seconds: f64,
    /// Intents per second before the release.
    pub base_rate: f64,
    /// The peak's rate ÷ the base rate.
    pub peak_factor: f64,
}

/// A profile that cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a positive number.
    #[error("seconds and base rate must be greater than 0, and the peak factor at least 1")]
    Range,
    /// Over [`ARRIVALS_MAX`].
    #[error("that is more than {ARRIVALS_MAX} arrivals; lower the seconds, the base rate or the peak factor")]
    TooMany,
}

impl Profile {
    /// Checks it.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let usable = |value: f64, least: f64| value.is_finite() && value >= least;
        if !usable(self.seconds, 0.1) || !usable(self.base_rate, 1e-6) || !usable(self.peak_factor, 1.0) {
            return Err(Invalid::Range);
        }
        if self.expected() > ARRIVALS_MAX { Err(Invalid::TooMany) } else { Ok(()) }
    }

    /// Intents per second, `at` seconds after the start.
    #[must_use]
    pub fn rate(&self, at: f64) -> f64 {
        let (release, rise, decay) = (RELEASE * self.seconds, RISE * self.seconds, DECAY * self.seconds);
        let spike = if at < release {
            0.0
        } else if at < release + rise {
            (at - release) / rise
        } else {
            (-(at - release - rise) / decay).exp()
        };
        self.base_rate * (1.0 + (self.peak_factor - 1.0) * spike)
    }

    /// The peak's rate, in intents per second.
    #[must_use]
    pub fn peak_rate(&self) -> f64 {
        self.base_rate * self.peak_factor
    }

    /// How many intents are to be expected.
    #[must_use]
    pub fn expected(&self) -> f64 {
        let tail = 1.0 - RELEASE - RISE;
        let spike = RISE / 2.0 + DECAY * (1.0 - (-tail / DECAY).exp());
        self.seconds * self.base_rate * (1.0 + (self.peak_factor - 1.0) * spike)
    }

    /// Arrival times from the start, a Poisson process of this rate, by thinning one of the peak's rate.
    pub fn arrivals(&self, random: &mut impl Rng) -> Vec<Duration> {
        let Ok(gap) = Exp::new(self.peak_rate()) else { return Vec::new() };
        let mut arrivals = Vec::new();
        let mut at = gap.sample(random);
        while at < self.seconds {
            if random.random::<f64>() * self.peak_rate() < self.rate(at) {
                arrivals.push(Duration::from_secs_f64(at));
            }
            at += gap.sample(random);
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const PROFILE: Profile = Profile { seconds: 20.0, base_rate: 50.0, peak_factor: 200.0 };

    #[test]
    fn the_peak_is_factor_times_base() {
        let rates: Vec<f64> = (0..20_000_u32).map(|ms| PROFILE.rate(f64::from(ms) / 1000.0)).collect();
        let highest = rates.iter().copied().fold(0.0, f64::max);
        assert!((highest - 10_000.0).abs() < 1.0, "{highest}");
        assert!(rates[..5_000].iter().all(|rate| (*rate - 50.0).abs() < 1e-9), "quiet before the release");
        assert!(rates[19_999] < 60.0, "decayed at the end");
    }

    #[test]
    fn arrivals_follow_the_rate() {
        let arrivals = PROFILE.arrivals(&mut StdRng::seed_from_u64(1));
        let expected = PROFILE.expected();
        assert!((arrivals.len() as f64 - expected).abs() < 5.0 * expected.sqrt(), "{} of {expected}", arrivals.len());
        assert!(arrivals.is_sorted());
        let quiet = arrivals.iter().filter(|at| at.as_secs_f64() < 5.0).count();
        assert!((170..330).contains(&quiet), "{quiet} of 250 before the release");
        let tenth = arrivals.iter().filter(|at| (5.4..5.5).contains(&at.as_secs_f64())).count();
        assert!((850..1100).contains(&tenth), "{tenth} in the peak's tenth of a second");
    }

    #[test]
    fn a_seed_gives_the_same_arrivals() {
        let of = |seed| PROFILE.arrivals(&mut StdRng::seed_from_u64(seed));
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn refuses_what_cannot_be_played() {
        assert_eq!(Profile { base_rate: 0.0, ..PROFILE }.validate(), Err(Invalid::Range));
        assert_eq!(Profile { seconds: f64::NAN, ..PROFILE }.validate(), Err(Invalid::Range));
        assert_eq!(Profile { base_rate: 1e6, ..PROFILE }.validate(), Err(Invalid::TooMany));
        assert_eq!(PROFILE.validate(), Ok(()));
    }
}
