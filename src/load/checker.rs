//! Decides which servers of one pass get a check of their answers, and does it on the leased server, after its runs.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::builder::RequestBuilder;
use super::check::{BestLoads, CheckKind, CheckTask, ChosenLoad, QuestionSet, References, read_questions};
use super::dataset_cache::DatasetCache;
use super::driver::RunDriver;
use super::jobs::Jobs;
use super::leased_server::LeasedServer;
use super::options::CheckOptions;
use super::run::RunOutcome;
use super::workload::{Purpose, WorkloadItems};
use crate::base::error::{Error, Result};
use crate::metrics::search::SearchRange;
use crate::metrics::sla::Limits;
use crate::rows::kinds::{CHECK_BEGINNINGS, Candidate, Check, CheckSettings, Load, LoadMode, Scenario};
use crate::rows::row::Row;
use crate::rows::words::{AnswerOutcome, CheckPart, CheckScope, Phase, SearchedLoad, Stage};
use crate::system::http::HttpClient;

/// A check that would take longer than this is not begun before a deadline.
const LEAST_LEFT: Duration = Duration::from_secs(60);

/// The load that one server ran, and whether it met its limits there.
#[derive(Debug, Clone, Copy)]
struct RanLoad {
    load: ChosenLoad,
    passed: bool,
}

/// What is known of the answers so far.
#[derive(Debug, Default)]
pub struct AnswerChecker {
    best: BestLoads,
    pub references: References,
    /// Baselines that were asked already.
    asked: BTreeSet<String>,
    questions: BTreeMap<String, Rc<QuestionSet>>,
    /// The loads of the present server, by what they are compared with.
    own: BTreeMap<String, RanLoad>,
}

/// What the check of one server needs.
pub struct CheckTarget<'a> {
    /// The server.
    pub leased: LeasedServer<'a>,
    /// A client of it.
    pub client: HttpClient,
    /// Builds the requests of its load; `None` if it refuses them.
    pub builder: Option<&'a RequestBuilder>,
}

impl AnswerChecker {
    /// What to check of this server; `None` for nothing.
    pub fn settings(leased: &LeasedServer<'_>, options: &CheckOptions) -> Option<CheckSettings> {
        if Self::is_forced(leased) {
            return None;
        }
        let planned = leased.candidate.check.as_deref().cloned();
        let mut settings = planned.or_else(|| options.candidates.map(CheckSettings::of))?;
        settings.candidates = options.candidates.unwrap_or(settings.candidates);
        settings.questions = options.questions.unwrap_or(settings.questions);
        settings.file = options.file.clone().or(settings.file);
        settings.max_tokens = options.max_tokens.unwrap_or(settings.max_tokens);
        (settings.candidates != CheckScope::None).then_some(settings)
    }

    /// True if its acceptance length is forced, which makes text that the model did not write.
    fn is_forced(leased: &LeasedServer<'_>) -> bool {
        leased.candidate.speculation.as_ref().is_some_and(|own| own.forced_acceptance_length.is_some())
    }

    /// True if the candidate is checked at a load of its own, without a run.
    pub fn has_load(candidate: &Candidate) -> bool {
        candidate.check.as_ref().is_some_and(|check| check.in_flight.is_some())
    }

    /// Forgets the loads of the last server. The questions of this one are read now, so that a mistake in them is found before the runs.
    ///
    /// # Errors
    /// When the questions cannot be read.
    pub fn begin(&mut self, leased: &LeasedServer<'_>, options: &CheckOptions) -> Result<()> {
        self.own.clear();
        let settings = Self::settings(leased, options);
        settings.map_or(Ok(()), |settings| self.questions(&settings, leased.candidate.benchmark.seed).map(|_| ()))
    }

    /// Takes a run at a given load.
    pub fn ran(
        &mut self,
        leased: &LeasedServer<'_>,
        scenario: &Scenario,
        load: &Load,
        limits: &Limits,
        run: &RunOutcome,
    ) {
        let metrics = run.sample.metrics(load.mode, !limits.is_empty());
        let Some(score) = metrics.get("request_throughput").copied().flatten() else { return };
        let in_flight = match load.mode {
            LoadMode::Closed => load.concurrency.unwrap_or(1),
            LoadMode::Open => ChosenLoad::little(load.rate.unwrap_or(1.0), run.answer_s),
            LoadMode::Burst => run.sample.scheduled.max(1),
        };
        self.insert(leased, scenario, json!(load.mode), in_flight, (score, run.met(limits)));
    }

