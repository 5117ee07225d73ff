//! bench-expand: turn plans into candidates, the baseline first.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serving_bench::candidate::{closes, expand, round_robin};
use serving_bench::cli::expand::{Args, Format};
use serving_bench::cli::plans::{self, Loaded};
use serving_bench::cli::{self, streams};
use serving_bench::error::{Error, Result};
use serving_bench::exit::Exit;
use serving_bench::framework::Frameworks;
use serving_bench::jsonl::Writer;
use serving_bench::notice::Notice;
use serving_bench::plan::{Level, Plan};
use serving_bench::row::Row;
use serving_bench::schema::{Candidate, ResultRow};
use serving_bench::shell;

fn main() -> ExitCode {
    cli::run(|args: Args, notice| {
        let frameworks = streams::frameworks(args.frameworks.as_deref())?;
        let done = done(&args.done, notice)?;
        let mut expanding = Expanding { out: streams::row_writer()?, args: &args, frameworks, done, notice };
        let is_yaml = |path: &&PathBuf| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let (plans, rows): (Vec<_>, Vec<_>) = args.files.iter().partition(is_yaml);
        for path in &plans {
            expanding.file(path)?;
        }
        if plans.is_empty() || !rows.is_empty() {
            let rows: Vec<PathBuf> = rows.into_iter().cloned().collect();
            for row in streams::rows(&rows, notice) {
                let (row, place) = row?;
                expanding.row(&row, &place)?;
            }
        }
        Ok(Exit::Done)
    })
}

/// The keys of the units that result rows close.
fn done(paths: &[PathBuf], notice: &'static Notice) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    if paths.is_empty() {
        return Ok(keys);
    }
    // Without one of them everything in it would be run again: better to run nothing.
    for path in paths {
        streams::open(path)?;
    }
    for row in streams::rows(paths, notice) {
        let (row, place) = row?;
        // Somebody else's results have no units and close none.
        if row.str("record") != Some("result") {
            continue;
        }
        let result = match row.view::<ResultRow>() {
            Ok(result) => result,
            Err(e) => {
                notice.error(&e.at(place));
                continue;
            }
        };
        if closes(result.status, result.failure_class.as_deref()) {
            keys.extend(result.units);
        }
    }
    Ok(keys)
}

struct Expanding<'a> {
    out: Writer<File>,
    args: &'a Args,
    frameworks: Frameworks,
    done: BTreeSet<String>,
    notice: &'static Notice,
}

impl Expanding<'_> {
    fn file(&mut self, path: &Path) -> Result<()> {
        match plans::load(path, &self.frameworks, false, self.notice)? {
            Loaded::Good(good) => self.plan(good.0),
            Loaded::Bad => {
                self.notice.error(&Error::new("the plan has errors and gives no candidates").at(streams::name(path)));
                Ok(())
            }
        }
    }

    fn row(&mut self, row: &Row, place: &str) -> Result<()> {
        if row.record() != Some("plan") {
            return self.out.write(row);
        }
        let (findings, plan) = plans::of_row(row, &self.frameworks);
        for finding in findings.iter().filter(|f| f.level == Level::Error) {
            self.notice.error(&Error::new(format!("{}: {}", finding.pointer, finding.message)).at(place));
        }
        plan.map_or(Ok(()), |plan| self.plan(plan))
    }

    fn plan(&mut self, mut plan: Plan) -> Result<()> {
        if let Err(e) = plans::datasets(&mut plan, &self.frameworks, self.notice) {
            self.notice.error(&e);
            return Ok(());
        }
        let plan = &plan;
        let expansions = expand(plan, &self.frameworks)?;
        for e in &expansions {
            let n = e.candidates.len();
            let cut = if e.space > n { format!(", {} are left out by the cap", e.space - n) } else { String::new() };
            let open = |c: &&Candidate| c.units.iter().any(|unit| !self.done.contains(&unit.key));
            let done = match n - e.candidates.iter().filter(open).count() {
                0 => String::new(),
                1 => ", 1 is done".into(),
                done => format!(", {done} are done"),
            };
            self.notice.say(format!("{}: {n} candidates of {} in the search space{cut}{done}", e.framework, e.space));
        }
        for mut candidate in round_robin(expansions) {
            candidate.units.retain(|unit| !self.done.contains(&unit.key));
            if !candidate.units.is_empty() {
                self.write(&candidate)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, candidate: &Candidate) -> Result<()> {
        if self.args.format == Format::Jsonl {
            return self.out.write(&Row::new("candidate", candidate));
        }
        let what =
            if candidate.search.baseline { "baseline".to_string() } else { shell::settings(&candidate.server.changed) };
        self.out.write_line(&format!("# {}: {what}", candidate.candidate_id))?;
        match &candidate.failure_reason {
            Some(why) => self.out.write_line(&format!("# skipped: {}", why.replace('\n', " "))),
            None => self.out.write_line(&candidate.server_command),
        }
    }
}
