//! `--report`: a report of what a sweep has measured so far, running or not. Its folder is only read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::folder::{self, SweepFolder};
use super::steps;
use crate::base::error::{Context, Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::flags::expand::RetryPolicy;
use crate::flags::sweep::{Args, word};
use crate::metrics::nodes::NodeSpeeds;
use crate::programs::{earlier, stdio};
use crate::rank::Unfinished;
use crate::rows::jsonl::RowWriter;
use crate::rows::words::{FailureClass, UnfinishedReason};
use crate::system::process::pipeline::{Invocation, PipeEnds, PipeRunner};
use crate::system::process::proc::{SWEEP_MARK, with_variable};

/// Prints the report.
///
/// # Errors
/// No sweep is in the folder, or a program fails.
pub fn report(args: &Args, folder: &Path, runner: &mut PipeRunner, notice: &'static Notice) -> Result<ExitStatus> {
    let sweep = SweepFolder::at(folder.to_path_buf());
    let candidates = sweep.common("candidates.jsonl");
    if !candidates.is_file() {
        return Err(
            Error::new("no sweep is in this folder: it has no candidates.jsonl").at(folder.display().to_string())
        );
    }
    let planned = folder::planned(&candidates, notice)?;
    let root = folder.canonicalize().context("cannot read the folder")?;
    let running =
        with_variable(SWEEP_MARK, root.as_os_str()).iter().any(|process| process.name().starts_with("bench-"));
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let raw = whole_lines(sweep.raw_files(), scratch.path())?;
    if raw.is_empty() {
        let n = planned.units.len();
        notice.plain(format!("bench-sweep: nothing has been measured in {} yet: 0 of {n} runs", folder.display()));
        return Ok(ExitStatus::NothingMeasured);
    }
    let results = scratch.path().join("results.jsonl");
    let normalize = Invocation::of("bench-normalize").arg("--quiet").arg("--output").arg(&results).args(&raw);
    run(runner, normalize)?;
    if !results.is_file() {
        return Err(Error::new("bench-normalize failed: there is no report"));
    }
    let results = if running { without_open_runs(&results, scratch.path(), notice)? } else { results };
    let rows = earlier::rows(std::slice::from_ref(&results), notice)?;
    let done = earlier::done(&rows, &NodeSpeeds::of(&earlier::nodes(&rows)), RetryPolicy::Transient, notice);
    let done = planned.units.iter().filter(|unit| done.contains(*unit)).count();
    let reason = if running { UnfinishedReason::Running } else { UnfinishedReason::Interrupted };
    let never_started = folder::never_started(&planned, &results, notice)?;
    let unfinished = Unfinished { reason, done, planned: planned.units.len(), never_started };
    let unfinished = Some(unfinished).filter(|left| running || left.done < left.planned);
    let rank = steps::rank(&word(&args.format), unfinished.as_ref());
    let rank = if let Some(path) = &args.output { rank.arg("--output").arg(path) } else { rank };
    let ranked = run(runner, rank.arg(&results))?;
    match (folder::has_results(&results, notice)?, ranked) {
        (_, None | Some(2..)) => Err(Error::new("bench-rank failed: there is no report")),
        (false, _) => Ok(ExitStatus::NothingMeasured),
        (true, Some(1)) => Ok(ExitStatus::No),
        (true, Some(_)) => Ok(ExitStatus::Done),
    }
}

/// Runs a program; its status, `None` if a signal ended it.
fn run(runner: &mut PipeRunner, invocation: Invocation) -> Result<Option<i32>> {
    let ended = runner.run(&[invocation], PipeEnds::to(Stdio::inherit()))?;
    Ok(ended.first().and_then(|end| end.status.code()))
}

/// The files, the last one without the line that is being written.
fn whole_lines(mut files: Vec<PathBuf>, scratch: &Path) -> Result<Vec<PathBuf>> {
    let Some(last) = files.pop() else { return Ok(files) };
    let at = |e: std::io::Error| Error::new("cannot read").because(e).at(last.display().to_string());
    let mut file = File::open(&last).map_err(at)?;
    let length = file.metadata().map_err(at)?.len();
    let mut end = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1)).and_then(|_| file.read_exact(&mut end)).map_err(at)?;
    }
    if end == [b'\n'] {
        files.extend((length > 0).then_some(last));
        return Ok(files);
    }
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.take(length).read_to_end(&mut bytes)).map_err(at)?;
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
    let copy = scratch.join("raw.jsonl");
    File::create(&copy).and_then(|mut file| file.write_all(&bytes)).context("cannot write a temporary file")?;
    files.extend((!bytes.is_empty()).then_some(copy));
    Ok(files)
}

/// The results without those of the runs that are going on.
fn without_open_runs(results: &Path, scratch: &Path, notice: &'static Notice) -> Result<PathBuf> {
    let path = scratch.join("ended.jsonl");
    let mut out = RowWriter::new(File::create(&path).context("cannot write a temporary file")?);
    let open = [FailureClass::Interrupted, FailureClass::Incomplete];
    for row in stdio::rows(&[results.to_path_buf()], notice) {
        let (row, _) = row?;
        if !row.str("failure_class").is_some_and(|class| open.contains(&class.into())) {
            out.write(&row)?;
        }
    }
    Ok(path)
}
