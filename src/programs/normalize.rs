//! bench-normalize: turn recorded runs into result rows.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::flags::normalize::{Args, OutputFormat};
use crate::normalize::evals::Evaluation;
use crate::normalize::import::{ImportOverrides, Repeats};
use crate::normalize::{RowFold, StreamLine, claim, evals, llm_d};
use crate::programs::import::{Named, Refused};
use crate::programs::import_folder::MAX_FILE;
use crate::programs::input::InputSource;
use crate::programs::stdio::Output;
use crate::programs::{import, stdio};
use crate::rows::jsonl::{RowPlace, RowWriter};
use crate::rows::kinds::ResultRow;
use crate::rows::row::Row;
use crate::rows::words::FailureClass;
use serde_json::Value;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    super::run(|args: Args, notice| {
        let overrides = import::overrides(args.candidate.as_deref(), &args.set, args.name.clone())?;
        let evaluations = evaluations(&args.answers, notice)?;
        let output = Output::open(args.output.as_deref())?;
        let mut normalizing = Normalizer {
            out: output.rows()?,
            to: args.to,
            left_out: 0,
            fold: RowFold::default(),
            evaluations,
            held: Vec::new(),
            overrides,
            named: Named::default(),
            repeats: Repeats::default(),
            refused: Refused::default(),
            notice,
        };
        let inputs = args.files.iter().cloned().map(InputSource::of).map(|mut input| {
            let is_other = import::is_other_client(&mut input);
            (input, is_other)
        });
        let (others, own): (Vec<_>, Vec<_>) = inputs.partition(|(_, is_other)| *is_other);
        let has_rows = others.is_empty() || !own.is_empty();
        for (input, _) in others {
            match import::read(input, &normalizing.overrides, &mut normalizing.repeats, notice) {
                Ok(results) => results.iter().try_for_each(|result| normalizing.result(result))?,
                Err(e) => notice.error(&e),
            }
        }
        if has_rows {
            let own = own.into_iter().map(|(input, _)| input).collect();
            for line in stdio::lines_of(own, StreamLine::parse, notice) {
                match line {
                    Ok((StreamLine::Request(request), place)) => {
                        normalizing.fold.request(&request).unwrap_or_else(|e| notice.error(&e.at(place)));
                    }
                    Ok((StreamLine::Row(row), place)) => normalizing.row(row, place)?,
                    // What was read so far still counts.
                    Err(e) => notice.error(&e),
                }
            }
        }
        std::mem::take(&mut normalizing.refused).end(notice);
        let (results, nodes) = std::mem::take(&mut normalizing.fold).finish_with_nodes();
        if normalizing.to == OutputFormat::Rows {
            nodes.iter().try_for_each(|node| normalizing.out.write_typed("node", node))?;
        }
        for result in results {
            if result.failure_class == Some(FailureClass::Incomplete) {
                notice.error(&Error::new(result.failure_reason.clone().unwrap_or_default()));
            }
            normalizing.result(&result)?;
        }
        normalizing.evaluate()?;
        if normalizing.left_out > 0 {
            notice.warn(format!(
                "{} results without metrics skipped: --to llm-d has no report for them",
                normalizing.left_out
            ));
        }
        output.finish()?;
        Ok(ExitStatus::Done)
    })
}

/// The evaluations that the command line names.
fn evaluations(answers: &[String], notice: &Notice) -> Result<Vec<Evaluation>> {
    let mut all = Vec::new();
    for answer in answers {
        let (of, path) = answer.split_once('=').map_or((None, answer.as_str()), |(of, path)| (Some(of), path));
        let path = Path::new(path);
        let at = |e: Error| e.at(stdio::name(path));
        let text = stdio::read_text(path, MAX_FILE)?;
        let content = serde_json::from_str(&text).map_err(|e| at(Error::new("not JSON").because(e)))?;
        let file = evals::read(&content, of).map_err(at)?;
        file.left_out.iter().for_each(|why| notice.warn(format!("{}: {why}", stdio::name(path))));
        all.extend(file.found);
    }
    Ok(all)
}

struct Normalizer {
    out: RowWriter<File>,
    to: OutputFormat,
    left_out: usize,
    fold: RowFold,
    evaluations: Vec<Evaluation>,
    /// All results, if there are evaluations: that of a baseline may come last.
    held: Vec<Row>,
    overrides: ImportOverrides,
    named: Named,
    repeats: Repeats,
    refused: Refused,
    notice: &'static Notice,
}

impl Normalizer {
    fn row(&mut self, row: Row, place: RowPlace) -> Result<()> {
        // A row without `record` may be another client's result, or of unknown format; result rows of other tools are
        // recognized by their keys.
        if row.record().is_none() {
            return match self.imported(&Value::Object(row.map().clone()), &place) {
                Ok(results) => results.iter().try_for_each(|result| self.result(result)),
                Err(e) => {
                    self.refused.report(e, &place, Path::new(&*place.name), self.notice);
                    Ok(())
                }
            };
        }
        match self.fold.take(row) {
            Ok(Some(mut other)) => {
                if let Some(claim) = claim::hold(&mut other) {
                    self.notice.warn(format!("{place}: {claim}"));
                }
                self.pass(other)
            }
            Ok(None) => Ok(()),
            Err(e) => {
                self.notice.error(&e.at(place));
                Ok(())
            }
        }
    }

    /// The results of another client on one line.
    fn imported(&mut self, content: &Value, place: &RowPlace) -> Result<Vec<ResultRow>> {
        let (overrides, origin) = self.named.of(&self.overrides, &place.name)?;
        let found = import::of(content, overrides)?;
        Ok(found.into_iter().map(|found| self.repeats.number(origin, &place.to_string(), found)).collect())
    }

    fn result(&mut self, result: &ResultRow) -> Result<()> {
        if !self.evaluations.is_empty() {
            self.held.push(Row::new("result", result));
            return Ok(());
        }
        match self.to {
            OutputFormat::Rows => self.out.write_typed("result", result),
            OutputFormat::LlmD => self.report(llm_d::report(result)),
        }
    }

    /// A row that is not folded: unchanged, or as a report if it is a result row.
    fn pass(&mut self, row: Row) -> Result<()> {
        if !self.evaluations.is_empty() && row.record() == Some("result") {
            self.held.push(row);
            return Ok(());
        }
        self.write(&row)
    }

    fn write(&mut self, row: &Row) -> Result<()> {
        match self.to {
            OutputFormat::Rows => self.out.write(row),
            OutputFormat::LlmD => self.report(row.view::<ResultRow>().ok().and_then(|result| llm_d::report(&result))),
        }
    }

    /// Writes the evaluations into all results, and these to the output.
    fn evaluate(&mut self) -> Result<()> {
        let mut held = std::mem::take(&mut self.held);
        evals::write(&mut self.evaluations, &mut held);
        self.evaluations.iter().filter_map(Evaluation::unused).for_each(|why| self.notice.warn(why));
        held.iter().try_for_each(|row| self.write(row))
    }

    fn report(&mut self, report: Option<Value>) -> Result<()> {
        self.left_out += usize::from(report.is_none());
        report.map_or(Ok(()), |report| self.out.write_line(&report.to_string()))
    }
}
