//! Any change to a chain is found, and told by its place.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn entry(number: u64) -> Entry {
    Entry {
        number,
        actor: (!number.is_multiple_of(3)).then(|| format!("chief-{number}")),
        node: "node-1".into(),
        status: 200,
        method: "PUT".into(),
        ..Entry::system(NOW, "/v1/policy", String::new(), 1)
    }
}

fn entries(count: u64) -> Vec<Linked> {
    let entries: Vec<_> = (1..=count).map(entry).collect();
    chain(Place::BEGINNING, Algorithm::Sm3, &entries)
}

fn anchor(linked: &Linked) -> Anchor {
    Anchor { place: linked.place(), anchored_at: NOW, node: "node-1".into() }
}

fn verdict(start: Place, chain: &[Linked], anchors: impl IntoIterator<Item = Anchor>) -> Verdict {
    let mut verifier = Verifier::new(start, anchors, NOW);
    chain.iter().for_each(|linked| verifier.check(linked));
    verifier.finish()
}

fn found(chain: &[Linked], anchors: impl IntoIterator<Item = Anchor>) -> Vec<String> {
    verdict(Place::BEGINNING, chain, anchors).findings.iter().map(ToString::to_string).collect()
}

#[test]
fn hashes_are_those_of_the_standards() {
    let abc = |algorithm| {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"abc");
        hasher.finish().to_string()
    };
    assert_eq!(abc(Algorithm::Sm3), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
    assert_eq!(abc(Algorithm::Sha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let hash: Hash = abc(Algorithm::Sm3).parse().unwrap();
    assert_eq!(Hash::try_from(&hash.as_bytes()[..]), Ok(hash));
    for wrong in ["", "66", &"g".repeat(64), &"é".repeat(32)] {
        assert_eq!(wrong.parse::<Hash>(), Err(NotAHash), "{wrong}");
    }
}

/// The encoding never changes: what was written years ago is still verified. Another program computed these.
#[test]
fn the_encoding_is_fixed() {
    let linked = Linked::after(Place::BEGINNING, Algorithm::Sha256, entry(1));
    assert_eq!(linked.hash.to_string(), "66f5c317d5c73f5f5295c9e5257f82cbc387bb6339c1255835fa2bbf2a4859af");
    let linked = Linked::after(Place::BEGINNING, Algorithm::Sm3, entry(1));
    assert_eq!(linked.hash.to_string(), "8bf34f64d35c0fa4f336568d9b15c9b3627cf6ac03706626997825c9723b544f");
}

#[test]
fn a_whole_chain_holds_from_its_beginning_and_from_a_checkpoint() {
    let mut whole = entries(9);
    let rest = chain(whole[8].place(), Algorithm::Sha256, &[entry(10), entry(11)]);
    whole.extend(rest);
    let anchors = || whole.iter().step_by(2).map(anchor);
    let all = verdict(Place::BEGINNING, &whole, anchors());
    assert!(all.holds(), "{:?}", all.findings);
    assert_eq!((all.entries, all.anchors, all.head), (11, 6, whole[10].place()));
    assert!(verdict(Place::BEGINNING, &[], []).holds());

    // Pruned: the anchors before the checkpoint are old by then.
    let later = NOW.plus(RETENTION_MIN).plus(Duration::from_secs(1));
    let mut verifier = Verifier::new(whole[4].place(), anchors(), later);
    whole[5..].iter().for_each(|linked| verifier.check(linked));
    let pruned = verifier.finish();
    assert!(pruned.holds(), "{:?}", pruned.findings);
    assert_eq!((pruned.entries, pruned.anchors), (6, 4));
}

#[test]
fn a_beginning_that_was_cut_off_is_found_by_anchors() {
    let whole = entries(9);
    let cut = |anchors: Vec<Anchor>| {
        let verdict = verdict(whole[4].place(), &whole[5..], anchors);
        verdict.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(cut(whole.iter().map(anchor).collect()), ["early 1 to 4"], "younger than 180 days");
    assert!(cut(vec![]).is_empty(), "which nobody can tell without them");
    // The checkpoint itself is a lie.
    let wrong = Place { hash: Hash::ZERO, ..whole[4].place() };
    let told = verdict(wrong, &whole[5..], [anchor(&whole[4])]);
    let kinds: Vec<_> = told.findings.iter().map(ToString::to_string).collect();
    assert_eq!(kinds, ["rewritten 5", "unlinked 6"]);
}

#[test]
fn a_chain_that_was_written_anew_is_found_by_anchors() {
    let whole = entries(9);
    let mut forged: Vec<_> = whole.iter().map(|linked| linked.entry.clone()).collect();
    forged[3].actor = Some("somebody else".into());
    let forged = chain(Place::BEGINNING, Algorithm::Sm3, &forged);
    assert!(found(&forged, []).is_empty(), "it is a chain like any other");
    assert_eq!(found(&forged, [anchor(&whole[2]), anchor(&whole[6])]), ["rewritten 7"]);
}

#[test]
fn entries_that_lie_twice_are_found() {
    let mut whole = entries(4);
    whole.insert(2, whole[1].clone());
    assert_eq!(found(&whole, []), ["misplaced 2"]);
}

/// Changes one field.
fn edit(linked: &mut Linked, field: usize) {
    let entry = &mut linked.entry;
    match field {
        0 => entry.at = entry.at.plus(Duration::from_micros(1)),
        1 => entry.node.push('x'),
        2 => entry.number += 1,
        3 => entry.actor = entry.actor.take().is_none().then(String::new),
        4 => entry.roles.push('x'),
        5 => entry.client.push('x'),
        6 => entry.method.push('x'),
        7 => entry.route.push('x'),
        8 => entry.target.push('x'),
        9 => entry.request = ticket_hash(Algorithm::Sm3, "x"),
        10 => entry.body_bytes += 1,
        11 => entry.status += 1,
        12 => entry.problem = entry.problem.take().is_none().then(String::new),
        13 => entry.calls += 1,
        14 => linked.algorithm = Algorithm::Sha256,
        15 => linked.hash = ticket_hash(Algorithm::Sm3, "x"),
        // What one text loses another gains.
        _ => {
            entry.method = "PU".into();
            entry.route = "T/v1/policy".into();
        }
    }
}

proptest! {
    #[test]
    fn an_edit_is_found_where_it_was_made(count in 1_u64..20, at in any::<prop::sample::Index>(), field in 0_usize..17) {
        let mut whole = entries(count);
        let head = anchor(whole.last().unwrap());
        let at = at.index(whole.len());
        edit(&mut whole[at], field);
        let told = verdict(Place::BEGINNING, &whole, [head]);
        prop_assert_eq!(told.findings[0], Finding { kind: Kind::Edited, from: at as u64 + 1, to: at as u64 + 1 });
    }

    #[test]
    fn an_edit_with_a_hash_to_match_is_found_behind_it(count in 2_u64..20, at in any::<prop::sample::Index>(), field in 0_usize..15) {
        let mut whole = entries(count);
        let at = at.index(whole.len() - 1);
        edit(&mut whole[at], field);
        whole[at].hash = whole[at].entry.link(whole[at].algorithm, whole[at].seq, whole[at].previous);
        prop_assert_eq!(found(&whole, []), [format!("unlinked {}", at + 2)]);
    }

    #[test]
    fn a_deletion_is_found(count in 2_u64..20, from in any::<prop::sample::Index>(), length in 1_usize..5) {
        let mut whole = entries(count);
        let from = from.index(whole.len() - 1);
        let to = (from + length).min(whole.len() - 1);
        whole.drain(from..to);
        let told = verdict(Place::BEGINNING, &whole, []);
        prop_assert_eq!(told.findings, [Finding { kind: Kind::Missing, from: from as u64 + 1, to: to as u64 }]);
    }

    #[test]
    fn a_truncation_is_found_below_the_anchored_head(count in 1_u64..20, length in any::<prop::sample::Index>()) {
        let mut whole = entries(count);
        let head = anchor(whole.last().unwrap());
        let length = length.index(whole.len());
        whole.truncate(length);
        let told = verdict(Place::BEGINNING, &whole, [head]);
        prop_assert_eq!(told.findings, [Finding { kind: Kind::Truncated, from: length as u64 + 1, to: count }]);
    }

    #[test]
    fn an_exchange_of_two_is_found(count in 2_u64..20, one in any::<prop::sample::Index>(), two in any::<prop::sample::Index>()) {
        let mut whole = entries(count);
        let (one, two) = (one.index(whole.len()), two.index(whole.len()));
        prop_assume!(one != two);
        // As rows are exchanged: everything but the place.
        let (first, second) = (whole[one].clone(), whole[two].clone());
        whole[one] = Linked { seq: first.seq, ..second.clone() };
        whole[two] = Linked { seq: second.seq, ..first };
        let told = verdict(Place::BEGINNING, &whole, []);
        let edited: Vec<u64> = told.findings.iter().filter(|found| found.kind == Kind::Edited).map(|found| found.from).collect();
        prop_assert_eq!(edited, [one.min(two) as u64 + 1, one.max(two) as u64 + 1]);
    }
}