    /// Takes the end of a search: the highest load that met the limits, and how long its answers take, s.
    pub fn searched(
        &mut self,
        leased: &LeasedServer<'_>,
        scenario: &Scenario,
        range: &SearchRange,
        best: f64,
        answer_s: Option<f64>,
    ) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of requests")]
        let in_flight = match range.what {
            SearchedLoad::Rate => ChosenLoad::little(best, answer_s),
            SearchedLoad::Concurrency => best.max(1.0) as u32,
        };
        self.insert(leased, scenario, json!(range.what), in_flight, (best, true));
    }

    /// Takes references that were measured earlier.
    pub fn extend(&mut self, options: &CheckOptions) {
        self.references.extend(options.earlier.as_deref().unwrap_or_default());
    }

    fn insert(
        &mut self,
        leased: &LeasedServer<'_>,
        scenario: &Scenario,
        kind: serde_json::Value,
        in_flight: u32,
        (score, passed): (f64, bool),
    ) {
        let key = json!([leased.candidate.framework, scenario.identity(), kind]).to_string();
        let at = leased.candidate.scenarios.iter().position(|other| other.name == scenario.name).unwrap_or(0);
        let ran = RanLoad { load: ChosenLoad { score, in_flight, scenario: at }, passed };
        let better = |old: &RanLoad| (passed, score) > (old.passed, old.load.score);
        let place = self.own.entry(key).or_insert(ran);
        if better(place) {
            *place = ran;
        }
    }

    /// The loads at which the present server met its limits.
    fn passed(&self) -> BTreeMap<String, ChosenLoad> {
        let passed = self.own.iter().filter(|(_, ran)| ran.passed);
        passed.map(|(key, ran)| (key.clone(), ran.load)).collect()
    }

    /// The load to check at; `None` if this candidate gets no check.
    fn chosen(&self, settings: &CheckSettings) -> Option<ChosenLoad> {
        let may_win = self.best.may_win(&self.passed());
        let given = settings.in_flight.map(|in_flight| ChosenLoad { score: 0.0, in_flight, scenario: 0 });
        let any = || self.own.values().map(|ran| ran.load).max_by_key(|load| load.in_flight);
        match settings.candidates {
            CheckScope::All => given.or(may_win).or_else(any),
            CheckScope::Winners => may_win,
            CheckScope::None => None,
        }
    }

    /// Checks the answers of a server, if they are to be checked; writes its rows, and those of the reference that it is. True if its
    /// answers were found to be wrong: then its speed is no measure for other candidates.
    ///
    /// # Errors
    /// When rows cannot be written, or the questions cannot be read.
    pub async fn check(
        &mut self,
        driver: &mut RunDriver<'_>,
        datasets: &mut DatasetCache,
        target: CheckTarget<'_>,
    ) -> Result<bool> {
        let is_wrong = self.run_checks(driver, datasets, target).await?;
        if !is_wrong {
            self.best.insert(&self.passed());
        }
        Ok(is_wrong)
    }

    async fn run_checks(
        &mut self,
        driver: &mut RunDriver<'_>,
        datasets: &mut DatasetCache,
        target: CheckTarget<'_>,
    ) -> Result<bool> {
        let CheckTarget { leased, client, builder } = target;
        let options = &driver.options.check;
        let asked = leased.candidate.check.as_ref().map(|check| check.candidates).or(options.candidates);
        if Self::is_forced(&leased) && asked.is_some_and(|scope| scope != CheckScope::None) {
            let why = "answers not checked: its acceptance length is forced, so its text means nothing";
            driver.notice.say(format!("{}: {why}", leased.candidate.candidate_id));
        }
        let Some(settings) = Self::settings(&leased, options) else { return Ok(false) };
        // One of the clients that share a load is enough.
        if driver.options.shard.is_some_and(|shard| shard.index > 0) {
            return Ok(false);
        }
        let questions = self.questions(&settings, leased.candidate.benchmark.seed)?;
        let stage = leased.candidate.search.stage;
        // The runs of a screen are short, and the repeats of a finalist are of a server that was checked: the stage between them tells.
        let may_check = settings.candidates == CheckScope::All || stage.is_none_or(|stage| stage == Stage::Search);
        let chosen = self.chosen(&settings).filter(|_| may_check);
        // All baselines run in the first stage.
        let is_first = stage.is_none_or(|stage| stage == Stage::Screen);
        let is_asked = is_first || options.earlier.is_some();
        let is_known = self.references.has_of(leased, &settings, &questions);
        let is_reference = leased.candidate.search.baseline && options.reference.is_empty() && is_asked && !is_known;
        let identity =
            json!([leased.candidate.framework, leased.candidate.model, leased.candidate.precision]).to_string();
        let mut planned: Vec<(CheckKind, u32, Option<usize>)> = Vec::new();
        if is_reference && self.asked.insert(identity) {
            planned.push((CheckKind::Reference, 1, None));
        }
        match chosen {
            Some(load) => planned.push((CheckKind::Full, load.in_flight, Some(load.scenario))),
            // Once for every candidate that ran.
            None if planned.is_empty() && is_first && builder.is_some() => {
                planned.push((CheckKind::Screening, CHECK_BEGINNINGS, None));
            }
            None => {}
        }
        let mut is_wrong = false;
        for (kind, in_flight, scenario) in planned {
            if leased.time_left().is_some_and(|left| left < LEAST_LEFT) {
                let why = "not enough time before the deadline to check the answers";
                driver.notice.warn(format!("{}: {why}", leased.candidate.candidate_id));
                return Ok(is_wrong);
            }
            let scenario = scenario.and_then(|at| leased.candidate.scenarios.get(at)).filter(|_| in_flight > 1);
            let data = scenario.map(|scenario| datasets.rows(scenario)).transpose()?;
            let mut nothing = BTreeSet::new();
            let load = match (scenario, builder, &data) {
                (Some(scenario), Some(builder), Some(data)) => {
                    let purpose = Purpose { scenario: &scenario.name, phase: Phase::Pilot, trial: "check" };
                    let seed = leased.candidate.benchmark.seed;
                    let items = WorkloadItems::new(scenario, purpose, seed, (&data.1, 1), &mut nothing);
                    items.ok().map(|items| (Jobs::new(items.phase(Phase::Pilot), builder, None), builder))
                }
                _ => None,
            };
            let limit = driver.options.limits.total;
            let task = CheckTask { leased, settings: &settings, questions: &questions, load, in_flight, kind, limit };
            let what = match kind {
                CheckKind::Full => "its answers",
                CheckKind::Reference => "the reference of its answers",
                CheckKind::Screening => "its greedy answers",
            };
            driver.notice.say(format!("{}: checking {what}", leased.candidate.candidate_id));
            let begun = Instant::now();
            let rows = match driver.unless_stopped(leased.lease, task.run(client.clone())).await {
                Ok(Ok(rows)) => rows,
                Ok(Err(why)) => {
                    driver.notice.warn(format!("{}: answers not checked: {why}", leased.candidate.candidate_id));
                    return Ok(is_wrong);
                }
                Err(_) => return Ok(is_wrong),
            };
            is_wrong |= self.write(driver, &leased, rows, begun.elapsed())?;
        }
        Ok(is_wrong)
    }

    /// Writes the rows of a check, with the verdict where it is known; true if it is one with which no candidate wins.
    fn write(
        &mut self,
        driver: &mut RunDriver<'_>,
        leased: &LeasedServer<'_>,
        mut rows: Vec<Check>,
        took: Duration,
    ) -> Result<bool> {
        let mut is_wrong = false;
        let name = &leased.candidate.candidate_id;
        driver.notice.clear();
        if rows.iter().any(|row| row.reference) {
            self.references.insert(&rows);
            let answers = rows.iter().find_map(|row| row.outcomes.clone()).unwrap_or_default().0;
            let right = answers.iter().filter(|outcome| **outcome == AnswerOutcome::Right).count();
            let failed: u32 = rows.iter().filter(|row| row.part == CheckPart::Answers).map(|row| row.failed).sum();
            let failed = if failed > 0 { format!(", {failed} without an answer") } else { String::new() };
            driver.notice.say(format!(
                "{name}: reference of the answers: {right} of {} questions right at concurrency 1{failed} ({:.0} s)",
                answers.len(),
                took.as_secs_f64()
            ));
        } else {
            self.foreign_reference(driver, &rows)?;
            let quality = self.references.judge(&mut rows);
            is_wrong = quality.verdict.is_out();
            let warnings: String = quality.warnings.iter().map(|warning| format!("; {warning}")).collect();
            let in_flight = rows.first().map_or(1, |row| row.in_flight);
            let seconds = took.as_secs_f64();
            let said = match rows.iter().any(|row| row.part == CheckPart::Answers) {
                true => format!(
                    "answers checked at {in_flight} in flight: {}: {}{warnings} ({seconds:.0} s)",
                    quality.verdict, quality.reason
                ),
                false => quality.reason,
            };
            driver.notice.say(format!("{name}: {said}"));
        }
        rows.iter().try_for_each(|row| driver.out.write(&Row::new("check", row)))?;
        Ok(is_wrong)
    }

    /// Writes the reference that was given on the command line as that of this server, once.
    fn foreign_reference(&mut self, driver: &mut RunDriver<'_>, rows: &[Check]) -> Result<()> {
        let given = &driver.options.check.reference;
        let (Some(own), Some(first)) = (rows.first(), given.first()) else { return Ok(()) };
        if self.references.has(&own.reference_key) {
            return Ok(());
        }
        let asked = |row: &Check| (row.questions_sha256.clone(), row.max_tokens, row.endpoint);
        if asked(own) != asked(first) {
            let why = "the reference was asked other questions, at another endpoint or with another token limit: use the same --seed and --check flags for both";
            driver.notice.warn(why);
            return Ok(());
        }
        let of_this = |row: &Check| Check { reference: true, reference_key: own.reference_key.clone(), ..row.clone() };
        let given: Vec<Check> = given.iter().map(of_this).collect();
        self.references.insert(&given);
        given.iter().try_for_each(|row| driver.out.write(&Row::new("check", row)))
    }

    /// The questions of these settings, read or made once.
    fn questions(&mut self, settings: &CheckSettings, seed: u64) -> Result<Rc<QuestionSet>> {
        let key = json!([settings.file, settings.questions, seed]).to_string();
        if let Some(known) = self.questions.get(&key) {
            return Ok(known.clone());
        }
        let made = match &settings.file {
            Some(path) => read_questions(path, settings.questions)?,
            None => QuestionSet::generated(seed, settings.questions),
        };
        if made.questions.is_empty() {
            return Err(Error::new("a check needs at least one question"));
        }
        let made = Rc::new(made);
        self.questions.insert(key, made.clone());
        Ok(made)
    }
}
