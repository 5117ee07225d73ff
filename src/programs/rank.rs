//! bench-rank: rank result rows and report the command to deploy.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::flags::rank::{Args, ReportFormat};
use crate::programs::deploy;
use crate::programs::stdio;
use crate::programs::stdio::Output;
use crate::rank::{Intake, RankOptions, Ranking, rank, release};
use crate::report::html::html;
use crate::report::markdown::markdown;
use crate::report::table::{TableStyle, table};
use crate::report::{Report, csv, explain, jsonl, release as release_report};
use crate::rows::jsonl::{outgoing, shown};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    super::run(|args: Args, notice| {
        let out = Output::open(args.output.as_deref())?;
        let ranking = read(&args.files, args.options(), args.format, notice)?;
        if !args.baseline.is_empty() {
            let old = read(&args.baseline, args.options(), args.format, notice)?;
            let release = release(&old, &ranking, args.threshold);
            out.bytes(release_report::markdown(&release, args.threshold).as_bytes())?;
            out.finish()?;
            return Ok(if release.regressed() || release.changes.is_empty() {
                ExitStatus::No
            } else {
                ExitStatus::Done
            });
        }
        check_handoff(&ranking, args.handoff.as_deref())?;
        check_scenarios(&ranking, &args)?;
        if let Some(name) = &args.explain {
            out.bytes(explain::explain(&ranking, name)?.as_bytes())?;
            out.finish()?;
            return Ok(ExitStatus::Done);
        }
        if let Some(name) = &args.deploy {
            out.bytes(deploy::text(&ranking, name, args.form, notice)?.as_bytes())?;
            out.finish()?;
            return Ok(ExitStatus::Done);
        }
        write(&ranking, &args, &out)?;
        out.finish()?;
        let exit = if ranking.nothing_passed() { ExitStatus::No } else { ExitStatus::Done };
        // The program ends here: freeing the memory of a million rows would be wasted time.
        std::mem::forget(ranking);
        Ok(exit)
    })
}

fn read(files: &[PathBuf], options: RankOptions, format: ReportFormat, notice: &'static Notice) -> Result<Ranking> {
    // Secrets are removed from the rows of other tools, so that none gets into a report.
    let for_programs = format == ReportFormat::Jsonl;
    let clean = |intake: &mut Intake, line: &str| intake.line(&if for_programs { outgoing(line) } else { shown(line) });
    let read = stdio::parallel(files, || Intake::new(options.clone()), clean, notice);
    let (entries, intake) = Intake::together(read);
    if entries.is_empty() {
        return Err(Error::new("no result rows to rank; run bench-normalize first"));
    }
    Ok(rank(entries, &intake))
}

/// A framework that no row has is a mistake.
fn check_handoff(ranking: &Ranking, name: Option<&str>) -> Result<()> {
    let known: Vec<&str> = ranking.tried.keys().map(|framework| &**framework).collect();
    match name.filter(|name| *name != "none" && !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Error::new(format!("--handoff {name}: no row is of this framework; known: {}, none", known.join(", "))))
        }
    }
}

/// A scenario that no row has is a mistake.
fn check_scenarios(ranking: &Ranking, args: &Args) -> Result<()> {
    let known: BTreeSet<&str> =
        ranking.all().map(|entry| &*entry.group.scenario).filter(|name| !name.is_empty()).collect();
    let weights = args.weights.iter().map(|(name, _)| ("--weights", name));
    let limits = args.sla.iter().filter_map(|(scenario, ..)| Some(("--sla", scenario.as_ref()?)));
    match weights.chain(limits).find(|(_, name)| !known.contains(name.as_str())) {
        // Nothing was started, so that no row has a scenario.
        Some((flag, name)) if !known.is_empty() => {
            let known: Vec<&str> = known.into_iter().collect();
            Err(Error::new(format!("{flag} {name}: no row is of this scenario; known: {}", known.join(", "))))
        }
        Some(_) | None => Ok(()),
    }
}

fn write(ranking: &Ranking, args: &Args, out: &Output) -> Result<()> {
    let terminal = out.is_terminal();
    let handoff = args.handoff.as_deref().unwrap_or("sglang");
    let report = Report { ranking, demand: args.demand(), handoff, unfinished: args.unfinished.clone() };
    match args.format {
        ReportFormat::Jsonl => jsonl::rows(ranking, report.unfinished.as_ref(), &mut out.rows()?),
        ReportFormat::Csv => csv::csv(ranking, report.unfinished.as_ref(), |part| out.bytes(part)),
        ReportFormat::Html => out.bytes(html(&report).as_bytes()),
        ReportFormat::Auto if !terminal => out.bytes(markdown(&report).as_bytes()),
        ReportFormat::Md => out.bytes(markdown(&report).as_bytes()),
        ReportFormat::Auto | ReportFormat::Table => out.bytes(table(&report, look(terminal)).as_bytes()),
    }
}

/// Colour only on a terminal and without NO_COLOR; the width is the terminal's, or COLUMNS.
fn look(terminal: bool) -> TableStyle {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = if terminal { measured.or(columns) } else { columns };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    TableStyle { width: width.filter(|w| *w >= 40), colour: terminal && !no_color }
}
