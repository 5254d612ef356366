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
    info(
        "rebookings",
        "Numbers that one patient gave back and another had within 10 seconds, by the two, the most often first.",
    ),
    info("days", "Demand, bookings and refusals by the day of the session, and how much of its capacity was booked."),
    info("hours", "Demand and what came of it, hour by hour in UTC: for a heat map of the hours of the day."),
    info("wait_lengths", "How many bookings waited how long for their outcome."),
    info("funnel", "From the numbers that were offered, through the requests, to the bookings that were kept."),
    info("fairness", "Whether anybody was decided out of order or overtaken, by department: both must be zero."),
];

const fn info(name: &'static str, purpose: &'static str) -> ReportInfo {
    ReportInfo { name, purpose }
}
