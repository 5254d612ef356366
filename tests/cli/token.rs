//! Tokens from the command line.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::program::{complaint, orderly, output};

#[test]
fn a_token_says_who_and_for_how_long() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("auth.key"), "0123456789abcdef0123456789abcdef\n").expect("writable");
    let mut mint = orderly(folder.path());
    mint.args(["token", "--sub", "patient-1", "--role", "patient", "--ttl", "30m"])
        .env("ORDERLY_AUTH__KEY_FILE", "auth.key")
        .env("ORDERLY_AUTH__ISSUER", "the-hospital");
    let token = output(&mut mint);
    let parts: Vec<&str> = token.trim_end().split('.').collect();
    let part = |index: usize| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[index]).expect("base64url")).expect("JSON")
    };
    assert_eq!((parts.len(), &part(0)["alg"]), (3, &Value::from("HS256")));
    let claims = part(1);
    assert_eq!(
        (&claims["sub"], &claims["role"], &claims["iss"], &claims["aud"]),
        (&"patient-1".into(), &"patient".into(), &"the-hospital".into(), &"orderly".into())
    );
    let seconds = |name: &str| claims[name].as_i64().expect("seconds");
    assert_eq!(seconds("exp") - seconds("nbf"), 1_800);
    let now = jiff::Timestamp::now().as_second();
    assert!((now - 600..=now).contains(&seconds("nbf")), "{claims}");
}

#[test]
fn without_a_secret_there_is_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let mint = ["token", "--sub", "ann", "--role", "ops"];
    let told = complaint(orderly(folder.path()).args(mint), 1);
    assert!(told.contains("auth.key_file") && told.contains("--demo"), "{told}");

    fs::write(folder.path().join("auth.pem"), "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n")
        .expect("writable");
    let mut mint_with_pem = orderly(folder.path());
    mint_with_pem.args(mint).env("ORDERLY_AUTH__KEY_FILE", "auth.pem").env("ORDERLY_AUTH__ALGORITHM", "EdDSA");
    assert!(complaint(&mut mint_with_pem, 1).contains("auth.pem"));
}
