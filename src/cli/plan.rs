//! The command that computes what a deployment needs.

use std::path::PathBuf;

use clap::Args;

use crate::plan::Preset;

/// Options of `orderly plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Start from a demand: what else is given replaces its numbers
    #[arg(long)]
    pub preset: Option<Preset>,

    /// Doctors
    #[arg(long, value_name = "N", required_unless_present_any = ["preset", "one_machine"], value_parser = clap::value_parser!(u32).range(1..))]
    pub doctors: Option<u32>,

    /// Intents a second while the peak lasts
    #[arg(long, value_name = "RATE", required_unless_present = "preset", value_parser = positive)]
    pub peak_rps: Option<f64>,

    /// Milliseconds within which 99 of 100 are to have their outcome
    #[arg(long, value_name = "MS", required_unless_present_any = ["preset", "one_machine"], value_parser = positive)]
    pub p99_ms: Option<f64>,

    /// Patients: no more of them are connected at once [default: the preset's, else 1,000,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub patients: Option<u64>,

    /// Days that decisions are kept
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..))]
    pub retention_days: u32,

    /// How long the peak lasts, in seconds, at most an hour
    #[arg(long, value_name = "S", default_value = "60", value_parser = peak_seconds)]
    pub peak_seconds: f64,

    /// Days ahead that can be booked
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..))]
    pub days_open: u32,

    /// Places of a doctor's day
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub places: u32,

    /// The part of the peak that gets a place, 0 to 1 [default: a day's places ÷ the peak's intents]
    #[arg(long, value_name = "PART", value_parser = share)]
    pub booked_share: Option<f64>,

    /// Cores of an ingress, a pipeline and a broker
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub node_cores: u16,

    /// Costs that orderly-bench costs measured [default: those in the program]
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,

    /// Everything and the load client on one machine of so many cores, as orderly-bench plan measures it
    #[arg(long, value_name = "CORES", value_parser = clap::value_parser!(u16).range(1..))]
    pub one_machine: Option<u16>,

    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err("it must be greater than 0".to_owned()) }
}

fn peak_seconds(text: &str) -> Result<f64, String> {
    let value = positive(text)?;
    if (0.1..=3_600.0).contains(&value) { Ok(value) } else { Err("it must be 0.1 to 3600".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("it must be 0 to 1".to_owned()) }
}
