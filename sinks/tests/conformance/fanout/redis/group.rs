//! Groups that share the batches of a stream.
#![cfg(test)]

use orderly_sinks::fanout::redis::group::{Begin, Delivery, Member, Options as Joining};

use super::*;

/// Short, so that no test waits long for what a dead member left.
const CLAIM_AFTER: Duration = Duration::from_millis(50);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);

fn joining(options: &Options, member: &str) -> Joining {
    Joining {
        urls: options.urls.clone(),
        stream: options.stream.clone(),
        group: "notifications".into(),
        member: member.into(),
        claim_after: NEVER,
        idle: Duration::from_millis(50),
        batches_max: 1,
        ..Joining::default()
    }
}

async fn join(options: &Options, member: &str) -> Member {
    Member::join(joining(options, member)).await.expect("it can be joined")
}

/// The first offset of the next batch, which is not acknowledged, and whether it came before; `None` for a gap.
async fn look(member: &mut Member) -> Option<(u64, bool)> {
    match member.next().await.expect("Redis answers") {
        Delivery::Batch { decisions, again, .. } => Some((decisions[0].position.offset, again)),
        Delivery::Gap { .. } => None,
    }
}

/// The first offset of the next batch, which is handled.
async fn handle(member: &mut Member) -> u64 {
    let Delivery::Batch { receipt, decisions, .. } = member.next().await.expect("Redis answers") else {
        panic!("there is no gap")
    };
    member.acknowledge(receipt).await.expect("Redis answers");
    decisions[0].position.offset
}

