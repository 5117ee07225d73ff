//! bench-expand: turn plans into candidates, the baseline first.

mod chosen;
mod fitted;
mod price;
mod shares;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use self::chosen::ChosenRuns;
use self::shares::TimeShares;
use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::engines::framework::Frameworks;
use crate::flags::expand::{Args, ExpandFormat, SearchStage};
use crate::flags::fit::FitTime;
use crate::metrics::nodes::{NodeSpeeds, in_words as in_node_words};
use crate::metrics::search::BEST;
use crate::plan::expand::{
    Estimator, Finalists, FirstPassScore, StageCandidates, calibration, expand, finalists, likely_after, likely_stages,
    on_top_of, round_robin, slot_check,
};
use crate::plan::{CheckContext, Level, Plan};
use crate::programs::earlier::StageRows;
use crate::programs::input::InputSource;
use crate::programs::parts::PartList;
use crate::programs::plans::PlanSource;
use crate::programs::stdio::Output;
use crate::programs::{claims, earlier, emit, plans, preflight, stdio, time_limit};
use crate::rank::Ranking;
use crate::report::text::BIND;
use crate::rows::jsonl::{RowPlace, RowWriter};
use crate::rows::kinds::{Candidate, CandidatePosition};
use crate::rows::row::Row;
use crate::rows::words::Stage;
use crate::system::claims::ClaimFolder;
use crate::system::process::proc;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::programs::run(|mut args: Args, notice| {
        let (plans, done) = earlier::plans_among(std::mem::take(&mut args.done));
        let inputs: Vec<InputSource> = args.files.iter().cloned().map(InputSource::of).chain(plans).collect();
        args.files = inputs.iter().map(|input| input.path().to_path_buf()).collect();
        let frameworks = stdio::frameworks(args.frameworks.as_deref())?;
        if let [tool, _] = &args.emit[..]
            && tool != "vllm-sweep"
        {
            return Err(Error::new(format!("unknown tool {tool:?} of --emit; known: vllm-sweep")));
        }
        if args.stage != Some(SearchStage::Speculative) && !args.on.is_empty() {
            return Err(Error::new("--on requires --stage speculative"));
        }
        let parts = parts(&args)?;
        let fit = time_limit::from_now(&args.end)?;
        let mut rows = earlier::rows_of(done, notice)?;
        let known = earlier::starts(&rows);
        let nodes = earlier::nodes(&rows);
        let speeds = NodeSpeeds::of(&nodes);
        let calibrated = nodes.into_iter().flat_map(|node| node.units).collect();
        let apart = speeds.apart_by(&proc::node());
        let (done, staged) = (earlier::done(&rows, &speeds, args.retry, notice), earlier::stages(&rows));
        let (ranking, best) = match (&args.on[..], &args.from[..]) {
            ([], []) => (None, None),
            ([], from) => (None, Some(earlier::best(&earlier::ranking(from, notice)?))),
            (on, _) => (Some(earlier::ranking(on, notice)?), None),
        };
        let mut estimator = Estimator::default();
        rows.extend(earlier::rows(&args.times, notice)?);
        estimator.observed = earlier::times(&rows);
        estimator.slots = args.slots.as_ref().map(|slots| (slots.slots().len(), slots.slots()[0].devices().len()));
        let output = Output::open(args.output.as_deref())?;
        let mut expander = Expander {
            out: output.rows()?,
            args: &args,
            frameworks,
            done,
            staged,
            ranking,
            best,
            notice,
            estimator,
            says_bind: false,
            candidates: 0,
            pending: Vec::new(),
            parts,
            gpus: 0,
            known,
            apart,
            calibrated,
            claimed: BTreeMap::new(),
            fit,
            gpu: OnceCell::new(),
            shares: TimeShares::default(),
        };
        let (plans, rows): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| plans::is_plan(input.path()));
        let rows = (plans.is_empty() || !rows.is_empty()).then(|| stdio::lines_of(rows, Row::parse, notice));
        expander.all(&plans, rows.into_iter().flatten())?;
        expander.flush()?;
        // Without some of the plans the candidates are not complete.
        if notice.exit(ExitStatus::Done) == ExitStatus::Done {
            output.finish()?;
        }
        Ok(ExitStatus::Done)
    })
}

