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

/// Answers every request with what is in a file, as an identity provider does with its keys.
fn provider(file: std::path::PathBuf) -> std::net::SocketAddr {
    use std::io::{BufRead as _, Write as _};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    // It ends with the test run.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let lines = std::io::BufReader::new(stream.try_clone().expect("a socket")).lines();
            for line in lines {
                if line.map_or(true, |line| line.is_empty()) {
                    break;
                }
            }
            let keys = fs::read_to_string(&file).unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", keys.len());
            // A client that has gone has enough.
            let _ = stream.write_all((head + &keys).as_bytes());
        }
    });
    address
}

#[test]
fn keys_come_from_an_identity_provider() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jwks.json");
    let url = format!("http://{}/jwks.json", provider(file.clone()));
    let serve = |arguments: &[&str]| {
        let mut serve = orderly(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).env("ORDERLY_AUTH__JWKS_URL", &url);
        serve
    };
    let told = complaint(&mut serve(&["--demo"]), 1);
    assert!(told.contains("leave auth.jwks_url out"), "{told}");
    // The provider has nothing yet: what needs no token goes on, and it is asked again.
    let mut serving = serve(&[]).stdout(std::process::Stdio::piped()).spawn().expect("it runs");
    let mut first = String::new();
    let mut stdout = std::io::BufReader::new(serving.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut stdout, &mut first).expect("it says where it listens");
    assert!(first.starts_with("orderly listens on http://"), "{first}");
    let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
    // The key of RFC 8037, appendix A, and what it signs.
    let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    fs::write(&file, key).expect("writable");
    let token = token_of_rfc_8037();
    let list = || {
        let mut list = orderly(folder.path());
        list.args(["policy", "history", "--url", url.trim_end_matches(',')]).env("ORDERLY_TOKEN", &token);
        list.output().expect("it runs").status.success()
    };
    while !list() {}
    serving.kill().expect("it runs");
    serving.wait().expect("it was killed");
}

/// A token for ops that the key of RFC 8037's example has signed.
fn token_of_rfc_8037() -> String {
    let now = orderly_domain::Clock::now(&orderly_domain::clock::System).as_millis() / 1_000;
    let claims = serde_json::json!({"iss": "orderly", "aud": "orderly", "sub": "amy", "role": "ops", "nbf": now, "exp": now + 600});
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    let key = jsonwebtoken::EncodingKey::from_ed_pem(pem.as_bytes()).expect("a key");
    let header =
        jsonwebtoken::Header { kid: Some("a".into()), ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, &claims, &key).expect("signed")
}

#[test]
fn certificates_to_try_tls_with_are_made_and_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = output(orderly(folder.path()).args(["certs", "dev"]));
    assert_eq!(made, "certs/roots.pem\ncerts/certificate.pem\ncerts/key.pem\n");
    let read = |name: &str| fs::read(folder.path().join("certs").join(name)).expect("it is there");
    let before = ["roots.pem", "certificate.pem"].map(read);
    output(orderly(folder.path()).args(["certs", "dev"]));
    assert_eq!(read("roots.pem"), before[0], "the root signs again");
    assert_ne!(read("certificate.pem"), before[1]);
    let mut serve = orderly(folder.path());
    serve
        .args(["serve", "--demo", "--listen", "127.0.0.1:0"])
        .env("ORDERLY_TLS__CERTIFICATE_FILE", "certs/certificate.pem");
    let told = complaint(&mut serve, 1);
    assert!(told.contains("tls.key_file"), "{told}");
    serve.env("ORDERLY_TLS__KEY_FILE", "certs/none.pem");
    let told = complaint(&mut serve, 1);
    assert!(told.contains("certs/none.pem") && told.contains("orderly certs dev"), "{told}");
}
