//! bench-rank: rank result rows and report the command to deploy.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serving_bench::cli::rank::{Args, Format};
use serving_bench::cli::{self, streams};
use serving_bench::error::{Error, Result};
use serving_bench::exit::Exit;
use serving_bench::rank::{Entry, Ranking, rank};
use serving_bench::report::table::{Look, table};
use serving_bench::report::{csv, jsonl, markdown};

fn main() -> ExitCode {
    cli::run(|args: Args, notice| {
        let mut entries = Vec::new();
        for row in streams::rows(&args.files, notice) {
            match row {
                Ok((row, _)) if row.record() == Some("result") => entries.push(Entry::read(row)),
                Ok(_) => {}
                // What was read so far is still ranked.
                Err(e) => notice.error(&e),
            }
        }
        if entries.is_empty() {
            return Err(Error::new("there are no result rows to rank (bench-normalize makes them)"));
        }
        let ranking = rank(entries, args.rank_by.into());
        write(&ranking, args.format)?;
        Ok(if ranking.nothing_passed() { Exit::No } else { Exit::Done })
    })
}

fn write(ranking: &Ranking, format: Format) -> Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let text = match format {
        Format::Jsonl => {
            let mut out = streams::row_writer()?;
            return jsonl::rows(ranking).iter().try_for_each(|row| out.write(row));
        }
        Format::Csv => csv::csv(ranking)?,
        Format::Auto if !terminal => markdown::markdown(ranking).into_bytes(),
        Format::Md => markdown::markdown(ranking).into_bytes(),
        Format::Auto | Format::Table => table(ranking, look(terminal)).into_bytes(),
    };
    let mut out = streams::stdout()?;
    out.write_all(&text).and_then(|()| out.flush()).map_err(streams::write_error)
}

/// Colour only at a terminal and without NO_COLOR; the width is the terminal's, or what COLUMNS says.
fn look(terminal: bool) -> Look {
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = if terminal { seen.or(given) } else { given };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    Look { width: width.filter(|w| *w >= 40), colour: terminal && !no_color }
}
