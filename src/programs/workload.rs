//! The workload of bench-load --url: scenarios from the command line, and their files of prompts.

use std::path::Path;

use super::stdio;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::flags::workload::WorkloadArgs;
use crate::load::dataset;
use crate::load::dataset::DatasetEntry;
use crate::rows::kinds::{Dataset, Scenario, SharedPrefix};

/// The scenarios of the command line, with the lengths and counts of their files.
///
/// # Errors
/// A file that cannot be read or has no row that can be sent.
pub fn scenarios(args: &WorkloadArgs, notice: &Notice) -> Result<Vec<Scenario>> {
    let mut all = args.scenarios.clone();
    for scenario in &mut all {
        scenario.range_ratio = args.range_ratio.filter(|ratio| *ratio > 0.0);
        scenario.shared_prefix = args.prefix.map(|tokens| SharedPrefix { tokens, groups: args.groups });
        scenario.turns = args.turns.filter(|turns| *turns > 1);
        scenario.kind = match (scenario.shared_prefix, scenario.turns) {
            (_, Some(_)) => "multi_turn",
            (Some(_), None) => "shared_prefix",
            (None, None) => "random",
        }
        .into();
        if args.prefix.is_some_and(|prefix| prefix >= scenario.input_len) {
            let why = format!(
                "--prefix must be shorter than the prompts of {}, which have {} tokens",
                scenario.name, scenario.input_len
            );
            return Err(Error::new(why));
        }
    }
    for path in &args.datasets {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("dataset");
        let file = Dataset {
            path: path.display().to_string(),
            prefix_reuse: args.prefix_reuse,
            default_output_len: args.output_len,
            ..Dataset::default()
        };
        let mut scenario = Scenario { kind: "file".into(), dataset: Some(file), ..Scenario::random(stem, 0, 0) };
        describe(&mut scenario, notice)?;
        all.push(scenario);
    }
    for scenario in &mut all {
        scenario.think_s = args.think.map(|think| think.as_secs_f64()).filter(|s| *s > 0.0);
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

/// Requests per second of the timestamps of the first data set; `None` if any scenario has no timestamps.
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

/// The SHA-256 and the rows of a candidate's data set.
///
/// # Errors
/// When it cannot be read.
pub fn entries(dataset: &Dataset) -> Result<(String, Vec<DatasetEntry>)> {
    let (sha256, read) = stdio::dataset(Path::new(&dataset.path), dataset)?;
    Ok((sha256, read.entries))
}
