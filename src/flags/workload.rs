//! What bench-load asks when it is given no pipeline: lengths, or a file of prompts.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::load::dataset;
use crate::load::dataset::DatasetEntry;
use crate::programs::stdio;
use crate::rows::kinds::{Dataset, Scenario, SharedPrefix};

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

impl WorkloadArgs {
    /// The scenarios, and the rows that their file has at least.
    ///
    /// # Errors
    /// A file that cannot be read or has nothing to send.
    pub fn scenarios(&self, notice: &Notice) -> Result<Vec<Scenario>> {
        let mut all = self.scenarios.clone();
        for scenario in &mut all {
            scenario.range_ratio = self.range_ratio.filter(|ratio| *ratio > 0.0);
            scenario.shared_prefix = self.prefix.map(|tokens| SharedPrefix { tokens, groups: self.groups });
            scenario.turns = self.turns.filter(|turns| *turns > 1);
            scenario.kind = match (scenario.shared_prefix, scenario.turns) {
                (_, Some(_)) => "multi_turn",
                (Some(_), None) => "shared_prefix",
                (None, None) => "random",
            }
            .into();
            if self.prefix.is_some_and(|prefix| prefix >= scenario.input_len) {
                let why = format!(
                    "--prefix is a part of the prompt, and {} has {} tokens",
                    scenario.name, scenario.input_len
                );
                return Err(Error::new(why));
            }
        }
        for path in &self.datasets {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("dataset");
            let file = Dataset {
                path: path.display().to_string(),
                prefix_reuse: self.prefix_reuse,
                default_output_len: self.output_len,
                ..Dataset::default()
            };
            let mut scenario = Scenario { kind: "file".into(), dataset: Some(file), ..Scenario::random(stem, 0, 0) };
            describe(&mut scenario, notice)?;
            all.push(scenario);
        }
        for scenario in &mut all {
            scenario.think_s = self.think.map(|think| think.as_secs_f64()).filter(|s| *s > 0.0);
        }
        Ok(all)
    }
}

/// Reads the file of a scenario, says what is left out, and adds what its rows tell.
///
/// # Errors
/// When it cannot be read or has nothing to send.
pub fn describe(scenario: &mut Scenario, notice: &Notice) -> Result<()> {
    let Some(given) = scenario.dataset.clone() else { return Ok(()) };
    let path = Path::new(&given.path);
    let (sha256, read) = stdio::dataset(path, &given)?;
    broken(&given.path, &read, notice);
    for (why, n) in &read.left_out {
        notice.warn(format!("{}: {n} rows are left out: {why}", given.path));
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string();
    dataset::describe(scenario, &whole, &sha256, &read.entries).map_err(Error::new)?;
    let known = scenario.dataset.as_ref().map_or(0, |dataset| dataset.longest);
    let estimated = scenario.dataset.as_ref().is_some_and(|dataset| dataset.estimated);
    notice.say(format!(
        "{}: {} rows, {} prompt and {} output tokens in the middle, {known} together at most{}",
        given.path,
        read.entries.len(),
        scenario.input_len,
        scenario.output_len,
        if estimated { " (estimated: a quarter of the characters)" } else { "" }
    ));
    Ok(())
}

/// Requests per second of the data sets' own time stamps, the first where there are several; `None` where some scenario has
/// none.
#[must_use]
pub fn own_rate(scenarios: &[Scenario]) -> Option<f64> {
    let rates: Option<Vec<f64>> = scenarios.iter().map(|scenario| scenario.dataset.as_ref()?.rate).collect();
    rates?.first().copied()
}

/// Reports the lines of a file that are no rows.
pub fn broken(name: &str, read: &dataset::DatasetFile, notice: &Notice) {
    for (line, why) in &read.broken {
        notice.error(&Error::new(why.clone()).at(format!("{name}:{line}")));
    }
}

/// The rows of a data set that a candidate names.
///
/// # Errors
/// When it cannot be read.
pub fn entries(known: &Dataset) -> Result<(String, Vec<DatasetEntry>)> {
    let (sha256, read) = stdio::dataset(Path::new(&known.path), known)?;
    Ok((sha256, read.entries))
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
