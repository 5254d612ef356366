//! Tokens that are no good, and keys of every kind.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use orderly_ingress::Options;
use orderly_ingress::auth::{self, Grant, Keys, Names, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, NOW, SECRET, at, keys, options, problem};

/// What tokens are signed by elsewhere, and verified here.
const ASYMMETRIC: [auth::Algorithm; 3] = [auth::Algorithm::RS256, auth::Algorithm::ES256, auth::Algorithm::EdDSA];

/// A pair of keys, made for one test.
struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    public: DecodingKey,
    public_pem: String,
}

impl Pair {
    fn new(algorithm: auth::Algorithm) -> Self {
        let kind = match algorithm {
            auth::Algorithm::HS256 => panic!("a shared secret is no pair"),
            auth::Algorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
            auth::Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            auth::Algorithm::EdDSA => &rcgen::PKCS_ED25519,
        };
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let (private, public_pem) = (pair.serialize_pem(), pair.public_key_pem());
        let (private, public) = match algorithm {
            auth::Algorithm::RS256 => {
                (EncodingKey::from_rsa_pem(private.as_bytes()), DecodingKey::from_rsa_pem(public_pem.as_bytes()))
            }
            auth::Algorithm::ES256 => {
                (EncodingKey::from_ec_pem(private.as_bytes()), DecodingKey::from_ec_pem(public_pem.as_bytes()))
            }
            _ => (EncodingKey::from_ed_pem(private.as_bytes()), DecodingKey::from_ed_pem(public_pem.as_bytes())),
        };
        Self { algorithm: algorithm.into(), private: private.unwrap(), public: public.unwrap(), public_pem }
    }

