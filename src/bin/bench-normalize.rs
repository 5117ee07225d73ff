//! bench-normalize: turn recorded runs into result rows.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;
use serving_bench::cli::normalize::Args;
use serving_bench::cli::{self, native, streams};
use serving_bench::exit::Exit;
use serving_bench::normalize::Fold;
use serving_bench::normalize::native::Format;
use serving_bench::row::Row;

fn main() -> ExitCode {
    cli::run(|args: Args, notice| {
        let mut out = streams::row_writer()?;
        let mut fold = Fold::default();
        let given = native::given(args.candidate.as_deref(), &args.set)?;
        let (foreign, own): (Vec<PathBuf>, Vec<PathBuf>) =
            args.files.iter().cloned().partition(|path| native::is_foreign(path));
        for path in &foreign {
            match native::read(path, &given, notice) {
                Ok(results) => results.iter().try_for_each(|result| out.write_typed("result", result))?,
                Err(e) => notice.error(&e),
            }
        }
        let rows = if own.is_empty() && !foreign.is_empty() { None } else { Some(streams::rows(&own, notice)) };
        for row in rows.into_iter().flatten() {
            let (row, place) = match row {
                Ok(row) => row,
                // What was read so far is still folded.
                Err(e) => {
                    notice.error(&e);
                    continue;
                }
            };
            if row.record().is_none() {
                let content = Value::Object(row.map().clone());
                if Format::of(&content).is_some() {
                    match native::of(&content, &native::named(&given, &place)) {
                        Ok(results) => results.iter().try_for_each(|result| out.write_typed("result", result))?,
                        Err(e) => notice.error(&e.at(place)),
                    }
                    continue;
                }
            }
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
