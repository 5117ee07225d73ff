//! The workload of bench-load --url: scenarios from the command line, and their files of prompts.

use std::path::Path;

use super::stdio;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::flags::workload::WorkloadArgs;
use crate::load::dataset;
use crate::load::dataset::DatasetEntry;
use crate::rows::kinds::{Dataset, Scenario};

/// The scenarios of the command line, with the lengths and counts of their files.
///
/// # Errors
/// A prefix as long as its prompts; a file that cannot be read or has no row that can be sent.
pub fn scenarios(args: &WorkloadArgs, notice: &Notice) -> Result<Vec<Scenario>> {
    let mut all = args.scenarios()?;
    for scenario in &mut all {
        describe(scenario, notice)?;
    }
    Ok(all)
}

/// Reads the file of a scenario, reports the rows that are skipped, and adds the lengths and counts of the others.
///
/// # Errors
/// When it cannot be read or has no row that can be sent.
pub fn describe(scenario: &mut Scenario, notice: &Notice) -> Result<()> {
    let Some(file) = scenario.dataset.clone() else { return Ok(()) };
    let path = Path::new(&file.path);
    let (sha256, read) = stdio::dataset(path, &file)?;
    broken(&file.path, &read, notice);
    for (why, n) in &read.skipped {
        notice.warn(format!("{}: skipping {n} rows: {why}", file.path));
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string();
    dataset::describe(scenario, &whole, &sha256, &read.entries).map_err(Error::new)?;
    let longest = scenario.dataset.as_ref().map_or(0, |dataset| dataset.longest);
    let estimated = scenario.dataset.as_ref().is_some_and(|dataset| dataset.estimated);
    notice.say(format!(
        "{}: {} rows, median of {} prompt and {} output tokens, at most {longest} together{}",
        file.path,
        read.entries.len(),
        scenario.input_len,
        scenario.output_len,
        if estimated { " (estimated: a quarter of the characters)" } else { "" }
    ));
    Ok(())
}

/// Requests per second of the timestamps of the first dataset; `None` if any scenario has no timestamps.
#[must_use]
pub fn own_rate(scenarios: &[Scenario]) -> Option<f64> {
    let rates: Option<Vec<f64>> = scenarios.iter().map(|scenario| scenario.dataset.as_ref()?.rate).collect();
    rates?.first().copied()
}

/// Reports the lines of a file that are not JSON.
pub fn broken(name: &str, read: &dataset::DatasetFile, notice: &Notice) {
    for (line, why) in &read.broken {
        notice.error(&Error::new(why.clone()).at(format!("{name}:{line}")));
    }
}

/// The SHA-256 and the rows of a candidate's dataset.
///
/// # Errors
/// When it cannot be read.
pub fn entries(dataset: &Dataset) -> Result<(String, Vec<DatasetEntry>)> {
    let (sha256, read) = stdio::dataset(Path::new(&dataset.path), dataset)?;
    Ok((sha256, read.entries))
}
