//! What every audit trail must do.
#![cfg(test)]

mod anchors;
mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::Timestamp;
use orderly_domain::audit::{Algorithm, Entry, Hash, Linked, Place, RETENTION_MIN, Verdict, Verifier};
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::port::audit::Extent;
use orderly_domain::port::{self, Audit};

/// Where an adapter keeps a trail; it can be opened, dropped and opened again.
pub(crate) trait Home {
    async fn open(&self, algorithm: Algorithm) -> Arc<dyn Audit>;
}

/// Declares the suite's tests for an adapter; `$home` makes a new home.
macro_rules! suite {
    ($home:expr) => {
        crate::audit::suite!($home;
            chains_what_is_appended, goes_on_with_another_algorithm, is_one_chain_of_all_who_append, hands_out_pages,
            forgets_from_the_first_on, keeps_what_is_young, appends_large_groups);
    };
    ($home:expr; $($name:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                crate::audit::$name(&$home).await;
            }
        )*
    };
}
pub(crate) use suite;

const DAY: Duration = Duration::from_secs(86_400);

fn entry(number: u64, at: Timestamp) -> Entry {
    Entry {
        at,
        node: "node-1".into(),
        number,
        actor: number.is_multiple_of(2).then(|| format!("王芳 {number}")),
        roles: "ops analyst".into(),
        client: "2001:db8::1".into(),
        method: "PUT".into(),
        route: "/v1/sessions/{session_id}".into(),
        target: format!("session_id=s{number}"),
        request: Hash::ZERO,
        body_bytes: u64::from(u32::MAX) + number,
        status: 202,
        problem: number.is_multiple_of(3).then(|| "forbidden".into()),
        calls: 1,
    }
}

fn entries(numbers: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    let now = System.now();
    numbers.map(|number| entry(number, now)).collect()
}

/// The verdict on a trail by itself, without anchors.
async fn verdict(audit: &dyn Audit) -> Verdict {
    let Extent { start, .. } = audit.extent().await.unwrap();
    let mut verifier = Verifier::new(start, [], System.now());
    audit.scan(1, usize::MAX).await.unwrap().iter().for_each(|linked| verifier.check(linked));
    verifier.finish()
}

async fn assert_holds(audit: &dyn Audit, entries: u64) {
    let verdict = verdict(audit).await;
    assert!(verdict.holds(), "{:?}", verdict.findings);
    assert_eq!(verdict.entries, entries);
    assert_eq!(verdict.head, audit.extent().await.unwrap().head);
}

