//! Proof of work: the client has to find an answer whose hash with the challenge begins with zeros (see
//! [`orderly_domain::work`]).
//!
//! The server keeps nothing of what it asks. A challenge says how hard it is and until when it holds, and is signed for its
//! patient, address and booking with a key that all nodes have.

use std::net::IpAddr;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orderly_domain::keyring::{Keyring, SIGNATURE_BYTES};
use orderly_domain::{Timestamp, work};
use prometheus::IntGauge;
use serde_json::{Value, json};

use super::used::Used;
use super::{Booking, Challenge, Demand, Refused};

/// What its keys are derived for.
pub(crate) const PURPOSE: &str = "orderly.challenge.work.v1";

const VERSION: u8 = 1;
const BODY_BYTES: usize = 1 + 1 + 1 + 8 + 8 + 8;
const TOKEN_BYTES: usize = BODY_BYTES + SIGNATURE_BYTES;

/// Proof of work.
#[derive(Debug)]
pub struct ProofOfWork {
    keys: Keyring,
    used: Used,
}

/// What a token says.
struct Token {
    bits: u8,
    made_at: Timestamp,
    until: Timestamp,
    number: u64,
}

impl ProofOfWork {
    /// Signs with these keys; `answers` tells how many answers it remembers.
    #[must_use]
    pub fn new(keys: Keyring, answers: IntGauge) -> Self {
        Self { keys, used: Used::new(answers) }
    }

    fn encode(&self, token: &Token, booking: &Booking<'_>) -> String {
        let mut body = [0; BODY_BYTES];
        body[0] = VERSION;
        body[2] = token.bits;
        body[3..11].copy_from_slice(&token.made_at.as_micros().to_be_bytes());
        body[11..19].copy_from_slice(&token.until.as_micros().to_be_bytes());
        body[19..].copy_from_slice(&token.number.to_be_bytes());
        // The number of the key is looked up before it is known to be true, and needs no signature.
        let (key, signature) = self.keys.sign(&parts(&body, &class(booking.address), booking));
        body[1] = key;
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(&self, text: &str, booking: &Booking<'_>) -> Option<Token> {
        let bytes: [u8; TOKEN_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (body, signature) = bytes.split_at(BODY_BYTES);
        let mut body: [u8; BODY_BYTES] = body.try_into().ok()?;
        let key = std::mem::take(&mut body[1]);
        let signature = signature.try_into().ok()?;
        if body[0] != VERSION || !self.keys.has_signed(key, &parts(&body, &class(booking.address), booking), signature)
        {
            return None;
        }
        let number = |from: usize| body[from..from + 8].try_into().ok().map(u64::from_be_bytes);
        let time = |from: usize| number(from).map(|micros| Timestamp::from_micros(micros.cast_signed()));
        Some(Token { bits: body[2], made_at: time(3)?, until: time(11)?, number: number(19)? })
    }
}

fn parts<'a>(body: &'a [u8], class: &'a [u8], booking: &'a Booking<'_>) -> [&'a [u8]; 4] {
    [body, class, booking.ticket.as_bytes(), booking.patient.as_str().as_bytes()]
}

/// The neighbourhood of an address: an IPv4 /24, an IPv6 /48. A phone may have another address when it answers.
fn class(address: IpAddr) -> [u8; 6] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [a, b, c, 0, 0, 4]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.octets();
            [a, b, c, d, e, f]
        }
    }
}

#[async_trait]
impl Challenge for ProofOfWork {
    fn issue(&self, booking: &Booking<'_>, demand: Demand, now: Timestamp) -> Value {
        let until = now.plus(demand.valid_for);
        let token = Token { bits: demand.bits, made_at: now, until, number: rand::random() };
        json!({
            "scheme": "proof-of-work",
            "token": self.encode(&token, booking),
            "bits": demand.bits,
            "expires_at": until,
            "answer": "Find a text of up to 32 letters and digits so that SHA-256 over the token, a dot and the text begins with \
                       `bits` zero bits. Send Challenge-Response: the token, a dot, the text.",
        })
    }

