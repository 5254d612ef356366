//! What makes suspicious.

use crate::throttle::{Suspicion, Weight};

/// Whom something is counted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A patient.
    Patient,
    /// A client address: an IPv6 one with its /64.
    Address,
}

impl Who {
    /// Its name in metrics and answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Address => "address",
        }
    }

    /// What counts against it, by [`Signal::index`].
    pub(super) const fn signals(self) -> [Signal; Signal::COUNT] {
        use Signal::{Cancellation, Refused, Spread, Throttled, UnknownTicket, WrongAnswer};
        [Throttled, Refused, UnknownTicket, Cancellation, Spread, WrongAnswer]
    }
}

/// Something that a person does seldom and a program often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A request was throttled.
    Throttled,
    /// A token was refused, or its role may not make the call.
    Refused,
    /// A ticket was asked for that is not the caller's, or does not exist.
    UnknownTicket,
    /// A booking was given back.
    Cancellation,
    /// Another session was asked for by a patient, or another patient asked from an address.
    Spread,
    /// A challenge was answered wrongly.
    WrongAnswer,
}

impl Signal {
    /// How many there are.
    pub(super) const COUNT: usize = 6;

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// Its name in policies, metrics and answers.
    pub(crate) const fn as_str(self, who: Who) -> &'static str {
        match (self, who) {
            (Self::Throttled, _) => "throttled",
            (Self::Refused, _) => "refused",
            (Self::UnknownTicket, _) => "unknown_tickets",
            (Self::Cancellation, _) => "cancellations",
            (Self::Spread, Who::Patient) => "sessions",
            (Self::Spread, Who::Address) => "patients",
            (Self::WrongAnswer, _) => "wrong_answers",
        }
    }

    /// What a policy makes of it.
    pub(super) const fn weight(self, who: Who, policy: &Suspicion) -> Weight {
        let (patient, address) = (&policy.patient, &policy.address);
        match (self, who) {
            (Self::Throttled, Who::Patient) => patient.throttled,
            (Self::Refused, Who::Patient) => patient.refused,
            (Self::UnknownTicket, Who::Patient) => patient.unknown_tickets,
            (Self::Cancellation, Who::Patient) => patient.cancellations,
            (Self::Spread, Who::Patient) => patient.sessions,
            (Self::WrongAnswer, Who::Patient) => patient.wrong_answers,
            (Self::Throttled, Who::Address) => address.throttled,
            (Self::Refused, Who::Address) => address.refused,
            (Self::UnknownTicket, Who::Address) => address.unknown_tickets,
            (Self::Cancellation, Who::Address) => address.cancellations,
            (Self::Spread, Who::Address) => address.patients,
            (Self::WrongAnswer, Who::Address) => address.wrong_answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_lie_at_their_index() {
        for who in [Who::Patient, Who::Address] {
            assert!(who.signals().iter().enumerate().all(|(index, signal)| signal.index() == index));
        }
    }
}
