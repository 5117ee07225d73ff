//! The workload flags of bench-load --url: prompt and output lengths, or a file of prompts.

use std::path::PathBuf;

use clap::Args;

use crate::base::error::{Error, Result};
use crate::rows::kinds::{
    Dataset, MAX_OUTPUT_TOKENS, MAX_PROMPT_TOKENS, MAX_REQUESTS, MAX_TURNS, Scenario, SharedPrefix,
};
use crate::rows::words::DatasetKind;

/// The workload of bench-load --url.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// Random prompts: NAME=PROMPT_TOKENS:OUTPUT_TOKENS; may be repeated
    #[arg(long = "scenario", value_name = "NAME=IN:OUT", value_parser = scenario, requires = "url")]
    pub scenarios: Vec<Scenario>,
    /// Draw lengths uniformly from length × (1 − R) to length × (1 + R); R is at least 0 and below 1 [default: 0]
    #[arg(long, alias = "random-range-ratio", value_name = "R", requires = "scenarios", value_parser = ratio)]
    pub range_ratio: Option<f64>,
    /// Number of leading prompt tokens shared by all prompts of a group
    #[arg(long, value_name = "TOKENS", requires = "scenarios", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PROMPT_TOKENS)))]
    pub prefix: Option<u32>,
    /// Number of groups with different shared prefixes
    #[arg(long, value_name = "N", default_value_t = 1, requires = "prefix", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_REQUESTS)))]
    pub groups: u32,
    /// Turns per conversation; each resends the full history and adds PROMPT_TOKENS
    #[arg(long, value_name = "N", requires = "scenarios", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TURNS)))]
    pub turns: Option<u32>,
    /// Pause between the turns of a conversation, in seconds [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = super::serve::seconds)]
    pub think: Option<std::time::Duration>,
    /// File of prompts, in any format that --convert reads; may be repeated
    #[arg(long = "dataset", alias = "dataset-path", value_name = "FILE", requires = "url")]
    pub datasets: Vec<PathBuf>,
    /// Output tokens for rows of the file that do not specify them
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_OUTPUT_TOKENS)))]
    pub output_len: Option<u32>,
    /// Allow sending rows of the file to the same server again
    #[arg(long, requires = "datasets")]
    pub prefix_reuse: bool,
}

impl WorkloadArgs {
    /// The scenarios; for a file of prompts, only its path and how to use it.
    ///
    /// # Errors
    /// A shared prefix that is not shorter than its prompts.
    pub fn scenarios(&self) -> Result<Vec<Scenario>> {
        let mut all = self.scenarios.clone();
        for scenario in &mut all {
            scenario.range_ratio = self.range_ratio.filter(|ratio| *ratio > 0.0);
            scenario.shared_prefix = self.prefix.map(|tokens| SharedPrefix { tokens, groups: self.groups });
            scenario.turns = self.turns.filter(|turns| *turns > 1);
            scenario.kind = match (scenario.shared_prefix, scenario.turns) {
                (_, Some(_)) => DatasetKind::MultiTurn,
                (Some(_), None) => DatasetKind::SharedPrefix,
                (None, None) => DatasetKind::Random,
            };
            if self.prefix.is_some_and(|prefix| prefix >= scenario.input_len) {
                let why = format!(
                    "--prefix must be shorter than the prompts of {}, which have {} tokens",
                    scenario.name, scenario.input_len
                );
                return Err(Error::new(why));
            }
        }
        all.extend(self.datasets.iter().map(|path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("dataset");
            let file = Dataset {
                path: path.display().to_string(),
                prefix_reuse: self.prefix_reuse,
                default_output_len: self.output_len,
                ..Dataset::default()
            };
            Scenario { kind: DatasetKind::File, dataset: Some(file), ..Scenario::random(stem, 0, 0) }
        }));
        for scenario in &mut all {
            scenario.think_s = self.think.map(|think| think.as_secs_f64()).filter(|s| *s > 0.0);
        }
        Ok(all)
    }
}

fn scenario(text: &str) -> std::result::Result<Scenario, String> {
    let wrong = || format!("{text:?} is not NAME=PROMPT_TOKENS:OUTPUT_TOKENS, such as chat=1000:200");
    let (name, lengths) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (input, output) = lengths.split_once(':').ok_or_else(wrong)?;
    let length = |text: &str, most: u32, what: &str| {
        let n = text.parse().ok().filter(|n: &u32| *n > 0).ok_or_else(wrong)?;
        if n > most { Err(format!("{what} must have at most {most} tokens, got {n}")) } else { Ok(n) }
    };
    let (input, output) =
        (length(input, MAX_PROMPT_TOKENS, "a prompt")?, length(output, MAX_OUTPUT_TOKENS, "an answer")?);
    Ok(Scenario::random(name, input, output))
}

fn ratio(text: &str) -> std::result::Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..1.0).contains(ratio));
    ratio.ok_or_else(|| "must be at least 0 and below 1".into())
}
