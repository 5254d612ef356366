//! A check that goes on as the log grows.

use orderly_domain::Timestamp;
use orderly_domain::port::store::Progress;
use orderly_domain::port::{IntentLog, Store};

use crate::history::History;
use crate::judge::Judge;
use crate::report::Report;
use crate::{Error, Options, books};

/// What [`Auditor::follow`] judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Decisions.
    pub decisions: u64,
    /// When they were decided, by the wall clock, and how many at that moment.
    pub decided_at: Vec<(Timestamp, u64)>,
}

/// Judges what lies in a log and a store, and goes on from there when there is more.
pub struct Auditor<'a> {
    log: &'a dyn IntentLog,
    store: &'a dyn Store,
    options: Options,
    history: History<'a>,
    judge: Judge,
    report: Report,
}

impl<'a> Auditor<'a> {
    /// Begins where log and store begin. Nothing is judged yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn begin(log: &'a dyn IntentLog, store: &'a dyn Store, options: Options) -> Result<Self, Error> {
        let history = History::new(log, store, store.kept_since().await?);
        let judge = Judge::new(log.partitions(), options);
        Ok(Self { log, store, options, history, judge, report: Report::default() })
    }

    /// Judges every decision below this progress that was not judged yet, in the order in which they were made.
    ///
    /// # Errors
    /// When log or store cannot be read, or hold records of a newer version. After a store or a log that could not be read,
    /// a second call goes on where this one ended.
    pub async fn follow(&mut self, progress: &[Progress]) -> Result<Judged, Error> {
        let Self { history, judge, report, .. } = self;
        history.extend(progress, &self.log.extents().await?, report).await?;
        if history.is_trimmed() {
            judge.stop_replaying(report, "the log was trimmed");
        }
        if history.is_pruned() {
            judge.stop_replaying(report, "the store has forgotten old decisions");
        }
        let mut judged = Judged::default();
        while let Some(moment) = history.next(report).await? {
            if let Some(row) = &moment.decision {
                judged.decisions += 1;
                match judged.decided_at.last_mut() {
                    Some((at, count)) if *at == row.decision.decided_at => *count += 1,
                    _ => judged.decided_at.push((row.decision.decided_at, 1)),
                }
            }
            judge.judge(moment, report)?;
        }
        Ok(judged)
    }

    /// What was found, with the tables of sessions and appointments compared. Only true when no decision was committed since
    /// this progress was read, which the caller has to make sure of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn at_rest(&self, progress: &[Progress]) -> Result<Report, Error> {
        let mut report = self.report.clone();
        self.judge.settle(None, &mut report);
        let kept_since = self.store.kept_since().await?;
        let what = books::What { kept_since, judged: None, ..self.what() };
        books::check(self.store, self.judge.rules(), what, &mut report).await?;
        self.history.check_progress(progress, self.options.idle, &mut report).await?;
        Ok(report)
    }

    /// What is wrong with the tables of sessions and appointments, and with what had to turn up by now, beside what the decisions
    /// alone tell. Sessions that were changed since the last decision that was judged are left out; this says how many.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn amid(&self) -> Result<(Report, u64), Error> {
        let mut report = Report::default();
        self.judge.settle(self.history.watermark(), &mut report);
        let kept_since = self.store.kept_since().await?;
        let judged = self.history.told();
        let what = books::What {
            kept_since: kept_since.max(self.judge.rules().kept_since()),
            judged: Some(&judged),
            ..self.what()
        };
        let mut tables = Report::default();
        let changing = books::check(self.store, self.judge.rules(), what, &mut tables).await?;
        // A day that the store began to forget meanwhile says nothing.
        if self.store.kept_since().await? == kept_since {
            report.add(&tables);
        }
        Ok((report, changing))
    }

    fn what(&self) -> books::What<'static> {
        let (details, openings) = (self.judge.is_replaying(), !self.history.is_pruned());
        books::What { kept_since: None, details, openings, judged: None }
    }

    /// What was found in the decisions alone.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// What was found in the decisions alone.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Whether every decision is compared with what the rules answer, which takes the log from its beginning.
    #[must_use]
    pub const fn is_replaying(&self) -> bool {
        self.judge.is_replaying()
    }

    /// Forgets what no later decision can depend on: sessions whose day is long past, and refusals that no retry is answered
    /// from any more. An auditor that never forgets grows with the log.
    pub fn forget(&mut self) {
        if let Some(watermark) = self.history.watermark() {
            self.judge.forget(watermark, &self.history.told());
        }
    }

    /// How many tickets and sessions are in memory.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        (self.judge.tickets(), self.judge.rules().clinics.len())
    }
}
