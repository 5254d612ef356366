//! The demo hospital: three campuses, twelve departments, sixty doctors, two weeks of sessions.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::civil::{Date, Time, Weekday, time};
use orderly_domain::envelope::{self, Intent};
use orderly_domain::port::{self, IntentLog, Store};
use orderly_domain::session::resolve;
use orderly_domain::{Clock, Command, Exclusivity, Session, SessionId, partition_of};

/// The hospital's time zone.
pub(crate) const TIMEZONE: &str = "Asia/Shanghai";

/// From tomorrow on, sessions are open for this many days.
pub(crate) const DAYS: i64 = 14;

/// A session's numbers are released this many days ahead, at [`RELEASE_TIME`] local time. It is less than [`DAYS`], so
/// that there are always sessions whose release is still to come.
pub(crate) const RELEASE_DAYS_AHEAD: i64 = 10;

const RELEASE_TIME: Time = time(8, 0, 0, 0);

/// Sessions that are appended at once; one group commit takes them all.
const APPENDS_MAX: usize = 64;

/// The least time after which an open breaker is asked again.
const BREAKER_PAUSE_MIN: Duration = Duration::from_millis(50);

/// How often the store is asked whether the sessions are decided, and for how long at most.
const DECIDED_LOOK: Duration = Duration::from_millis(20);
const DECIDED_MAX: Duration = Duration::from_secs(10);

const CAMPUSES: [&str; 3] = ["east", "west", "riverside"];

/// A department with its five doctors: family name, given name, and both in pinyin.
type Department = (&'static str, [(&'static str, &'static str); 5]);

const DEPARTMENTS: [Department; 12] = [
    (
        "cardiology",
        [
            ("李明", "Li Ming"),
            ("王秀兰", "Wang Xiulan"),
            ("张建国", "Zhang Jianguo"),
            ("刘洋", "Liu Yang"),
            ("陈静", "Chen Jing"),
        ],
    ),
    (
        "neurology",
        [
            ("杨帆", "Yang Fan"),
            ("赵雪梅", "Zhao Xuemei"),
            ("黄志强", "Huang Zhiqiang"),
            ("周敏", "Zhou Min"),
            ("吴昊", "Wu Hao"),
        ],
    ),
    (
        "orthopaedics",
        [("徐磊", "Xu Lei"), ("孙丽", "Sun Li"), ("马超", "Ma Chao"), ("朱琳", "Zhu Lin"), ("胡军", "Hu Jun")],
    ),
    (
        "paediatrics",
        [
            ("郭婷婷", "Guo Tingting"),
            ("何勇", "He Yong"),
            ("林晓燕", "Lin Xiaoyan"),
            ("高峰", "Gao Feng"),
            ("罗丹", "Luo Dan"),
        ],
    ),
    (
        "obstetrics",
        [
            ("郑芳", "Zheng Fang"),
            ("梁慧", "Liang Hui"),
            ("谢玉珍", "Xie Yuzhen"),
            ("宋佳", "Song Jia"),
            ("唐宁", "Tang Ning"),
        ],
    ),
    (
        "ophthalmology",
        [("许文博", "Xu Wenbo"), ("邓颖", "Deng Ying"), ("韩冰", "Han Bing"), ("冯涛", "Feng Tao"), ("曹雨", "Cao Yu")],
    ),
    (
        "dermatology",
        [("彭辉", "Peng Hui"), ("曾琪", "Zeng Qi"), ("肖楠", "Xiao Nan"), ("田甜", "Tian Tian"), ("董洁", "Dong Jie")],
    ),
    (
        "gastroenterology",
        [
            ("袁平", "Yuan Ping"),
            ("潘伟", "Pan Wei"),
            ("蒋欣", "Jiang Xin"),
            ("蔡明华", "Cai Minghua"),
            ("余波", "Yu Bo"),
        ],
    ),
    (
        "respiratory",
        [("杜鹃", "Du Juan"), ("叶青", "Ye Qing"), ("程刚", "Cheng Gang"), ("苏珊", "Su Shan"), ("魏东", "Wei Dong")],
    ),
    (
        "endocrinology",
        [("吕梅", "Lü Mei"), ("丁浩然", "Ding Haoran"), ("任杰", "Ren Jie"), ("沈璐", "Shen Lu"), ("姚远", "Yao Yuan")],
    ),
    (
        "oncology",
        [
            ("卢卫国", "Lu Weiguo"),
            ("姜华", "Jiang Hua"),
            ("崔莹", "Cui Ying"),
            ("钟诚", "Zhong Cheng"),
            ("谭晶", "Tan Jing"),
        ],
    ),
    (
        "urology",
        [("陆毅", "Lu Yi"), ("汪海", "Wang Hai"), ("范冰", "Fan Bing"), ("金鑫", "Jin Xin"), ("石磊", "Shi Lei")],
    ),
];

/// The sessions of the days after `today`. A session's content depends on its own day only, so that the demo can be
/// started again on another day and finds what it opened before unchanged.
///
/// # Errors
/// When a day lies outside the calendar.
pub(crate) fn sessions(today: Date, exclusivity: Exclusivity) -> anyhow::Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for ahead in 1..=DAYS {
        let day = today.checked_add(jiff::Span::new().days(ahead)).context("the day lies outside the calendar")?;
        let doctors = DEPARTMENTS.iter().flat_map(|(department, doctors)| doctors.map(|name| (*department, name)));
        for (index, (department, name)) in (0_u32..).zip(doctors) {
            for (half, start, end) in
                [(0, time(8, 0, 0, 0), time(12, 0, 0, 0)), (1, time(13, 30, 0, 0), time(17, 0, 0, 0))]
            {
                if is_on_duty(index, day.weekday(), half) {
                    sessions.push(session(index, department, name, day, (start, end), exclusivity)?);
                }
            }
        }
    }
    Ok(sessions)
}

