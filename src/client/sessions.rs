//! `orderly sessions`: opens clinic sessions on a running server.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Client, Problem};

/// Sessions in one call, at most. A call is all or nothing.
const GROUP_SESSIONS_MAX: usize = 500;

/// How often a group is sent to a server that is busy.
const ATTEMPTS_MAX: u32 = 8;

/// The longest wait between two of them.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A session of the file, and where it stands there.
#[derive(Debug, PartialEq)]
struct Item {
    place: String,
    session: Value,
}

/// Opens the sessions of a file, in groups, and tells about each that cannot be opened.
///
/// # Errors
/// When the file or the server cannot be read, or some session was not opened.
pub(crate) async fn import(client: &Client, file: &Path) -> anyhow::Result<()> {
    let items =
        parse(&read(file)?).with_context(|| format!("{} cannot be imported; nothing was sent", file.display()))?;
    let (mut opened, mut done) = (0, 0);
    for group in items.chunks(GROUP_SESSIONS_MAX) {
        let refused = put(client, group).await.with_context(|| {
            format!("{opened} of {} sessions were taken; import the file again for the others", items.len())
        })?;
        match refused {
            None => opened += group.len(),
            Some(problem) => tell(group, &problem)?,
        }
        done += group.len();
        writeln!(std::io::stderr().lock(), "{done} of {} sessions sent, {opened} taken", items.len())?;
    }
    if opened < items.len() {
        bail!(
            "{} of {} sessions were not opened; correct those that are listed and import the file again: sessions that \
             are open stay as they are",
            items.len() - opened,
            items.len()
        );
    }
    writeln!(std::io::stdout().lock(), "{opened} sessions are in the log and about to open")?;
    Ok(())
}

/// Sends a group, again while the server is busy. `Some` when it refuses what is in it.
async fn put(client: &Client, group: &[Item]) -> anyhow::Result<Option<Problem>> {
    let sessions: Vec<&Value> = group.iter().map(|item| &item.session).collect();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let request = client.request(Method::PUT, "v1/sessions")?.json(&sessions);
        let Err(problem) = client.send(request).await? else { return Ok(None) };
        match problem.status {
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => return Ok(Some(problem)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if attempts < ATTEMPTS_MAX => {
                let wait = problem.retry_after.unwrap_or(Duration::from_secs(1)).min(WAIT_MAX);
                writeln!(std::io::stderr().lock(), "{problem}; trying again in {} s", wait.as_secs())?;
                tokio::time::sleep(wait).await;
            }
            _ => return Err(problem.into()),
        }
    }
}

fn tell(group: &[Item], problem: &Problem) -> std::io::Result<()> {
    let mut out = std::io::stderr().lock();
    if problem.body.errors.is_empty() {
        return writeln!(out, "{problem}");
    }
    for error in &problem.body.errors {
        let item = error["index"].as_u64().and_then(|index| group.get(usize::try_from(index).ok()?));
        let place = item.map_or("somewhere", |item| item.place.as_str());
        let detail = error["detail"].as_str().unwrap_or("it is refused without a reason");
        match error["field"].as_str() {
            Some("") | None => writeln!(out, "{place}: {detail}")?,
            Some(field) => writeln!(out, "{place}, {field}: {detail}")?,
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.with_context(|| format!("{} cannot be read; check the path, and that it is text", file.display()))?;
    Ok(text)
}

/// Sessions as a JSON array, or as a JSON object a line.
fn parse(text: &str) -> anyhow::Result<Vec<Item>> {
    let text = text.trim_start_matches('\u{feff}');
    let items: Vec<Item> = if text.trim_start().starts_with('[') {
        let sessions: Vec<Value> = serde_json::from_str(text).context("it is not a JSON array")?;
        sessions.into_iter().zip(1..).map(|(session, n)| Item { place: format!("item {n}"), session }).collect()
    } else {
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        let parse = |(line, n)| {
            let session = serde_json::from_str(line).with_context(|| format!("line {n} is not JSON"))?;
            Ok(Item { place: format!("line {n}"), session })
        };
        lines.map(parse).collect::<anyhow::Result<_>>()?
    };
    if items.is_empty() {
        bail!("there is no session in it");
    }
    if let Some(item) = items.iter().find(|item| !item.session.is_object()) {
        bail!("{} is not a session but {}; write each as a JSON object", item.place, item.session);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_an_array_and_lines_alike() {
        let sessions = |text: &str| -> Vec<_> {
            let items = parse(text).expect("valid");
            items.into_iter().map(|item| (item.place, item.session)).collect()
        };
        let (a, b) = (json!({"a": 1}), json!({"b": 2}));
        assert_eq!(sessions(" [{\"a\":1},\n{\"b\":2}]"), [("item 1".into(), a.clone()), ("item 2".into(), b.clone())]);
        assert_eq!(sessions("{\"a\":1}\n\n{\"b\":2}\n"), [("line 1".into(), a), ("line 3".into(), b)]);
    }

    #[test]
    fn says_where_a_file_is_wrong() {
        for (text, expected) in [
            ("", "no session"),
            ("[]", "no session"),
            ("[{}", "not a JSON array"),
            ("{}\n{", "line 2 is not JSON"),
            ("[{}, 3]", "item 2 is not a session but 3"),
        ] {
            let told = format!("{:#}", parse(text).expect_err("refused"));
            assert!(told.contains(expected), "{told}");
        }
    }
}