    /// A token, with the name of the key that signs it.
    fn sign(&self, name: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: name.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// What an identity provider tells of it.
    fn told(&self, name: &str, algorithm: Option<Algorithm>) -> Value {
        let mut told = json!(Jwk::from_decoding_key(&self.public, algorithm).unwrap());
        told["use"] = "sig".into();
        told["kid"] = name.into();
        told
    }
}

fn now_s() -> i64 {
    at(NOW).as_millis() / 1_000
}

fn claims() -> Value {
    json!({"iss": "orderly", "aud": "orderly", "sub": "ann", "role": "ops", "nbf": now_s(), "exp": now_s() + 600})
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(field);
    claims
}

fn sign(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

async fn status(kit: &Kit, authorization: &str) -> u16 {
    let answer = kit.ask(Method::GET, "/v1/pipeline").header("authorization", authorization).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_sound_ones_are_let_in() {
    let kit = Kit::start().await;
    let good = sign(&claims());
    for header in [format!("Bearer {good}"), format!("bearer {good}")] {
        assert_eq!(status(&kit, &header).await, 200);
    }
    // Twice: what was verified once is remembered, what was refused is not.
    for _ in 0..2 {
        assert_eq!(status(&kit, &format!("Bearer {}", sign(&with("aud", json!(["x", "orderly"]))))).await, 200);
        assert_eq!(status(&kit, &format!("Bearer {}", sign(&with("roles", json!(["analyst", "ops"]))))).await, 200);
        let parts: Vec<_> = good.split('.').collect();
        let unsigned = |header: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), parts[1]);
        let other = EncodingKey::from_secret(&[7; 32]);
        let hs384 = Header::new(Algorithm::HS384);
        let bad = [
            unsigned(r#"{"alg":"none","typ":"JWT"}"#),
            unsigned(r#"{"alg":"None"}"#),
            unsigned(r#"{"alg":"HS256"}"#),
            format!("{}.{}.{}x", parts[0], parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            jsonwebtoken::encode(&Header::default(), &claims(), &other).unwrap(),
            jsonwebtoken::encode(&hs384, &claims(), &EncodingKey::from_secret(SECRET)).unwrap(),
            sign(&with("aud", json!("billing"))),
            sign(&with("aud", json!([]))),
            sign(&with("iss", json!("somebody"))),
            sign(&with("exp", json!(now_s() - 60))),
            sign(&with("exp", json!((now_s() + 600).to_string()))),
            sign(&with("exp", json!(null))),
            sign(&with("nbf", json!(now_s() + 60))),
            sign(&with("sub", json!(""))),
            sign(&with("sub", json!(7))),
            sign(&without("iss")),
            sign(&without("aud")),
            sign(&without("sub")),
            sign(&without("exp")),
            sign(&without("nbf")),
            "x".repeat(9_000),
            String::new(),
        ];
        for token in bad {
            assert_eq!(status(&kit, &format!("Bearer {token}")).await, 401, "{token}");
        }
        assert_eq!(status(&kit, &format!("Basic {good}")).await, 401);
        assert_eq!(status(&kit, &format!("Bearer {}", sign(&with("role", json!("admin"))))).await, 403);
        assert_eq!(status(&kit, &format!("Bearer {}", sign(&without("role")))).await, 403);
    }
    let answer = kit.ask(Method::GET, "/v1/pipeline").send().await.unwrap();
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    problem(answer, 401, "unauthenticated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_good_expires() {
    let kit = Kit::start().await;
    let token = format!("Bearer {}", sign(&claims()));
    assert_eq!(status(&kit, &token).await, 200);
    kit.clock.advance(Duration::from_secs(600) + Keys::LEEWAY);
    assert_eq!(status(&kit, &token).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_key_verifies_and_is_no_shared_secret() {
    for algorithm in ASYMMETRIC {
        let pair = Pair::new(algorithm);
        let keys = Keys::from_pem(algorithm, pair.public_pem.as_bytes(), Names::default()).unwrap();
        let kit = Kit::with(Options { demo: false, ..options() }, keys).await;
        let status = async |token: &str| status(&kit, &format!("Bearer {token}")).await;
        assert_eq!(status(&pair.sign(None, &claims())).await, 200, "{algorithm:?}");
        assert_eq!(status(&Pair::new(algorithm).sign(None, &claims())).await, 401, "{algorithm:?}");
        // Whoever knows the public key, which is everybody, signs with it as if it were a secret.
        let secret = EncodingKey::from_secret(pair.public_pem.as_bytes());
        let confused = jsonwebtoken::encode(&Header::default(), &claims(), &secret).unwrap();
        assert_eq!(status(&confused).await, 401, "{algorithm:?}");
        assert_eq!(status(&sign(&claims())).await, 401, "{algorithm:?}");
    }
}

#[test]
fn keys_that_are_no_good_are_refused() {
    let public = Pair::new(auth::Algorithm::EdDSA).public_pem;
    assert!(matches!(Keys::from_secret(&[1; 31], Names::default()), Err(auth::Error::ShortSecret(31))));
    let pem = |algorithm, pem: &str| Keys::from_pem(algorithm, pem.as_bytes(), Names::default());
    assert!(matches!(pem(auth::Algorithm::HS256, &public), Err(auth::Error::NotAsymmetric)));
    for algorithm in ASYMMETRIC {
        assert!(matches!(pem(algorithm, "nothing"), Err(auth::Error::Pem { .. })), "{algorithm:?}");
    }
    let verifying = pem(auth::Algorithm::EdDSA, &public).unwrap();
    let minted = verifying.mint(Grant::plain(&"ann".parse().unwrap(), Role::Ops), at(NOW), Duration::from_secs(1));
    assert!(matches!(minted, Err(auth::Error::VerifyOnly)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_gives_out_tokens_and_nobody_else_does() {
    let ask = |kit: &Kit, body: Value| kit.ask(Method::POST, "/v1/demo/token").json(&body).send();
    let kit = Kit::start().await;
    let token: Value = ask(&kit, json!({"sub": "ada", "role": "ops"})).await.unwrap().json().await.unwrap();
    assert_eq!(token["token_type"], "Bearer");
    assert!(token["expires_in"].as_u64().unwrap() > 0);
    assert_eq!(status(&kit, &format!("Bearer {}", token["access_token"].as_str().unwrap())).await, 200);
    for wrong in [json!({"sub": "ada", "role": "root"}), json!({"sub": "", "role": "ops"}), json!({"role": "ops"})] {
        problem(ask(&kit, wrong).await.unwrap(), 400, "malformed-request").await;
    }
    let kit = Kit::with(Options { demo: false, ..options() }, keys()).await;
    problem(ask(&kit, json!({"sub": "ada", "role": "ops"})).await.unwrap(), 404, "no-such-route").await;
}

/// A key of an identity provider: what signs, and what it tells of it.
fn provider_key(name: &str) -> (impl Fn(&Value) -> String, Value) {
    let pair = Pair::new(auth::Algorithm::EdDSA);
    let (told, name) = (pair.told(name, None), name.to_owned());
    (move |claims: &Value| pair.sign(Some(&name), claims), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_provider_may_be_of_any_kind() {
    let keys = Keys::of_provider(Names::default());
    let kit = Kit::with(Options { demo: false, ..options() }, keys.clone()).await;
    let pairs = ASYMMETRIC.map(Pair::new);
    // A provider may leave out the algorithm, which the kind of key gives away.
    for algorithm_is_told in [true, false] {
        let told =
            |(name, pair): (usize, &Pair)| pair.told(&name.to_string(), algorithm_is_told.then_some(pair.algorithm));
        let all: Vec<_> = pairs.iter().enumerate().map(told).collect();
        assert_eq!(keys.replace(&json!({"keys": all}).to_string()).unwrap(), 3);
        for (name, pair) in pairs.iter().enumerate() {
            let token = pair.sign(Some(&name.to_string()), &claims());
            assert_eq!(status(&kit, &format!("Bearer {token}")).await, 200, "{:?}", pair.algorithm);
            // The name of a key of another kind.
            let token = pair.sign(Some(&((name + 1) % 3).to_string()), &claims());
            assert_eq!(status(&kit, &format!("Bearer {token}")).await, 401, "{:?}", pair.algorithm);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_have_several_keys_and_change_them() {
    let ((first, first_key), (second, second_key)) = (provider_key("a"), provider_key("b"));
    let keys = Keys::of_provider(Names::default());
    assert!(!keys.can_sign());
    let kit = Kit::with(Options { demo: false, ..options() }, keys.clone()).await;
    let status =
        async |token: String| kit.ask(Method::GET, "/v1/policy").bearer_auth(token).send().await.unwrap().status();
    let claims = claims();
    assert_eq!(status(first(&claims)).await, StatusCode::UNAUTHORIZED, "nothing is known yet");
    keys.wanted().await;

    let secret = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
    let of = |all: &[&Value]| json!({"keys": all}).to_string();
    let unusual = json!({"kty": "EC", "crv": "secp256k1", "kid": "u", "x": "AA", "y": "AA"});
    let all = of(&[&unusual, &first_key, &secret]);
    assert_eq!(
        keys.replace(&all).unwrap(),
        1,
        "a shared secret is no public key, and one of another kind is passed over"
    );
    assert_eq!(status(first(&claims)).await, StatusCode::OK);
    assert_eq!(status(second(&claims)).await, StatusCode::UNAUTHORIZED);
    keys.wanted().await;

    // Rotation: both for a while, then only the new one; what was verified before counts no more.
    assert_eq!(keys.replace(&of(&[&first_key, &second_key])).unwrap(), 2);
    assert_eq!((status(first(&claims)).await, status(second(&claims)).await), (StatusCode::OK, StatusCode::OK));
    assert_eq!(keys.replace(&of(&[&second_key])).unwrap(), 1);
    assert_eq!(status(first(&claims)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(second(&claims)).await, StatusCode::OK);

    for useless in ["", "{}", &of(&[]), &of(&[&secret])] {
        assert!(matches!(keys.replace(useless), Err(auth::Error::Set(_))), "{useless}");
    }
    assert_eq!(status(second(&claims)).await, StatusCode::OK, "those before stay");
    // Another's signature under a known name, a name without a signature, and another algorithm.
    let forged = provider_key("b").0(&claims);
    let header = Header { kid: Some("b".into()), ..Header::new(Algorithm::HS256) };
    let confused = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap();
    for token in [forged, confused] {
        assert_eq!(status(token).await, StatusCode::UNAUTHORIZED);
    }
}
