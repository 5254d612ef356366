//! What comes in over HTTP, nearly right: claims of tokens, policies, and bodies.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use orderly_domain::{Exclusivity, PatientId, Timestamp};
use orderly_fuzz::run;
use sha2::Sha256;

use crate::auth::{Keys, Names};
use crate::bookings::Booking;
use crate::ops::opening;
use crate::problem::Problem;
use crate::request::{self, Format};
use crate::throttle::{Policy, Throttle};

const SECRET: [u8; 32] = [7; 32];

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// What a refusal says, without the values in it.
fn words(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_lowercase() || *letter == ' ').take(240).collect()
}

fn signed(claims: &[u8]) -> String {
    let [head, claims] =
        [br#"{"alg":"HS256","typ":"JWT"}"#.as_slice(), claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{head}.{claims}");
    let mac = <Hmac<Sha256>>::new_from_slice(&SECRET).expect("any length").chain_update(&signed);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// What accepted claims have, among others.
#[derive(serde::Deserialize)]
struct Read {
    iss: String,
    sub: String,
    #[serde(rename = "exp")]
    _exp: serde_json::Number,
    #[serde(rename = "nbf")]
    _nbf: serde_json::Number,
}

/// Claims that an identity provider signed, whatever is in them: refused, or of somebody, for us, and with times.
#[test]
fn claims() {
    let keys = Keys::from_secret(&SECRET, Names::default()).expect("long enough");
    let now = Timestamp::from_millis(1_795_000_000_000);
    let ran = run(&corpus("claims"), 30_000, |input| match keys.read(&signed(input)) {
        Ok(identity) => {
            // Of other members nobody reads the text, so half a character in it does no harm.
            let read: Read = serde_json::from_slice(input).expect("what is accepted has these");
            assert_eq!(read.iss, Names::default().issuer);
            assert_eq!(read.sub, identity.subject.as_str());
            let time = identity.check_time(now);
            assert!(time.is_err() || identity.expires_at.plus(Keys::LEEWAY) > now);
            (1, identity.roles.names(), time.is_ok(), identity.client.is_some(), identity.level.is_some())
        }
        Err(_) => (0, serde_json::from_slice::<serde_json::Value>(input).is_ok().to_string(), false, false, false),
    });
    assert!(ran.answers > 4, "{ran:?}");
}

/// Tokens that nobody signed. Whoever changes one has none.
#[test]
fn tokens() {
    let keys = Keys::from_secret(&SECRET, Names::default()).expect("long enough");
    let usual = signed(&std::fs::read(corpus("claims").join("patient.json")).expect("a sample"));
    let folder = corpus("token");
    run(&folder, 30_000, |input| {
        let token = String::from_utf8_lossy(input);
        let is_read = keys.read(token.trim()).is_ok();
        assert!(!is_read || token.trim() == usual, "{token:?} was never given");
        (is_read, token.split('.').count().min(5))
    });
}

/// A policy is refused with what to do, or it can be followed and reads the same when it is written down.
#[test]
fn policies() {
    let now = Timestamp::from_millis(1_795_000_000_000);
    let ran = run(&corpus("policy"), 6_000, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
        let read = if text.trim_start().starts_with('{') { Policy::from_json(text) } else { Policy::from_toml(text) };
        match read {
            Ok(policy) => {
                let written = toml::to_string(&policy).expect("a policy is TOML");
                assert_eq!(Policy::from_toml(&written).as_ref(), Ok(&policy), "{written}");
                let written = serde_json::to_string(&policy).expect("a policy is JSON");
                assert_eq!(Policy::from_json(&written).as_ref(), Ok(&policy), "{written}");
                let throttle = Throttle::new(policy, now, &prometheus::Registry::new()).expect("it is valid");
                throttle.keep_time(now);
                format!("followed {}", throttle.scheduled().len())
            }
            Err(problems) => {
                assert!(problems.iter().all(|problem| !problem.is_empty()) && !problems.is_empty());
                words(&problems.join(" "))
            }
        }
    });
    assert!(ran.answers > 20, "{ran:?}");
}

/// Bodies of bookings and of lists of sessions: read, or refused with what is wrong, and never with a fault of the server.
#[test]
fn bodies() {
    let json = axum::http::HeaderMap::from_iter([(
        axum::http::header::CONTENT_TYPE,
        axum::http::HeaderValue::from_static("application/json"),
    )]);
    let told = |problem: &Problem| {
        assert!(problem.kind().status.is_client_error(), "{problem:?}");
        problem.kind().name
    };
    let ran = run(&corpus("body"), 30_000, |input| {
        let booking = request::json::<Booking>(&json, input).map_or_else(|problem| told(&problem), |_| "booking");
        let sessions = [Format::Json, Format::Ndjson].map(|format| {
            opening::read(format, input, Exclusivity::default()).map_or_else(
                |problem| words(&format!("{problem:?}")),
                |sessions| {
                    assert!(sessions.iter().all(|session| session.capacity > 0));
                    "sessions".to_owned()
                },
            )
        });
        let patient = std::str::from_utf8(input).is_ok_and(|text| text.parse::<PatientId>().is_ok());
        (booking, sessions, patient)
    });
    assert!(ran.answers > 20, "{ran:?}");
}
