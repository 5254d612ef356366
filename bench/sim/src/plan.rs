//! What happens in a run, drawn from a seed before anything runs, so that parts can be left out to see whether they matter.

use orderly_domain::{Exclusivity, Timestamp};

use crate::random::Random;

pub(crate) const PARTITIONS: u16 = 3;
const DEPARTMENTS: [&str; 2] = ["cardiology", "neurology"];
/// Doctors whose records lie in different partitions, two each.
const DOCTORS: [&str; 6] = ["li", "zhao", "ma", "chen", "liu", "lin"];
/// The clocks change on these days: forward, back, back by half an hour, and not at all.
const DAYS: [(&str, &str); 5] = [
    ("Europe/Berlin", "2026-03-29"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("America/New_York", "2026-03-08"),
    ("Asia/Shanghai", "2026-11-23"),
];

/// How often calls go wrong, in parts of 1,000, and how long they take.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    /// It did not happen, and the caller is told so.
    pub(crate) refused: u64,
    /// The answer is lost; it happened or not.
    pub(crate) lost: u64,
    /// The caller gives up; it happens later.
    pub(crate) late: u64,
    /// The caller dies with the call.
    pub(crate) fatal: u64,
    pub(crate) latency_ms_max: u64,
}

impl Noise {
    pub(crate) const NONE: Self = Self { refused: 0, lost: 0, late: 0, fatal: 0, latency_ms_max: 3 };
}

/// A clinic session that ops may open.
#[derive(Clone, Debug)]
pub(crate) struct Clinic {
    pub(crate) name: String,
    pub(crate) doctor: &'static str,
    pub(crate) department: &'static str,
    pub(crate) day: jiff::civil::Date,
    pub(crate) timezone: &'static str,
    pub(crate) start_hour: i8,
    pub(crate) release_at: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Open {
        clinic: usize,
        capacity: u32,
        exclusivity: Exclusivity,
    },
    Close {
        clinic: usize,
    },
    Resize {
        clinic: usize,
        capacity: u32,
    },
    Book {
        patient: u16,
        key: u16,
        clinic: usize,
    },
    Cancel {
        patient: u16,
        key: u16,
        clinic: usize,
        by: u16,
    },
    Poison {
        partition: u16,
    },
    Misroute {
        patient: u16,
        clinic: usize,
    },
    Crash {
        node: usize,
        down_ms: u64,
    },
    Pause {
        node: usize,
        ms: u64,
    },
    /// The machine loses its power, and with it what its store has not written to the disk.
    PowerLoss {
        node: usize,
        down_ms: u64,
    },
    Drain {
        node: usize,
        down_ms: u64,
    },
    Rebalance,
    Evict {
        node: usize,
    },
    LedgerLoss,
    LedgerCopy,
    LedgerBack,
    StoreFailover {
        ms: u64,
    },
    LogOutage {
        ms: u64,
    },
    NodeClock {
        node: usize,
        by_s: i64,
    },
    LogClock {
        by_s: u64,
    },
}