async fn chains_what_is_appended(home: &impl Home) {
    let audit = home.open(Algorithm::Sm3).await;
    assert_eq!(audit.extent().await.unwrap(), Extent { start: Place::BEGINNING, head: Place::BEGINNING });
    assert_eq!(audit.append(&[]).await.unwrap(), []);
    let all = entries(1..=5);
    let mut places = audit.append(&all[..3]).await.unwrap();
    places.extend(audit.append(&all[3..]).await.unwrap());
    let read = audit.scan(1, 100).await.unwrap();
    assert_eq!(read.iter().map(|linked| linked.entry.clone()).collect::<Vec<_>>(), all, "as it was given");
    assert_eq!(read.iter().map(Linked::place).collect::<Vec<_>>(), places);
    assert_eq!(places.iter().map(|place| place.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_holds(&*audit, 5).await;
    drop(audit);
    let audit = home.open(Algorithm::Sm3).await;
    assert_eq!(audit.scan(1, 100).await.unwrap(), read, "also when it is opened again");
    audit.append(&entries(6..=6)).await.unwrap();
    assert_holds(&*audit, 6).await;
}

async fn goes_on_with_another_algorithm(home: &impl Home) {
    home.open(Algorithm::Sm3).await.append(&entries(1..=2)).await.unwrap();
    let audit = home.open(Algorithm::Sha256).await;
    assert_eq!(audit.algorithm(), Algorithm::Sha256);
    audit.append(&entries(3..=4)).await.unwrap();
    let algorithms: Vec<_> = audit.scan(1, 9).await.unwrap().iter().map(|linked| linked.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Sm3, Algorithm::Sm3, Algorithm::Sha256, Algorithm::Sha256]);
    assert_holds(&*audit, 4).await;
}

async fn is_one_chain_of_all_who_append(home: &impl Home) {
    let audit = home.open(Algorithm::Sm3).await;
    let append = |writer: u64| {
        let audit = Arc::clone(&audit);
        tokio::spawn(async move {
            for number in 0..20 {
                audit.append(&entries(writer * 100 + number..=writer * 100 + number + 1)).await.unwrap();
            }
        })
    };
    for writer in (1..=4).map(append).collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_holds(&*audit, 160).await;
}

async fn hands_out_pages(home: &impl Home) {
    let audit = home.open(Algorithm::Sm3).await;
    audit.append(&entries(1..=10)).await.unwrap();
    let page = async |from, most| {
        let page = audit.scan(from, most).await.unwrap();
        page.iter().map(|linked| linked.seq).collect::<Vec<_>>()
    };
    assert_eq!(page(1, 3).await, [1, 2, 3]);
    assert_eq!(page(9, 3).await, [9, 10]);
    assert!(page(11, 3).await.is_empty());
    assert!(page(0, 0).await.is_empty());
}

async fn forgets_from_the_first_on(home: &impl Home) {
    let audit = home.open(Algorithm::Sm3).await;
    let now = System.now();
    let ago = |days: u32| now.minus(DAY * days);
    // Another node's clock was behind: what follows the first young entry stays, however old it looks.
    let days = [400, 300, 200, 100, 300, 0];
    let all: Vec<_> = (1..).zip(days).map(|(number, days)| entry(number, ago(days))).collect();
    audit.append(&all).await.unwrap();
    let whole = audit.scan(1, 100).await.unwrap();
    assert_eq!(audit.prune(ago(500)).await.unwrap(), 0);
    assert_eq!(audit.prune(ago(250)).await.unwrap(), 2);
    assert_eq!(audit.extent().await.unwrap(), Extent { start: whole[1].place(), head: whole[5].place() });
    assert_holds(&*audit, 4).await;
    assert_eq!(audit.prune(ago(181)).await.unwrap(), 1);
    assert_eq!(audit.prune(ago(181)).await.unwrap(), 0, "once");
    assert_eq!(audit.scan(1, 100).await.unwrap(), whole[3..]);
    assert_holds(&*audit, 3).await;
    audit.append(&entries(7..=7)).await.unwrap();
    assert_holds(&*audit, 4).await;
}

async fn keeps_what_is_young(home: &impl Home) {
    let audit = home.open(Algorithm::Sm3).await;
    let now = System.now();
    audit.append(&[entry(1, now.minus(DAY * 179)), entry(2, now)]).await.unwrap();
    for before in [now.minus(RETENTION_MIN).plus(DAY), now, now.plus(DAY * 1_000)] {
        let told = audit.prune(before).await;
        assert!(matches!(&told, Err(port::Error::DidNotHappen(text)) if text.contains("180 days")), "{told:?}");
    }
    assert_holds(&*audit, 2).await;
    // All of it is old: the last stays, so that the chain has an end.
    let old = now.minus(DAY * 200);
    audit.append(&[entry(3, old)]).await.unwrap();
    assert_eq!(audit.prune(now.minus(DAY * 181)).await.unwrap(), 0);
}

async fn appends_large_groups(home: &impl Home) {
    let audit = home.open(Algorithm::Sm3).await;
    let old = System.now().minus(DAY * 200);
    let all: Vec<_> = (1..=4_500).map(|number| entry(number, old)).collect();
    audit.append(&all).await.unwrap();
    assert_holds(&*audit, 4_500).await;
    assert_eq!(audit.prune(System.now().minus(DAY * 181)).await.unwrap(), 4_499, "in several steps");
    assert_holds(&*audit, 1).await;
}
