//! The named reports. Every adapter has them all, with the same columns and, over the same rows, the same values.

use orderly_domain::port::analytics::ReportInfo;

/// The reports, in the order in which people want them.
pub(super) const INFOS: &[ReportInfo] = &[
    info("summary", "What was asked for and what came of it, in one row, with the waits for a decision."),
    info("departments", "Demand, bookings and refusals of each department, and how much of its capacity was booked."),
    info("doctors", "Demand, bookings and refusals of each doctor, the most wanted first."),
    info("campuses", "Demand, bookings and refusals of each campus, and how much of its capacity was booked."),
    info("minutes", "Arrivals and what came of them, minute by minute in UTC."),
    info("rejections", "Why bookings were refused, the most frequent cause first."),
    info("waits", "How long decisions took from the log to the outcome, by department."),
    info("sessions", "Demand against capacity of each session, and how long after its release it was sold out."),
    info("cancellations", "Numbers given back, by department, and how many were booked again."),
];

const fn info(name: &'static str, purpose: &'static str) -> ReportInfo {
    ReportInfo { name, purpose }
}

/// A report that counts demand by one dimension: an adapter has one template for all of these.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemandBy {
    /// The report's name.
    pub(super) name: &'static str,
    /// The column it groups by.
    pub(super) dimension: &'static str,
    /// Its first columns, in the adapter's SQL.
    pub(super) columns: &'static str,
    /// Its order.
    pub(super) order: &'static str,
}

impl DemandBy {
    /// The report's SQL. Only what stands in the program's text is filled in, never what came in a request.
    pub(super) fn fill(&self, template: &str) -> String {
        let Self { dimension, columns, order, .. } = self;
        template.replace("{dimension}", dimension).replace("{columns}", columns).replace("{order}", order)
    }
}

/// Each report's SQL, in the order of [`INFOS`].
///
/// # Panics
/// When there is a report without SQL, or SQL without a report.
pub(super) fn all_sql(plain: &[(&str, &str)], template: &str, demand_by: &[DemandBy]) -> Vec<String> {
    assert_eq!(plain.len() + demand_by.len(), INFOS.len(), "each report has its SQL once");
    let sql = |info: &ReportInfo| {
        let by = demand_by.iter().find(|by| by.name == info.name).map(|by| by.fill(template));
        let plain = || plain.iter().find(|(name, _)| *name == info.name).map(|(_, sql)| (*sql).to_owned());
        by.or_else(plain).expect("each report has its SQL")
    };
    INFOS.iter().map(sql).collect()
}