/// Four half-days from Monday to Friday for everybody; at the weekend, every seventh doctor in the morning.
fn is_on_duty(doctor: u32, weekday: Weekday, half: u32) -> bool {
    let day = u32::from(weekday.to_monday_zero_offset().unsigned_abs());
    match weekday {
        Weekday::Saturday | Weekday::Sunday => half == 0 && doctor % 7 == day,
        _ => (2 * day + half + doctor) % 5 < 2,
    }
}

fn session(
    index: u32,
    department: &str,
    (chinese, english): (&str, &str),
    day: Date,
    (start, end): (Time, Time),
    exclusivity: Exclusivity,
) -> anyhow::Result<Session> {
    let doctor = english.to_lowercase().replace(' ', "-").replace('ü', "v");
    let half = if start.hour() < 12 { "am" } else { "pm" };
    let campus = CAMPUSES[index as usize % CAMPUSES.len()];
    let spread = index * 7 + u32::from(day.day().unsigned_abs()) * 5 + u32::from(start.hour().unsigned_abs());
    let release_day = day.checked_sub(jiff::Span::new().days(RELEASE_DAYS_AHEAD))?;
    let session = Session {
        session_id: format!("{}-{day}-{half}-{doctor}", &department[..4]).parse()?,
        doctor_id: doctor.parse()?,
        doctor_name: format!("{chinese} {english}"),
        department: department.parse()?,
        campus: campus.parse()?,
        day,
        start,
        end,
        timezone: TIMEZONE.to_owned(),
        capacity: 15 + spread % 26,
        release_at: resolve(release_day, RELEASE_TIME, TIMEZONE)?,
        ends_at: resolve(day, end, TIMEZONE)?,
        exclusivity,
    };
    session.validate()?;
    Ok(session)
}

/// Opens those of the demo's sessions that the store does not have, and says which. It only appends to the log, so they are
/// there once a pipeline has [`decided`] that; asking twice opens nothing twice.
///
/// # Errors
/// When the store cannot be read or the log does not take a record.
pub(crate) async fn load(
    log: &dyn IntentLog,
    store: &dyn Store,
    clock: &dyn Clock,
    exclusivity: Exclusivity,
) -> anyhow::Result<Vec<SessionId>> {
    let today = clock.now().to_jiff().in_tz(TIMEZONE).context("the time zone database lacks the demo's zone")?.date();
    let known: HashSet<_> = store.sessions(today).await?.into_iter().map(|known| known.session.session_id).collect();
    let mut missing = sessions(today, exclusivity)?;
    missing.retain(|session| !known.contains(&session.session_id));
    let opened = missing.iter().map(|session| session.session_id.clone()).collect();
    let told = &AtomicBool::new(false);
    futures::stream::iter(missing)
        .map(|session| async move {
            let partition = partition_of(&session.doctor_id, log.partitions());
            let intent = Intent { requested_by: "demo".to_owned(), command: Command::OpenSession(Box::new(session)) };
            let (key, payload) = (intent.command.doctor_id().as_str(), envelope::encode(&intent));
            loop {
                match log.append(partition, key, payload.clone()).await {
                    // A log that has just been started is slow at first, and recovers.
                    Err(error @ port::Error::BreakerOpen { retry_after, .. }) => {
                        if !told.swap(true, Ordering::Relaxed) {
                            tracing::warn!(%error, "the demo's sessions wait for the log");
                        }
                        tokio::time::sleep(retry_after.max(BREAKER_PAUSE_MIN)).await;
                    }
                    answer => break answer,
                }
            }
        })
        .buffer_unordered(APPENDS_MAX)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
        .context("the demo's sessions could not be opened")?;
    Ok(opened)
}

