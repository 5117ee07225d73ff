//! bench-expand: turn plans into candidates, the baseline first.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::engines::framework::Frameworks;
use crate::flags::expand::{Args, ExpandFormat, SearchStage};
use crate::plan::expand::{Estimator, FirstPassScore, expand, finalists, on_top_of, round_robin};
use crate::plan::{CheckContext, Level, Plan};
use crate::programs::plans::PlanSource;
use crate::programs::stdio::Output;
use crate::programs::{earlier, emit, plans, stdio};
use crate::rank::Ranking;
use crate::report::text::BIND;
use crate::rows::jsonl::{RowPlace, RowWriter};
use crate::rows::kinds::{Candidate, CandidatePosition};
use crate::rows::row::Row;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    super::run(|args: Args, notice| {
        let frameworks = stdio::frameworks(args.frameworks.as_deref())?;
        if let [tool, _] = &args.emit[..]
            && tool != "vllm-sweep"
        {
            return Err(Error::new(format!("unknown tool {tool:?} of --emit; known: vllm-sweep")));
        }
        if args.stage == SearchStage::Plain && !args.on.is_empty() {
            return Err(Error::new("--on requires --stage speculative"));
        }
        let done = earlier::done(&args.done, args.retry, notice)?;
        let (ranking, best) = match (&args.on[..], &args.from[..]) {
            ([], []) => (None, None),
            ([], from) => (None, Some(earlier::best(&earlier::ranking(from, notice)?))),
            (on, _) => (Some(earlier::ranking(on, notice)?), None),
        };
        let output = Output::open(args.output.as_deref())?;
        let mut expander = Expander {
            out: output.rows()?,
            args: &args,
            frameworks,
            done,
            ranking,
            best,
            notice,
            estimator: Estimator::default(),
            says_bind: false,
            candidates: 0,
            pending: Vec::new(),
        };
        let is_yaml = |path: &&PathBuf| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let (plans, rows): (Vec<_>, Vec<_>) = args.files.iter().partition(is_yaml);
        for path in &plans {
            expander.file(path)?;
        }
        if plans.is_empty() || !rows.is_empty() {
            let rows: Vec<PathBuf> = rows.into_iter().cloned().collect();
            for row in stdio::rows(&rows, notice) {
                let (row, place) = row?;
                expander.row(&row, &place)?;
            }
        }
        expander.flush()?;
        // Without some of the plans the candidates are not complete.
        if notice.exit(ExitStatus::Done) == ExitStatus::Done {
            output.finish()?;
        }
        Ok(ExitStatus::Done)
    })
}

struct Expander<'a> {
    out: RowWriter<File>,
    args: &'a Args,
    frameworks: Frameworks,
    done: BTreeSet<String>,
    ranking: Option<Ranking>,
    best: Option<Vec<FirstPassScore>>,
    notice: &'static Notice,
    estimator: Estimator,
    /// The advice about addresses is printed once.
    says_bind: bool,
    /// Number of candidates of all plans so far that run, or ran before.
    candidates: usize,
    /// The rows to write once all plans are read: their places are among all candidates.
    pending: Vec<PendingRow>,
}

/// A row that is written once all plans are read.
enum PendingRow {
    /// A row of another kind, unchanged.
    Other(Row),
    /// A candidate.
    Candidate(Box<Candidate>),
}

