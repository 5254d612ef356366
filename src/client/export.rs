//! `orderly sessions export`: prints a running server's sessions as an import takes them.

use std::io::Write as _;

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Client;
use crate::cli::Filter;

/// What a listed session says that an opened one is not told.
const LISTED_ONLY: [&str; 2] = ["remaining", "state"];

#[derive(Deserialize)]
struct Page {
    sessions: Vec<Map<String, Value>>,
    next_cursor: Option<String>,
}

/// Prints the sessions, in the order of the list.
///
/// # Errors
/// When the server refuses or cannot be read, or nobody takes what is printed.
pub(crate) async fn sessions(client: &Client, filter: &Filter) -> anyhow::Result<()> {
    let day = filter.day.map(|day| day.to_string());
    let asked = [
        ("department", &filter.department),
        ("doctor", &filter.doctor),
        ("campus", &filter.campus),
        ("day", &day),
        ("state", &filter.state),
    ];
    let asked: Vec<_> = asked.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let mut cursor: Option<String> = None;
    let mut left_out = 0_u64;
    loop {
        let (http, request) = client.request(Method::GET, "v1/sessions")?.build_split();
        let mut request = request.context("the list cannot be asked for")?;
        let page = asked.iter().copied().chain(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        request.url_mut().query_pairs_mut().extend_pairs(page);
        let page = client.send(RequestBuilder::from_parts(http, request)).await??.json::<Page>().await;
        let page =
            page.context("the answer is no list of sessions; check that --url names an Orderly of this version")?;
        let mut out = std::io::stdout().lock();
        for mut session in page.sessions {
            if filter.state.is_none() && session.get("state").is_some_and(|state| state == "closed") {
                left_out += 1;
                continue;
            }
            session.retain(|name, _| !LISTED_ONLY.contains(&name.as_str()));
            writeln!(out, "{}", Value::Object(session))?;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if left_out > 0 {
        writeln!(std::io::stderr().lock(), "{left_out} closed sessions are left out; --state closed prints them")?;
    }
    Ok(())
}