/// All stages of a sweep that begins: the first, if it is there already, and those likely to follow.
fn all_stages(mut rest: Vec<StageCandidates>, candidates: &[Candidate]) -> Vec<StageCandidates> {
    match &mut rest[..] {
        [StageCandidates { stage: Some(Stage::Screen), candidates: screen }] => {
            likely_after(std::mem::take(screen), candidates, BEST)
        }
        _ => likely_stages(candidates, BEST),
    }
}

struct Expander<'a> {
    out: RowWriter<File>,
    args: &'a Args,
    frameworks: Frameworks,
    done: BTreeSet<String>,
    staged: StageRows,
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
    /// The parts to write instead of candidates.
    parts: Option<PartList>,
    /// The highest number of GPUs of a plan.
    gpus: u32,
    /// The starts that the results of --done include.
    known: BTreeSet<String>,
    /// How fast this node is, if it differs from the others.
    apart: Option<f64>,
    /// The units of calibrations that are done.
    calibrated: BTreeSet<String>,
    /// With --claim, the first unit of each candidate in its plan.
    claimed: BTreeMap<String, String>,
    /// The time in which the runs are to end, by the command line.
    fit: Option<FitTime>,
    /// The GPUs of this host, once a plan asks for them.
    gpu: OnceCell<Option<String>>,
    /// The shares of the plans in the time.
    shares: TimeShares,
}

/// The parts that a format for several hosts lists; `None` for any other format.
fn parts(args: &Args) -> Result<Option<PartList>> {
    match (args.format, args.parts) {
        (ExpandFormat::Jsonl | ExpandFormat::Sh, Some(_)) => {
            Err(Error::new("--parts requires --format matrix or k8s-job; --part K/N writes the candidates of one part"))
        }
        (ExpandFormat::Jsonl | ExpandFormat::Sh, None) => Ok(None),
        (ExpandFormat::Matrix | ExpandFormat::K8sJob, None) => {
            Err(Error::new("this format requires --parts N, the number of jobs"))
        }
        (ExpandFormat::K8sJob, Some(_)) if args.files.len() != 1 => {
            Err(Error::new("--format k8s-job takes one plan file"))
        }
        (ExpandFormat::Matrix | ExpandFormat::K8sJob, Some(parts)) => Ok(Some(PartList::new(parts))),
    }
}

/// A row that is written once all plans are read.
enum PendingRow {
    /// A row of another kind, unchanged.
    Other(Row),
    /// A candidate.
    Candidate(Box<Candidate>),
}