impl Expander<'_> {
    fn file(&mut self, path: &Path) -> Result<()> {
        let source = PlanSource::read(path, &self.frameworks, self.notice)?;
        let mut context = CheckContext { gpu: super::preflight::detect(), ..CheckContext::only(&self.frameworks) };
        match source.and_then(|source| source.check(&mut context, Vec::new(), false, self.notice)) {
            Some(valid) => self.plan(valid.plan),
            None => {
                self.notice.error(&Error::new("the plan has errors: no candidates").at(stdio::name(path)));
                Ok(())
            }
        }
    }

    fn row(&mut self, row: &Row, place: &RowPlace) -> Result<()> {
        if row.record() != Some("plan") {
            self.pending.push(PendingRow::Other(row.clone()));
            return Ok(());
        }
        let (findings, plan) = plans::of_row(row, &self.frameworks);
        for finding in findings.iter().filter(|f| f.level() == Level::Error) {
            self.notice.error(
                &Error::new(format!("{}: {}: {}", finding.code, finding.pointer, finding.message)).at(place.clone()),
            );
        }
        plan.map_or(Ok(()), |plan| self.plan(plan))
    }

    fn plan(&mut self, mut plan: Plan) -> Result<()> {
        if let Err(e) = plans::datasets(&mut plan, &self.frameworks, self.notice) {
            self.notice.error(&e);
            return Ok(());
        }
        let mut expansions = expand(&plan, &self.frameworks)?;
        if self.args.stage == SearchStage::Speculative {
            let leaders = self.ranking.as_ref().map(earlier::leaders).unwrap_or_default();
            let (plan, without) = on_top_of(plan.clone(), &expansions, &leaders, &self.frameworks);
            for framework in without {
                self.notice
                    .warn(format!("{framework}: no result of a plain candidate in --on: skipping its second stage"));
            }
            expansions = expand(&plan, &self.frameworks)?;
        }
        expansions.iter().flat_map(|e| plans::summary(e, &self.done)).for_each(|line| self.notice.say(line));
        let mut candidates = round_robin(expansions);
        if let Some(best) = &self.best {
            if best.is_empty()
                || !candidates.iter().any(|c| best.iter().any(|best| best.candidate_id == c.candidate_id))
            {
                self.notice.warn("no result in --from belongs to a candidate of this plan");
            }
            candidates = finalists(candidates, best, self.args.top.into(), self.args.repeats.clone());
        }
        for candidate in candidates.iter_mut().filter(|candidate| candidate.status.is_none()) {
            self.candidates += 1;
            candidate.position = Some(CandidatePosition { index: self.candidates, of: 0, units_left: 0 });
        }
        earlier::drop_done(&mut candidates, &self.done, self.notice);
        let estimated = self.estimator.estimate(candidates.iter(), &self.frameworks);
        if estimated.starts > 0 {
            self.notice.say(format!("{estimated}"));
        }
        if plan.tier == 3 && !self.args.accept_long_run && self.args.budget.is_none() {
            let why = format!("a tier 3 plan takes {}: use --accept-long-run or --budget SECONDS", estimated.range());
            self.notice.error(&Error::new(why));
            return Ok(());
        }
        if let [_, folder] = &self.args.emit[..] {
            let vllm = self.frameworks.get("vllm").ok_or_else(|| Error::new("missing definition of vllm"))?;
            let sweeps = emit::vllm_sweeps(Path::new(folder), &candidates, vllm)?;
            emit::unsupported(&candidates, vllm).iter().for_each(|what| self.notice.warn(what));
            for (folder, n) in sweeps {
                let folder = folder.display();
                self.notice
                    .say(format!("{folder}: {n} candidates for `vllm bench sweep serve`; run sh sweep.sh there"));
            }
            return Ok(());
        }
        self.pending.extend(candidates.into_iter().map(|candidate| PendingRow::Candidate(Box::new(candidate))));
        Ok(())
    }

    /// Writes the rows, the candidates with their places among all.
    fn flush(&mut self) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        let mut units_left = 0;
        for row in pending.iter_mut().rev() {
            if let PendingRow::Candidate(candidate) = row
                && let Some(position) = &mut candidate.position
            {
                units_left += candidate.units.len();
                *position = CandidatePosition { of: self.candidates, units_left, ..*position };
            }
        }
        pending.iter().try_for_each(|row| match row {
            PendingRow::Other(row) => self.out.write(row),
            PendingRow::Candidate(candidate) => self.write(candidate),
        })
    }

    fn write(&mut self, candidate: &Candidate) -> Result<()> {
        match self.args.format {
            ExpandFormat::Jsonl => self.out.write_typed("candidate", candidate),
            ExpandFormat::Sh => {
                if !std::mem::replace(&mut self.says_bind, true) {
                    self.out.write_line(&format!("# {BIND}"))?;
                }
                plans::as_shell(candidate).iter().try_for_each(|line| self.out.write_line(line))
            }
        }
    }
}