/// Waits until these sessions are decided, but not for ever: a pipeline that is held up is told of elsewhere.
pub(crate) async fn decided(store: &dyn Store, opened: &[SessionId]) {
    let all_known = async {
        loop {
            match store.sessions(Date::MIN).await {
                Ok(known) => {
                    let known: HashSet<_> = known.into_iter().map(|known| known.session.session_id).collect();
                    if opened.iter().all(|session| known.contains(session)) {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "the demo's sessions cannot be read; it is tried again"),
            }
            tokio::time::sleep(DECIDED_LOOK).await;
        }
    };
    if tokio::time::timeout(DECIDED_MAX, all_known).await.is_err() {
        tracing::warn!("the demo's sessions are not decided yet; they appear once they are");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::civil::date;

    use super::*;

    const TODAY: Date = date(2026, 11, 22);

    fn of(today: Date) -> Vec<Session> {
        sessions(today, Exclusivity::DepartmentDay).expect("in the calendar")
    }

    fn distinct<T: Ord>(of: impl IntoIterator<Item = T>) -> usize {
        of.into_iter().collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn is_a_hospital() {
        let sessions = of(TODAY);
        assert_eq!(distinct(sessions.iter().map(|session| &session.session_id)), sessions.len(), "ids are unique");
        assert_eq!(distinct(sessions.iter().map(|session| &session.doctor_id)), 60);
        assert_eq!(distinct(sessions.iter().map(|session| &session.doctor_name)), 60);
        assert_eq!(distinct(sessions.iter().map(|session| &session.department)), 12);
        assert_eq!(distinct(sessions.iter().map(|session| &session.campus)), 3);
        assert_eq!(distinct(sessions.iter().map(|session| session.day)), 14);
        assert!(sessions.iter().all(|session| (15..=40).contains(&session.capacity)));
        assert!(sessions.iter().any(|session| session.session_id.as_str() == "card-2026-11-23-am-li-ming"));
        let mut by_doctor: BTreeMap<_, usize> = BTreeMap::new();
        sessions.iter().for_each(|session| *by_doctor.entry(&session.doctor_id).or_default() += 1);
        assert!(by_doctor.values().all(|count| (8..=10).contains(count)), "{by_doctor:?}");
    }

    /// Whoever is the same doctor has the same name, department and campus in all of their sessions.
    #[test]
    fn a_doctor_is_one_person() {
        let sessions = of(TODAY);
        let people = sessions.iter().map(|s| (&s.doctor_id, &s.doctor_name, &s.department, &s.campus));
        assert_eq!(distinct(people), 60);
    }

    #[test]
    fn some_are_released_and_some_are_to_come() {
        let noon = resolve(TODAY, time(12, 0, 0, 0), TIMEZONE).expect("valid");
        let (open, scheduled): (Vec<_>, Vec<_>) = of(TODAY).into_iter().partition(|session| session.release_at <= noon);
        assert!(open.len() > 300 && scheduled.len() > 100, "{} open, {} scheduled", open.len(), scheduled.len());
        assert!(scheduled.iter().all(|session| session.day > open.iter().map(|open| open.day).max().expect("some")));
    }

    #[test]
    fn tomorrow_finds_todays_sessions_unchanged() {
        let today: BTreeMap<_, _> = of(TODAY).into_iter().map(|s| (s.session_id.clone(), s)).collect();
        let tomorrow = of(TODAY.tomorrow().expect("in the calendar"));
        let shared: Vec<_> = tomorrow.iter().filter_map(|s| today.get(&s.session_id).map(|known| (known, s))).collect();
        assert!(shared.len() > 350);
        assert!(shared.iter().all(|(known, session)| known == session));
    }
}