/// Asks Redis for a number.
async fn number(options: &Options, command: &str, args: &[&str]) -> u64 {
    let client = ::redis::Client::open(options.urls[0].as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut ask = ::redis::cmd(command);
    args.iter().for_each(|arg| {
        ask.arg(*arg);
    });
    let answer: Vec<::redis::Value> = ask.query_async(&mut connection).await.unwrap();
    answer.into_iter().next().map_or(0, |first| ::redis::from_redis_value(first).unwrap_or(u64::MAX))
}

async fn shares(options: Options) {
    let fanout = open(options.clone()).await;
    fanout.publish(batch(0, 1)).await.unwrap();
    let (mut one, mut other) = (join(&options, "one").await, join(&options, "other").await);
    for first in 1..=10 {
        fanout.publish(batch(first, 1)).await.unwrap();
    }
    for turn in 0..5 {
        assert_eq!(handle(&mut one).await, 2 * turn + 1);
        assert_eq!(handle(&mut other).await, 2 * turn + 2);
    }
    // Another group has all of it, from where it begins.
    let all = Joining { group: "audit".into(), begin: Begin::Oldest, batches_max: 4, ..joining(&options, "one") };
    let mut all = Member::join(all).await.unwrap();
    for first in 0..=10 {
        assert_eq!(handle(&mut all).await, first);
    }
    one.leave().await.unwrap();
    // News wake whoever waits.
    let (waited, published) = tokio::join!(handle(&mut other), fanout.publish(batch(11, 1)));
    published.unwrap();
    assert_eq!(waited, 11);
}

#[tokio::test]
async fn members_share_and_groups_do_not() {
    shares(options(vec![shared().url()])).await;
}

#[tokio::test]
async fn members_share_in_a_cluster() {
    shares(options(cluster().urls())).await;
}

#[tokio::test]
async fn another_claims_what_a_dead_member_left() {
    let options = options(vec![shared().url()]);
    let fanout = open(options.clone()).await;
    let mut dead = join(&options, "dead").await;
    for first in 1..=3 {
        fanout.publish(batch(first, 1)).await.unwrap();
    }
    assert_eq!(handle(&mut dead).await, 1);
    assert_eq!(look(&mut dead).await, Some((2, false)));
    drop(dead);
    let mut other = Member::join(Joining { claim_after: CLAIM_AFTER, ..joining(&options, "other") }).await.unwrap();
    let mut seen = vec![look(&mut other).await.unwrap(), look(&mut other).await.unwrap()];
    seen.sort_unstable();
    assert_eq!(seen, [(2, true), (3, false)]);
}

#[tokio::test]
async fn a_member_that_comes_back_begins_with_what_it_left() {
    let options = options(vec![shared().url()]);
    let fanout = open(options.clone()).await;
    let mut before = Member::join(Joining { batches_max: 5, ..joining(&options, "one") }).await.unwrap();
    for first in 1..=6 {
        fanout.publish(batch(first, 1)).await.unwrap();
    }
    // Five were handed to it, and it looked at two.
    assert_eq!(handle(&mut before).await, 1);
    assert_eq!(look(&mut before).await, Some((2, false)));
    before.leave().await.unwrap();
    let mut after = join(&options, "one").await;
    for first in 2..=5 {
        assert_eq!(look(&mut after).await, Some((first, true)));
    }
    assert_eq!(look(&mut after).await, Some((6, false)));
    drop(after);
    let mut again = join(&options, "one").await;
    for first in 2..=6 {
        assert_eq!(handle(&mut again).await, first);
    }
    assert_eq!(number(&options, "XPENDING", &[&options.stream, "notifications"]).await, 0, "all is acknowledged");
    again.leave().await.unwrap();
}

/// Publishes so much that what was there before is trimmed.
async fn flood(options: &Options, offsets: std::ops::RangeInclusive<u64>) {
    let trimming = open(Options { kept_batches_max: 1, ..options.clone() }).await;
    for first in offsets {
        trimming.publish(batch(first, 1)).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_trimmed_before_it_was_read_is_told() {
    let options = options(vec![shared().url()]);
    let fanout = open(options.clone()).await;
    let mut member = join(&options, "one").await;
    fanout.publish(batch(1, 1)).await.unwrap();
    assert_eq!(handle(&mut member).await, 1);
    flood(&options, 2..=1_000).await;
    let Delivery::Gap { batches: Some(missing) } = member.next().await.unwrap() else { panic!("a gap") };
    assert_eq!(handle(&mut member).await, 2 + missing);
    assert!((500..1_000).contains(&missing), "{missing}");
    assert_eq!(handle(&mut member).await, 3 + missing, "it is told once");
}

#[tokio::test]
async fn what_was_trimmed_before_it_was_handled_is_told() {
    let options = options(vec![shared().url()]);
    let fanout = open(options.clone()).await;
    for name in ["one", "dead"] {
        let mut member = join(&options, name).await;
        fanout.publish(batch(1, 1)).await.unwrap();
        assert_eq!(look(&mut member).await, Some((1, false)));
    }
    flood(&options, 2..=1_000).await;
    let mut member = Member::join(Joining { claim_after: CLAIM_AFTER, ..joining(&options, "one") }).await.unwrap();
    for _ in 0..2 {
        assert_eq!(member.next().await.unwrap(), Delivery::Gap { batches: Some(1) }, "its own, and the dead one's");
    }
}

#[tokio::test]
async fn a_flush_is_told_and_the_group_goes_on() {
    let redis = own(Server::default());
    let options = options(vec![redis.server.url()]);
    let fanout = open(options.clone()).await;
    let mut member = join(&options, "one").await;
    fanout.publish(batch(1, 1)).await.unwrap();
    assert_eq!(handle(&mut member).await, 1);
    redis.server.ask("FLUSHALL").unwrap();
    assert_eq!(member.next().await.unwrap(), Delivery::Gap { batches: None }, "also when nothing is published");
    publish(&fanout, batch(2, 1)).await;
    assert_eq!(handle(&mut member).await, 2);
}

#[tokio::test]
async fn an_old_copy_that_came_back_is_told() {
    let mut redis = own(Server::default());
    let options = options(vec![redis.server.url()]);
    let fanout = open(options.clone()).await;
    let mut member = join(&options, "one").await;
    redis.server.ask("SAVE").unwrap();
    publish(&fanout, batch(1, 1)).await;
    assert_eq!(handle(&mut member).await, 1);
    redis.server.restart().unwrap();
    publish(&fanout, batch(2, 1)).await;
    let mut told = Vec::new();
    while told.last() != Some(&Some(2)) {
        match member.next().await {
            Ok(Delivery::Batch { decisions, .. }) => told.push(Some(decisions[0].position.offset)),
            Ok(Delivery::Gap { .. }) => told.push(None),
            Err(error) => assert!(!matches!(error, port::Error::Corrupt(_)), "{error}"),
        }
    }
    assert!(told.contains(&None), "what was published in between may be lost: {told:?}");
}

#[tokio::test]
async fn what_no_fanout_wrote_is_told_and_passed_over() {
    let options = options(vec![shared().url()]);
    let fanout = open(options.clone()).await;
    let mut member = join(&options, "one").await;
    shared().ask(&format!("XADD {} * n nonsense b nonsense", options.stream)).unwrap();
    assert_eq!(look(&mut member).await, None);
    fanout.publish(batch(1, 1)).await.unwrap();
    let mut firsts = Vec::new();
    while firsts.is_empty() {
        firsts.extend(look(&mut member).await);
    }
    assert_eq!(firsts, [(1, false)]);
    assert_eq!(number(&options, "XPENDING", &[&options.stream, "notifications"]).await, 1, "only the last one");
}

#[tokio::test]
async fn names_that_cannot_be_used_are_refused() {
    for wrong in ["", "a b", "{a}"] {
        let refused = Member::join(Joining { group: wrong.into(), ..Joining::default() }).await;
        assert!(matches!(refused, Err(port::Error::DidNotHappen(text)) if text.contains("cannot be used")));
    }
}
