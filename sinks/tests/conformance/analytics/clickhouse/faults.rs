//! Servers that are killed, and servers that do not answer. Each test has a server of its own.

use std::time::Duration;

use tokio::sync::watch;

use super::*;

fn server(name: &str) -> Server {
    Server::start(&folder(name), &ServerOptions::default()).unwrap()
}

/// Many small rows; a day has a thousand, so that they cross months.
fn many(count: u64) -> Vec<Row> {
    (0..count).map(|offset| row(0, offset, offset * 86_400, 1, Kind::Malformed, MALFORMED, None)).collect()
}

/// What the relay does: appends page after page, and after an error asks where it is. Every second time it sends the same
/// page again instead.
async fn relay(analytics: Arc<ClickHouse>, rows: Vec<Row>, progress: watch::Sender<u64>) {
    let mut failures = 0;
    let mut next = 0;
    while next < rows.len() {
        let page = &rows[next..rows.len().min(next + 300)];
        match analytics.append(page).await {
            Ok(()) => {
                next += page.len();
                progress.send_replace(next as u64);
            }
            Err(Error::DidNotHappen(_) | Error::MayHaveHappened(_)) => {
                failures += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                if failures % 2 == 0
                    && let Ok(offsets) = analytics.next_offsets().await
                {
                    next = offsets.first().map_or(0, |(_, offset)| usize::try_from(*offset).unwrap());
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_during_appends_ends_with_every_row_once() {
    let mut server = server("killed");
    let place = Database::on(server.url());
    let analytics = Arc::new(place.own().await);
    let rows = many(30_000);
    let (sender, mut progress) = watch::channel(0);
    let relay = tokio::spawn(relay(analytics.clone(), rows, sender));
    for kill in 1..=4 {
        progress.wait_for(|arrived| *arrived >= kill * 5_000).await.unwrap();
        server.process().kill().unwrap();
        server.restart().unwrap();
    }
    relay.await.unwrap();
    assert_eq!(analytics.count().await.unwrap(), 30_000);
    assert_eq!(analytics.next_offsets().await.unwrap(), [(0, 30_000)]);
    assert_eq!(place.number("SELECT uniqExact(log_offset) FROM decisions").await, 30_000);
    assert_eq!(place.number("SELECT max(log_offset) FROM decisions").await, 29_999);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_that_heals() {
    use nix::sys::signal::Signal;
    let server = server("silent");
    let mut place = Database::on(server.url());
    let short = Duration::from_secs(1);
    let analytics = place.own().await;
    let (first, second) = day();
    analytics.append(&first[..2]).await.unwrap();
    drop(analytics);
    place.0 = Options { timeout: short, report_timeout: short, append_timeout: short, ..place.0 };
    // On a busy machine a sound server may take longer than that.
    let analytics = loop {
        if let Ok(analytics) = ClickHouse::open(place.0.clone(), &Registry::new()).await {
            break analytics;
        }
    };
    while analytics.append(&first[..3]).await.is_err() {}

    server.process().signal(Signal::SIGSTOP).unwrap();
    let lost = analytics.append(&first).await;
    assert!(matches!(&lost, Err(Error::MayHaveHappened(_))), "{lost:?}");
    for refused in [analytics.append(&second).await, analytics.next_offsets().await.map(drop)] {
        let Err(Error::DidNotHappen(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("did not answer within 1000 ms; look at its load"), "{text}");
    }
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
    assert!(matches!(analytics.report("summary", from, to).await, Err(Error::DidNotHappen(_))));

    server.process().signal(Signal::SIGCONT).unwrap();
    place.0 = Options { timeout: Duration::from_secs(30), append_timeout: Duration::from_secs(30), ..place.0 };
    let analytics = place.own().await;
    analytics.append(&first).await.unwrap();
    analytics.append(&second).await.unwrap();
    assert_eq!(place.own().await.next_offsets().await.unwrap(), [(0, 7), (1, 7)]);
    assert_eq!(place.number("SELECT count() FROM decisions FINAL").await, 14);

    server.process().kill().unwrap();
    let Err(Error::DidNotHappen(text)) = analytics.count().await else { panic!("it is gone") };
    assert!(text.contains("ClickHouse at http://127.0.0.1:"), "{text}");
    let error = ClickHouse::open(place.0.clone(), &Registry::new()).await.unwrap_err().to_string();
    assert!(error.contains("cannot reach ClickHouse at") && error.contains("start it, or correct"), "{error}");
}

#[tokio::test]
async fn a_lost_database_says_how_it_comes_back() {
    let place = database();
    let analytics = place.own().await;
    analytics.append(&day().0[..2]).await.unwrap();
    place.execute(&format!("DROP DATABASE {}", place.0.database)).await;
    let Err(Error::DidNotHappen(text)) = analytics.append(&day().0).await else { panic!("its tables are gone") };
    assert!(text.contains("restart Orderly"), "{text}");
    let analytics = place.own().await;
    assert_eq!(analytics.next_offsets().await.unwrap(), []);
    analytics.append(&day().0).await.unwrap();
    assert_eq!(analytics.count().await.unwrap(), 7);
}