impl Action {
    /// The fault's kind; `None` for what people ask.
    pub(crate) const fn fault(&self) -> Option<&'static str> {
        Some(match self {
            Self::Open { .. }
            | Self::Close { .. }
            | Self::Resize { .. }
            | Self::Book { .. }
            | Self::Cancel { .. }
            | Self::Poison { .. }
            | Self::Misroute { .. } => return None,
            Self::Crash { .. } => "node crashed",
            Self::PowerLoss { .. } => "power lost, and the store's newest commits",
            Self::Pause { .. } => "node stopped for a while",
            Self::Drain { .. } => "node drained and restarted",
            Self::Rebalance => "partitions moved",
            Self::Evict { .. } => "partitions taken from a node that goes on",
            Self::LedgerLoss => "ledger emptied",
            Self::LedgerCopy => "ledger copied",
            Self::LedgerBack => "ledger's old copy came back",
            Self::StoreFailover { .. } => "store failed over",
            Self::LogOutage { .. } => "log away",
            Self::NodeClock { .. } => "clock of a node jumped",
            Self::LogClock { .. } => "clock of the log jumped",
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) at_ms: u64,
    pub(crate) action: Action,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// The ledger outlives its node and is shared, as Redis is; else each node has one of its own, as in the embedded profile.
    pub(crate) shared_ledger: bool,
    pub(crate) begins_at: Timestamp,
    pub(crate) clinics: Vec<Clinic>,
    pub(crate) noise: Noise,
    pub(crate) epoch_records_max: usize,
    pub(crate) batch_records_max: usize,
    pub(crate) epochs_in_flight_max: usize,
    pub(crate) ledger_lanes: usize,
    pub(crate) tickets_max: usize,
    pub(crate) window_s: u64,
    /// A key may name two sessions of a department's day. Dedup remembers every ticket then: one that it has forgotten and
    /// that comes back for another session is the known edge of ADR 0004.
    pub(crate) keys_are_shared: bool,
    /// A key may name sessions of two departments, which only the store can refuse: what the ledger gave has to go back.
    pub(crate) keys_cross_departments: bool,
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x6f72_6465_726c_7900);
        let shared_ledger = random.per_mille(700);
        let nodes = if shared_ledger { 1 + random.below(3) } else { 1 };
        let (timezone, day) = random.pick(&DAYS);
        let day: jiff::civil::Date = day.parse().expect("a day");
        let zone = jiff::tz::TimeZone::get(timezone).expect("a zone");
        let midnight = day.to_zoned(zone).expect("a moment").timestamp();
        let begins_at = Timestamp::from(midnight).minus(std::time::Duration::from_secs(random.within(60..7_200)));
        let faults = random.within(0..4);
        let mut plan = Self {
            seed,
            nodes,
            shared_ledger,
            begins_at,
            clinics: clinics(&mut random, begins_at, day, timezone),
            noise: Noise {
                refused: faults * random.within(0..12),
                lost: faults * random.within(0..12),
                late: faults * random.within(0..8),
                fatal: faults * random.within(0..3),
                latency_ms_max: random.pick(&[2, 4, 12, 40]),
            },
            epoch_records_max: random.pick(&[1, 4, 16, 64]),
            batch_records_max: random.pick(&[1, 8, 64]),
            epochs_in_flight_max: random.pick(&[1, 2, 4, 16]),
            ledger_lanes: random.pick(&[1, 2, 4]),
            tickets_max: 0,
            window_s: 0,
            keys_are_shared: random.per_mille(400),
            keys_cross_departments: false,
            steps: Vec::new(),
        };
        (plan.tickets_max, plan.window_s) = if plan.keys_are_shared {
            (1 << 16, 1_000_000)
        } else {
            (random.pick(&[2, 8, 64]), random.pick(&[2, 60, 86_400]))
        };
        plan.steps = steps(&mut random, &plan, faults);
        // Drawn apart, so that all other plans stay what they were.
        let mut random = Random::new(seed ^ 0x6372_6f73_7369_6e67);
        if random.per_mille(100) {
            plan.cross_departments(&mut random);
        }
        let mut random = Random::new(seed ^ 0x706f_7765_7220_6f66);
        if !plan.shared_ledger && random.per_mille(600) {
            plan.lose_power(&mut random);
        }
        plan
    }

    pub(crate) fn loses_power(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::PowerLoss { .. }))
    }

    /// In the embedded profile the log alone waits for the disk. What the store loses is decided once more, and the same way.
    fn lose_power(&mut self, random: &mut Random) {
        let length_ms = self.steps.last().map_or(1, |step| step.at_ms + 1);
        for _ in 0..random.within(1..5) {
            let action = Action::PowerLoss { node: 0, down_ms: random.pick(&[1, 50, 700]) };
            self.steps.push(Step { at_ms: random.within(0..length_ms), action });
        }
        self.steps.sort_by_key(|step| step.at_ms);
    }

    /// Lets keys book two departments. What is decided between such a booking and the store's refusal of it may be told less
    /// than it could have had, which is a known gap; so nothing of the same session is: epochs are of one record, or of one
    /// record a session, and one follows the other. Nothing is taken over, for a restore would hide what was not given back.
    fn cross_departments(&mut self, random: &mut Random) {
        let alone = random.per_mille(400);
        (self.keys_are_shared, self.keys_cross_departments) = (true, true);
        (self.tickets_max, self.window_s) = (1 << 16, 1_000_000);
        (self.shared_ledger, self.epochs_in_flight_max) = (true, 1);
        if alone {
            (self.nodes, self.epoch_records_max, self.batch_records_max) = (1 + random.below(3), 1, 1);
            self.noise.fatal = 0;
        } else {
            (self.nodes, self.epoch_records_max, self.batch_records_max) = (1, 64, 64);
            self.noise = Noise { latency_ms_max: 1, ..Noise::NONE };
        }
        for (index, clinic) in self.clinics.iter_mut().enumerate() {
            clinic.department = DEPARTMENTS[index % DEPARTMENTS.len()];
            clinic.release_at = self.begins_at;
        }
        let patients = random.within(4..24);
        self.steps.clear();
        for burst in 0..random.pick(&[20, 60, 120]) {
            for clinic in 0..self.clinics.len() {
                if burst > 0 && random.per_mille(300) {
                    continue;
                }
                let (patient, key) = (small(random.within(0..patients)), small(random.within(0..2)));
                let opened = Action::Open {
                    clinic,
                    capacity: capacity(random),
                    exclusivity: random.pick(&[Exclusivity::Session, Exclusivity::None]),
                };
                let action = match random.within(0..100) {
                    _ if burst == 0 => opened,
                    0..82 => Action::Book { patient, key, clinic },
                    82..94 => Action::Cancel { patient, key, clinic, by: patient },
                    94..97 => Action::Resize { clinic, capacity: capacity(random) },
                    97 => Action::Close { clinic },
                    _ => opened,
                };
                self.steps.push(Step { at_ms: burst * 150, action });
            }
        }
    }
}

