//! bench-normalize: turn recorded runs into result rows.

use std::process::ExitCode;

use serving_bench::cli::normalize::Args;
use serving_bench::cli::{self, streams};
use serving_bench::exit::Exit;
use serving_bench::normalize::Fold;
use serving_bench::row::Row;

fn main() -> ExitCode {
    cli::run(|args: Args, notice| {
        let mut out = streams::row_writer()?;
        let mut fold = Fold::default();
        for row in streams::rows(&args.files, notice) {
            let (row, place) = match row {
                Ok(row) => row,
                // What was read so far is still folded.
                Err(e) => {
                    notice.error(&e);
                    continue;
                }
            };
            match fold.take(row) {
                Ok(Some(other)) => out.write(&other)?,
                Ok(None) => {}
                Err(e) => notice.error(&e.at(place)),
            }
        }
        for result in fold.finish() {
            out.write(&Row::new("result", &result))?;
        }
        Ok(Exit::Done)
    })
}
