//! What bench-load asks when it is given no pipeline: lengths, or a file of prompts.

use std::path::PathBuf;

use clap::Args;

use crate::rows::kinds::Scenario;

/// What is asked.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// What is asked: NAME=PROMPT_TOKENS:OUTPUT_TOKENS; may be repeated
    #[arg(long = "scenario", value_name = "NAME=IN:OUT", value_parser = scenario, requires = "url")]
    pub scenarios: Vec<Scenario>,
    /// Draw lengths evenly from length × (1 − R) to length × (1 + R)
    #[arg(long, value_name = "R", requires = "scenarios", value_parser = ratio)]
    pub range_ratio: Option<f64>,
    /// The first so many tokens of a prompt are those of its group
    #[arg(long, value_name = "TOKENS", requires = "scenarios", value_parser = clap::value_parser!(u32).range(1..))]
    pub prefix: Option<u32>,
    /// Groups with different first tokens
    #[arg(long, value_name = "N", default_value_t = 1, requires = "prefix", value_parser = clap::value_parser!(u32).range(1..))]
    pub groups: u32,
    /// Turns of a session: each sends the whole talk so far and adds PROMPT_TOKENS
    #[arg(long, value_name = "N", requires = "scenarios", value_parser = clap::value_parser!(u32).range(1..))]
    pub turns: Option<u32>,
    /// Seconds from the end of a turn to the next
    #[arg(long, value_name = "SECONDS", value_parser = super::serve::seconds)]
    pub think: Option<std::time::Duration>,
    /// A file of prompts, in any shape that --convert reads; may be repeated
    #[arg(long = "dataset", value_name = "FILE", requires = "url")]
    pub datasets: Vec<PathBuf>,
    /// Output tokens of a row that says nothing about them
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub output_len: Option<u32>,
    /// Rows of the file may be sent to one server again
    #[arg(long, requires = "datasets")]
    pub prefix_reuse: bool,
}

fn scenario(text: &str) -> Result<Scenario, String> {
    let wrong = || format!("{text:?} is not NAME=PROMPT_TOKENS:OUTPUT_TOKENS, such as chat=1000:200");
    let (name, lengths) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (input, output) = lengths.split_once(':').ok_or_else(wrong)?;
    let length = |text: &str| text.parse().ok().filter(|n: &u32| *n > 0).ok_or_else(wrong);
    Ok(Scenario::random(name, length(input)?, length(output)?))
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..1.0).contains(ratio));
    ratio.ok_or_else(|| "a ratio is from 0 to below 1".into())
}
