//! Whatever is asked, what the domain decides and the store keeps is found right.

use orderly_checker::Invariant;
use orderly_domain::{ChangeCapacity, CloseSession, Command, Exclusivity, partition_of};
use proptest::prelude::*;

use crate::hospital::{Hospital, PARTITIONS, Step, book, cancel, check, open, reference, session};

/// Patients reuse a key for another session only inside a department: see `a_ticket_of_another_department`.
fn command() -> impl Strategy<Value = Command> {
    let exclusivity = prop::sample::select(vec![Exclusivity::DepartmentDay, Exclusivity::Session, Exclusivity::None]);
    prop_oneof![
        10 => (0_u8..8, 0_u8..4, 0_u8..5).prop_map(|(p, k, s)| book(p, k + if s < 3 { 0 } else { 10 }, s)),
        3 => (0_u8..8, 0_u8..4, 0_u8..5).prop_map(|(p, k, s)| cancel(p, k + if s < 3 { 0 } else { 10 }, s)),
        2 => (0_u8..4, 1_u32..6, exclusivity).prop_map(|(s, c, x)| Command::OpenSession(Box::new(session(s, c, x)))),
        1 => (0_u8..4).prop_map(|s| Command::CloseSession(CloseSession { session: reference(s), cause: "ill".into() })),
        1 => (0_u8..4, 1_u32..6)
            .prop_map(|(s, capacity)| Command::ChangeCapacity(ChangeCapacity { session: reference(s), capacity })),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => command().prop_map(Step::Ask),
        1 => Just(Step::Noise),
        1 => (1_i64..40_000).prop_map(Step::Wait),
    ]
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hold(steps in prop::collection::vec(step(), 1..200), undecided in 0_usize..3) {
        let records = steps.iter().filter(|step| !matches!(step, Step::Wait(_))).count();
        let undecided = undecided.min(records);
        let report = runtime().block_on(async { Hospital::live(&steps, undecided).await.check(undecided == 0).await });
        prop_assert!(report.holds(), "{report:#?}");
        prop_assert_eq!(report.in_flight, undecided as u64);
        prop_assert_eq!(report.checked(Invariant::ExactlyOnce), (records - undecided) as u64);
        prop_assert_eq!(report.checked(Invariant::Deterministic), (records - undecided) as u64);
    }

    /// Nodes decide partitions side by side: whatever order comes of that is found right, when none is presumed.
    #[test]
    fn hold_whichever_partition_comes_first(
        steps in prop::collection::vec(step(), 1..120), turns in prop::collection::vec(0..PARTITIONS, 1..200),
    ) {
        let report = runtime().block_on(async {
            let mut hospital = Hospital::open(&steps).await;
            hospital.decide_in_turns(turns.into_iter().chain((0..PARTITIONS).cycle())).await;
            hospital.check_unordered().await
        });
        prop_assert!(report.holds(), "{report:#?}");
    }

    /// Turn any one decision into another and something is found broken.
    #[test]
    fn with_one_decision_changed_do_not(
        steps in prop::collection::vec(step(), 1..80), victim in any::<prop::sample::Index>(),
    ) {
        prop_assume!(steps.iter().any(|step| !matches!(step, Step::Wait(_))));
        let report = runtime().block_on(async {
            let hospital = Hospital::live(&steps, 0).await;
            let store = rusqlite::Connection::open(hospital.folder.path().join("store.sqlite")).expect("the store");
            let rows: u32 = store.query_row("SELECT count(*) FROM decisions", [], |row| row.get(0)).expect("counted");
            let victim = victim.index(rows as usize) as u64;
            // A refusal becomes another refusal, everything else becomes a refusal.
            let change = "UPDATE decisions SET outcome = 1, number = NULL, reason = CASE reason WHEN 5 THEN 6 ELSE 5 END \
                          WHERE (partition, log_offset) = (SELECT partition, log_offset FROM decisions LIMIT 1 OFFSET ?)";
            assert_eq!(store.execute(change, [victim.cast_signed()]).expect("changed"), 1);
            hospital.check(true).await
        });
        prop_assert!(!report.holds());
    }
}

/// One ticket in two departments whose records lie in two partitions: only the store sees both, and refuses the second.
#[tokio::test]
async fn a_ticket_of_another_department() {
    let lies_in = |session| partition_of(&reference(session).doctor_id, PARTITIONS);
    let other = (3..20).find(|session| lies_in(*session) != lies_in(0)).expect("doctors are spread over partitions");
    let steps = [open(0, 2), open(other, 2), book(1, 0, 0), book(1, 0, other), book(1, 0, other)].map(Step::Ask);
    let steps: Vec<_> = [&steps[..2], &[Step::Wait(60)], &steps[2..]].concat();
    let hospital = Hospital::live(&steps, 0).await;
    let store = rusqlite::Connection::open(hospital.folder.path().join("store.sqlite")).expect("the store");
    let corrected: u32 =
        store.query_row("SELECT count(*) FROM decisions WHERE corrected", [], |row| row.get(0)).expect("counted");
    assert_eq!(corrected, 1);
    let report = hospital.check(true).await;
    assert!(report.holds(), "{report:#?}");
}

/// A patient who holds an appointment with this doctor asks again by a key that another partition has given away meanwhile:
/// that is a repeat of the key, whatever the patient holds.
#[tokio::test]
async fn a_key_given_away_by_another_partition() {
    let lies_in = |session| partition_of(&reference(session).doctor_id, PARTITIONS);
    let other = (0..3).find(|session| lies_in(*session) != lies_in(0)).expect("cardiology is spread over partitions");
    let open_to_all = Command::OpenSession(Box::new(session(other, 2, Exclusivity::None)));
    let asked = [book(1, 0, 0), book(1, 1, 0), book(1, 1, other)].map(Step::Ask);
    let steps = [&[Step::Ask(open(0, 4)), Step::Ask(open_to_all), Step::Wait(60)], &asked[..]].concat();
    let (own, other) = (lies_in(0), lies_in(other));
    let mut hospital = Hospital::open(&steps).await;
    hospital.decide_in_turns([own, other, own, other, own].into_iter()).await;
    let report = hospital.check_unordered().await;
    assert!(report.holds() && report.checked(Invariant::Deterministic) == 5, "{report:#?}");
}

/// A check beside a server that decides sees nothing broken, whatever it happens to read in which order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_decisions_are_committed() {
    const RECORDS: u8 = 240;
    let opened = (0..4).map(|session| open(session, 20));
    let asked = (0..RECORDS).map(|n| if n % 9 == 8 { cancel(n - 4, 0, (n - 4) % 4) } else { book(n, 0, n % 4) });
    let steps: Vec<_> = opened.map(Step::Ask).chain([Step::Wait(60)]).chain(asked.map(Step::Ask)).collect();
    let mut hospital = Hospital::open(&steps).await;
    let folder = hospital.folder.path().to_owned();
    let deciding = tokio::spawn(async move {
        hospital.decide(usize::from(RECORDS) + 4, 1).await;
        hospital
    });
    while !deciding.is_finished() {
        let report = check(&folder, false).await;
        assert!(report.holds(), "{report:#?}");
    }
    let hospital = deciding.await.expect("decided");
    let report = hospital.check(true).await;
    assert!(report.holds() && report.checked(Invariant::ExactlyOnce) == u64::from(RECORDS) + 4, "{report:#?}");
}
