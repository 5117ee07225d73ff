//! bench-rank: rank result rows and report the command to deploy.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serving_bench::cli::rank::{Args, Format};
use serving_bench::cli::{self, streams};
use serving_bench::error::{Error, Result};
use serving_bench::exit::Exit;
use serving_bench::jsonl::outgoing;
use serving_bench::notice::Notice;
use serving_bench::rank::{Entry, Intake, Options, Ranking, rank, release};
use serving_bench::report::html::html;
use serving_bench::report::markdown::markdown;
use serving_bench::report::table::{Look, table};
use serving_bench::report::{Report, csv, jsonl, release as release_report};

fn main() -> ExitCode {
    cli::run(|args: Args, notice| {
        let ranking = read(&args.files, args.options(), notice)?;
        if !args.baseline.is_empty() {
            let old = read(&args.baseline, args.options(), notice)?;
            let release = release(&old, &ranking, args.threshold);
            text(&release_report::markdown(&release, args.threshold))?;
            return Ok(if release.regressed() || release.changes.is_empty() { Exit::No } else { Exit::Done });
        }
        write(&ranking, &args)?;
        let exit = if ranking.nothing_passed() { Exit::No } else { Exit::Done };
        // The program ends here: nobody needs the memory of a million rows back.
        std::mem::forget(ranking);
        Ok(exit)
    })
}

fn read(files: &[PathBuf], options: Options, notice: &'static Notice) -> Result<Ranking> {
    let read = streams::parallel(files, || Intake::new(options.clone()), clean, notice);
    let (entries, intake) = Intake::together(read);
    if entries.is_empty() {
        return Err(Error::new("there are no result rows to rank (bench-normalize makes them)"));
    }
    Ok(rank(entries, &intake))
}

/// Rows of others are read without secrets: so none gets into a report.
fn clean(intake: &mut Intake, line: &str) -> Result<Option<Box<Entry>>> {
    intake.line(&outgoing(line))
}

fn write(ranking: &Ranking, args: &Args) -> Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let report = Report { ranking, demand: args.demand(), handoff: &args.handoff };
    match args.format {
        Format::Jsonl => jsonl::rows(ranking, &mut streams::row_writer()?),
        Format::Csv => bytes(&csv::csv(ranking)?),
        Format::Html => text(&html(&report)),
        Format::Auto if !terminal => text(&markdown(&report)),
        Format::Md => text(&markdown(&report)),
        Format::Auto | Format::Table => text(&table(&report, look(terminal))),
    }
}

fn text(text: &str) -> Result<()> {
    bytes(text.as_bytes())
}

fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = streams::stdout()?;
    out.write_all(bytes).and_then(|()| out.flush()).map_err(streams::write_error)
}

/// Colour only at a terminal and without NO_COLOR; the width is the terminal's, or what COLUMNS says.
fn look(terminal: bool) -> Look {
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = if terminal { seen.or(given) } else { given };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    Look { width: width.filter(|w| *w >= 40), colour: terminal && !no_color }
}