impl Expander<'_> {
    fn all(&mut self, plans: &[InputSource], rows: impl Iterator<Item = Result<(Row, RowPlace)>>) -> Result<()> {
        if self.fit.is_none() {
            for plan in plans {
                self.notice.together(|| self.read(plan)?.map_or(Ok(()), |source| self.source(&source)))?;
            }
            return rows.into_iter().try_for_each(|row| row.and_then(|(row, place)| self.row(&row, &place)));
        }
        // To share the time among plans, all of them must be known.
        let sources = plans.iter().filter_map(|plan| self.read(plan).transpose()).collect::<Result<Vec<_>>>()?;
        let rows = rows.collect::<Result<Vec<_>>>()?;
        sources.iter().for_each(|source| self.shares.add(source.search()));
        let plans = rows.iter().filter(|(row, _)| row.record() == Some("plan"));
        plans.for_each(|(row, _)| self.shares.add(row.get("search")));
        sources.iter().try_for_each(|source| self.source(source))?;
        rows.into_iter().try_for_each(|(row, place)| self.row(&row, &place))
    }

    fn read(&self, plan: &InputSource) -> Result<Option<PlanSource>> {
        let source = PlanSource::read(plan.path(), &self.frameworks, self.notice)?;
        if source.is_none() {
            self.notice.error(&Error::new("the plan has errors: no candidates").at(stdio::name(plan.path())));
        }
        Ok(source)
    }

    fn source(&mut self, source: &PlanSource) -> Result<()> {
        let gpu = self.gpu.get_or_init(preflight::detect).clone();
        let mut context = CheckContext { gpu, ..CheckContext::only(&self.frameworks) };
        let plan = source.check(&mut context, Vec::new(), false, self.notice).map(|valid| valid.plan);
        if plan.is_none() {
            self.notice.error(&Error::new("the plan has errors: no candidates").at(source.name()));
        }
        self.plan(plan)
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
        self.plan(plan)
    }

    /// The candidates of a plan; `None` for one with errors, which have been reported.
    fn plan(&mut self, plan: Option<Plan>) -> Result<()> {
        let share = self.shares.next();
        let Some(mut plan) = plan else { return Ok(()) };
        let fit = self.time_limit(&plan, share);
        if let Err(e) = plans::datasets(&mut plan, &self.frameworks, self.notice) {
            self.notice.error(&e);
            return Ok(());
        }
        let mut expansions = expand(&plan, &self.frameworks)?;
        if self.args.stage == Some(SearchStage::Speculative) {
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
            let (top, repeats) = (self.args.top.into(), self.args.repeats.clone());
            candidates = finalists(candidates, best, &Finalists { top, baselines: true, repeats });
        }
        if self.args.calibrate {
            let mut baselines = calibration(&candidates, &proc::node());
            earlier::leave_out(&mut baselines, &self.calibrated);
            self.pending.extend(baselines.into_iter().map(|candidate| PendingRow::Candidate(Box::new(candidate))));
            return Ok(());
        }
        if let Some(slots) = &self.args.slot_check {
            let mut parts = slot_check(&candidates, slots, &proc::node());
            earlier::leave_out(&mut parts, &self.calibrated);
            self.pending.extend(parts.into_iter().map(|candidate| PendingRow::Candidate(Box::new(candidate))));
            return Ok(());
        }
        let own = self.args.part.map(|part| part.of_candidates(&candidates));
        let is_own = |candidate: &Candidate| own.as_ref().is_none_or(|own| own.contains(&candidate.candidate_id));
        for candidate in candidates.iter_mut().filter(|candidate| candidate.status.is_none() && is_own(candidate)) {
            self.candidates += 1;
            candidate.position = Some(CandidatePosition { index: self.candidates, of: 0, units_left: 0 });
        }
        self.estimator.calibrate(&candidates, plan.stages > 1);
        if self.args.claim.is_some() {
            let first = |c: &Candidate| Some((c.candidate_id.clone(), c.units.first()?.key.clone()));
            self.claimed.extend(candidates.iter().filter_map(first));
        }
        let whole: Cow<[Candidate]> = match &own {
            None => Cow::Borrowed(&candidates),
            Some(_) => candidates.iter().filter(|candidate| is_own(candidate)).cloned().collect(),
        };
        let ChosenRuns { candidates, rest, fitted } = match self.stages(&plan) {
            Some(stages) => self.staged(&candidates, &whole, &stages, &is_own, fit),
            None => {
                let mut candidates = candidates.clone();
                earlier::drop_done(&mut candidates, &self.done, self.notice);
                candidates.retain(is_own);
                self.choose(vec![StageCandidates { stage: None, candidates }], fit)
            }
        };
        let in_stages = plan.stages > 1
            && self.done.is_empty()
            && self.best.is_none()
            && matches!(self.args.stage, None | Some(SearchStage::Plain));
        self.shares.take(fitted.as_ref().map_or(0.0, |fitted| fitted.likely_s));
        let rest = if in_stages { all_stages(rest, &whole) } else { rest };
        let estimated = match in_stages {
            true => self.estimator.estimate_stages(&rest, &whole, &self.frameworks),
            false => self.estimator.estimate(rest.iter().flat_map(|stage| &stage.candidates), &self.frameworks),
        };
        self.price(&estimated, rest, fitted.as_ref().zip(fit), plan.hardware.gpu_count.unwrap_or(0));
        if plan.tier == 3 && !self.args.accept_long_run && self.args.budget.is_none() && fit.is_none() {
            let why = format!(
                "a tier 3 plan takes {}: use --accept-long-run, --fit TIME or --budget SECONDS",
                estimated.range()
            );
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
        if let Some(parts) = &mut self.parts {
            parts.add(&whole, &candidates, &mut self.estimator, &self.frameworks);
            self.gpus = self.gpus.max(plan.hardware.gpu_count.unwrap_or(0));
            return Ok(());
        }
        self.pending.extend(candidates.into_iter().map(|candidate| PendingRow::Candidate(Box::new(candidate))));
        Ok(())
    }

    /// Writes the rows, the candidates with their places among all.
    fn flush(&mut self) -> Result<()> {
        if let (Some(parts), ExitStatus::Done) = (&self.parts, self.notice.exit(ExitStatus::Done)) {
            let (set, template) = (&self.args.set, self.args.template.as_deref());
            return match (self.args.format, self.args.files.first()) {
                (ExpandFormat::K8sJob, Some(plan)) => {
                    self.out.write_line(&parts.k8s_job(plan, self.gpus, set, template)?)
                }
                _ => self.out.write_line(&parts.matrix().to_string()),
            };
        }
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
        if let Some(root) = &self.args.claim {
            return self.hand_out(root, pending);
        }
        pending.iter().try_for_each(|row| match row {
            PendingRow::Other(row) => self.out.write(row),
            PendingRow::Candidate(candidate) => self.write(candidate),
        })
    }

    /// Writes the candidates that this host can claim, each once the one before has ended.
    fn hand_out(&mut self, root: &Path, pending: Vec<PendingRow>) -> Result<()> {
        if let Some(ratio) = self.apart {
            let differs = in_node_words(ratio);
            let node = proc::node();
            self.notice
                .warn(format!("node {node} is {differs} than the others at the fixed load: it takes no candidates"));
            return Ok(());
        }
        let is_second_pass = self.best.is_some();
        let mut all = Vec::new();
        for row in pending {
            match row {
                PendingRow::Other(row) => self.out.write(&row)?,
                PendingRow::Candidate(candidate) => {
                    let key = self.claimed.get(&candidate.candidate_id).map_or("", String::as_str);
                    all.push((claims::name(&candidate, key, is_second_pass), candidate));
                }
            }
        }
        let claims = ClaimFolder::open(root, self.args.claim_timeout, &proc::node())?;
        let known = std::mem::take(&mut self.known);
        claims::Handout { claims, known, out: &mut self.out, notice: self.notice }.all(all)
    }

    /// The stages of which the first with runs left is wanted; `None` if the plan is expanded as a whole.
    fn stages(&self, plan: &Plan) -> Option<Vec<Stage>> {
        let is_staged = plan.stages > 1;
        match self.args.stage {
            Some(SearchStage::Plain | SearchStage::Speculative) => None,
            Some(SearchStage::Screen) => Some(vec![Stage::Screen]),
            Some(SearchStage::Search) => Some(vec![Stage::Search]),
            Some(SearchStage::Repeat) => Some(vec![Stage::Repeat]),
            None if !is_staged || self.best.is_some() => None,
            // For people, and for other tools, which have no stages.
            None if self.args.format == ExpandFormat::Sh || !self.args.emit.is_empty() => None,
            None => Some(Stage::ALL.to_vec()),
        }
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
            // The parts are written once all plans are read.
            ExpandFormat::Matrix | ExpandFormat::K8sJob => Ok(()),
        }
    }
}