    async fn verify(&self, booking: &Booking<'_>, response: &str, now: Timestamp) -> Result<(), Refused> {
        let (text, answer) = response.trim().split_once('.').ok_or(Refused::Foreign)?;
        let token = self.decode(text, booking).ok_or(Refused::Foreign)?;
        if now >= token.until {
            return Err(Refused::Stale);
        }
        let usable = answer.len() <= work::ANSWER_CHARS_MAX && answer.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !usable || work::zero_bits(text, answer) < token.bits.into() {
            return Err(Refused::Wrong);
        }
        self.used.take(token.number, token.made_at, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orderly_domain::PatientId;
    use orderly_domain::ticket::{Codec, Id, Key};

    use super::*;

    const BITS: u8 = 8;

    fn keys(id: u8) -> Keyring {
        let key: Key = Key::new(id, &[id; 32]).expect("long enough");
        Codec::new(key, vec![]).derive(PURPOSE)
    }

    fn node() -> ProofOfWork {
        ProofOfWork::new(keys(1), IntGauge::new("a", "a").expect("named"))
    }

    struct Asked {
        patient: PatientId,
        address: IpAddr,
        ticket: Id,
    }

    impl Asked {
        fn by(patient: &str, key: &str, address: &str) -> Self {
            let patient = patient.parse().expect("valid");
            let ticket = Id::derive(&patient, key);
            Self { patient, address: address.parse().expect("valid"), ticket }
        }

        fn booking(&self) -> Booking<'_> {
            Booking { patient: &self.patient, address: self.address, ticket: self.ticket }
        }
    }

    fn now(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn solved(node: &ProofOfWork, asked: &Asked) -> String {
        let demand = Demand { bits: BITS, valid_for: Duration::from_secs(60) };
        let issued = node.issue(&asked.booking(), demand, now(0));
        let token = issued["token"].as_str().expect("a text");
        format!("{token}.{}", work::solve(token, BITS.into()))
    }

    #[tokio::test]
    async fn an_answer_is_taken_once_by_any_node() {
        let (one, other) = (node(), node());
        let ann = Asked::by("ann", "k1", "10.0.0.7");
        let answer = solved(&one, &ann);
        assert_eq!(other.verify(&ann.booking(), &answer, now(1)).await, Ok(()));
        assert_eq!(other.verify(&ann.booking(), &answer, now(1)).await, Err(Refused::Used));
        assert_eq!(one.verify(&ann.booking(), &answer, now(60)).await, Err(Refused::Stale));
        let near = Asked { address: "10.0.0.9".parse().expect("valid"), ..ann };
        assert_eq!(one.verify(&near.booking(), &answer, now(59)).await, Ok(()), "a phone that moved next door");
    }

    #[tokio::test]
    async fn nobody_answers_for_another_booking() {
        let node = node();
        let ann = Asked::by("ann", "k1", "10.0.0.7");
        let answer = solved(&node, &ann);
        for other in
            [("bob", "k1", "10.0.0.7"), ("ann", "k2", "10.0.0.7"), ("ann", "k1", "10.0.1.7"), ("ann", "k1", "::1")]
        {
            let other = Asked::by(other.0, other.1, other.2);
            assert_eq!(node.verify(&other.booking(), &answer, now(1)).await, Err(Refused::Foreign));
        }
        let forger = ProofOfWork::new(keys(2), IntGauge::new("a", "a").expect("named"));
        assert_eq!(node.verify(&ann.booking(), &solved(&forger, &ann), now(1)).await, Err(Refused::Foreign));
        assert_eq!(node.verify(&ann.booking(), &answer, now(1)).await, Ok(()));
    }

    #[tokio::test]
    async fn a_wrong_answer_is_refused_whatever_it_is() {
        let node = node();
        let ann = Asked::by("ann", "k1", "10.0.0.7");
        let answer = solved(&node, &ann);
        let (token, _) = answer.split_once('.').expect("two parts");
        let wrong = (0..).map(|n| n.to_string()).find(|n| work::zero_bits(token, n) < BITS.into()).expect("most are");
        let long = "0".repeat(work::ANSWER_CHARS_MAX + 1);
        for (response, refused) in [
            (format!("{token}.{wrong}"), Refused::Wrong),
            (format!("{token}.{long}"), Refused::Wrong),
            (format!("{token}.a b"), Refused::Wrong),
            (format!("{token}."), Refused::Wrong),
            (token.to_owned(), Refused::Foreign),
            (format!("x{answer}"), Refused::Foreign),
            (String::new(), Refused::Foreign),
            (".".to_owned(), Refused::Foreign),
        ] {
            let said = node.verify(&ann.booking(), &response, now(1)).await;
            // An empty answer may happen to be right.
            assert!(said == Err(refused) || response.ends_with('.') && said.is_ok(), "{response:?}: {said:?}");
        }
    }
}