fn clinics(random: &mut Random, begins_at: Timestamp, day: jiff::civil::Date, timezone: &'static str) -> Vec<Clinic> {
    let mut clinics = Vec::new();
    for index in 0..2 + random.below(8) {
        let doctor = DOCTORS[index % DOCTORS.len()];
        let later = i64::try_from(index / 4).expect("small");
        clinics.push(Clinic {
            name: format!("s{index}-{doctor}"),
            doctor,
            department: DEPARTMENTS[usize::from(random.per_mille(300))],
            day: day.checked_add(jiff::Span::new().days(later)).expect("a day"),
            timezone,
            // Where clocks change it is at one, two or three.
            start_hour: random.pick(&[1, 2, 8]),
            release_at: begins_at.plus(std::time::Duration::from_millis(random.pick(&[0, 0, 700, 3_000]))),
        });
    }
    clinics
}

const RULES: [Exclusivity; 4] =
    [Exclusivity::DepartmentDay, Exclusivity::DepartmentDay, Exclusivity::Session, Exclusivity::None];

fn steps(random: &mut Random, plan: &Plan, faults: u64) -> Vec<Step> {
    let clinics = plan.clinics.len();
    let mut steps = Vec::new();
    for clinic in 0..clinics {
        let action = open(random, clinic);
        steps.push(Step { at_ms: random.within(0..200), action });
    }
    let intents = random.pick(&[40, 120, 400, 1_200]);
    let length_ms = random.pick(&[1_000, 4_000, 12_000]);
    let patients = random.within(4..60);
    let ledger_faults = plan.shared_ledger && faults > 0 && random.per_mille(400);
    for _ in 0..intents {
        let at_ms = random.within(100..length_ms);
        let patient = small(random.within(0..patients));
        // While a ledger has lost something, what one node commits as another looks at what is lost is a known gap: there
        // no patient contends in two partitions.
        let clinic = if plan.shared_ledger && ledger_faults {
            (usize::from(patient) * 7) % clinics
        } else {
            random.below(clinics)
        };
        let key = small(random.within(0..3));
        let action = match random.within(0..100) {
            0..70 => Action::Book { patient, key, clinic },
            70..88 => {
                let by = if random.per_mille(100) { (patient + 1) % 60 } else { patient };
                Action::Cancel { patient, key, clinic, by }
            }
            88..92 => open(random, clinic),
            92..94 => Action::Close { clinic },
            94..98 => Action::Resize { clinic, capacity: capacity(random) },
            98 => Action::Poison { partition: small(random.within(0..u64::from(PARTITIONS))) },
            _ => Action::Misroute { patient, clinic },
        };
        // Some press the button again at once, some much later.
        if random.per_mille(150) && matches!(action, Action::Book { .. } | Action::Cancel { .. }) {
            let later = at_ms + random.pick(&[1, 30, 400, 3_000]);
            steps.push(Step { at_ms: later, action: action.clone() });
        }
        steps.push(Step { at_ms, action });
    }
    for _ in 0..faults * random.within(0..5) {
        let action = fault(random, plan.nodes, ledger_faults);
        steps.push(Step { at_ms: random.within(0..length_ms), action });
    }
    for _ in 0..random.within(0..3) {
        let by_s = random.pick(&[1, 60, 1_800, 5_000, 30_000, 90_000, 300_000]);
        steps.push(Step { at_ms: random.within(length_ms / 2..length_ms), action: Action::LogClock { by_s } });
    }
    steps.sort_by_key(|step| step.at_ms);
    steps
}

fn small(number: u64) -> u16 {
    u16::try_from(number).expect("small")
}

fn capacity(random: &mut Random) -> u32 {
    random.pick(&[1, 2, 3, 5, 12, 70])
}

fn open(random: &mut Random, clinic: usize) -> Action {
    Action::Open { clinic, capacity: capacity(random), exclusivity: random.pick(&RULES) }
}

fn fault(random: &mut Random, nodes: usize, ledger_faults: bool) -> Action {
    let node = random.below(nodes);
    match random.within(0..if ledger_faults { 15 } else { 11 }) {
        0 | 1 => Action::Crash { node, down_ms: random.pick(&[1, 50, 700]) },
        2 => Action::Pause { node, ms: random.pick(&[20, 300, 1_500]) },
        3 => Action::Drain { node, down_ms: random.pick(&[1, 50]) },
        4 | 5 => Action::Rebalance,
        6 => Action::Evict { node },
        7 | 8 => Action::StoreFailover { ms: random.pick(&[5, 100, 900]) },
        9 => Action::LogOutage { ms: random.pick(&[5, 100, 900]) },
        10 => Action::NodeClock { node, by_s: i64::try_from(random.within(0..400_000)).expect("small") - 200_000 },
        11 | 12 => Action::LedgerLoss,
        13 => Action::LedgerCopy,
        _ => Action::LedgerBack,
    }
}
