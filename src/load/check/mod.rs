//! `--check`: whether a server's answers are right at the load that it was chosen for. Nonces, questions and greedy prompts are sent
//! in one mixed order, among the requests of the load; what comes back is judged in [`crate::metrics::answers`].

mod ask;
mod asks;
mod chosen;
mod load_answer;
mod question_file;
mod questions;
mod reference;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use self::ask::{Asker, ServerAnswer};
use self::asks::CheckAsks;
pub use self::asks::CheckKind;
pub use self::chosen::{BestLoads, ChosenLoad};
pub use self::question_file::read as read_questions;
pub use self::questions::QuestionSet;
pub use self::reference::read as read_reference;
use super::builder::RequestBuilder;
use super::jobs::{Job, Jobs};
use super::leased_server::LeasedServer;
use crate::base::digest;
use crate::metrics::answers::answer_quality;
use crate::rows::kinds::{AnswerQuality, Check, CheckSettings};
use crate::rows::words::{CheckPart, Endpoint};
use crate::system::http::HttpClient;

/// Requests of a check that are in flight at most: more say nothing more.
const MOST: u32 = 1024;

/// One check that is about to start.
pub struct CheckTask<'a> {
    /// The server.
    pub leased: LeasedServer<'a>,
    /// What is checked.
    pub settings: &'a CheckSettings,
    /// The questions.
    pub questions: &'a QuestionSet,
    /// The load that goes on meanwhile; without one the check is alone.
    pub load: Option<(Jobs<'a>, &'a RequestBuilder)>,
    /// Requests that are to be in flight, those of the load included.
    pub in_flight: u32,
    /// What is asked.
    pub kind: CheckKind,
    /// Time limit of a request.
    pub limit: Duration,
}

/// What became of the questions.
struct SentAsks {
    answers: Vec<Result<ServerAnswer, String>>,
    /// Most requests that were in flight together.
    in_flight: u32,
    /// Number of answers of the load that have a nonce.
    crossed: u32,
}

/// The end of one request.
enum CheckEvent {
    Load(String),
    Answer(usize, Result<ServerAnswer, String>),
}

impl CheckTask<'_> {
    /// Sends everything, and returns one row per part.
    ///
    /// # Errors
    /// When the server has no endpoint for questions, in its own words.
    pub async fn run(mut self, client: HttpClient) -> Result<Vec<Check>, String> {
        let begun = Instant::now();
        let bench = &self.leased.candidate.benchmark;
        let model = &self.leased.server.endpoint.model_id;
        let asker = Asker::find(client, model, &bench.extra_request_body, self.limit).await?;
        let server_id = &self.leased.server.server_id;
        let asks = CheckAsks::new(self.questions, self.settings, bench.seed, server_id, self.kind);
        let SentAsks { answers, in_flight, crossed } = self.send(&asker, &asks).await;
        let row = Check {
            server_id: server_id.clone(),
            part: CheckPart::Answers,
            reference: self.kind == CheckKind::Reference,
            reference_key: self.reference_key(asker.endpoint),
            questions_sha256: self.questions.sha256.clone(),
            endpoint: asker.endpoint,
            in_flight,
            seed: bench.seed,
            max_tokens: self.settings.max_tokens,
            asked: 0,
            failed: 0,
            copied: None,
            crossed: None,
            outcomes: None,
            shape: None,
            beginnings: Vec::new(),
            duration_s: begun.elapsed().as_secs_f64(),
            verdict: None,
            reason: None,
        };
        Ok(asks.rows(&answers, crossed, &row))
    }

    fn reference_key(&self, endpoint: Endpoint) -> String {
        reference_key(self.leased, self.settings, self.questions, endpoint)
    }

    /// Keeps `in_flight` requests in flight until every question has its answer: half of them are those of the load.
    async fn send(&mut self, asker: &Asker, asks: &CheckAsks) -> SentAsks {
        let most = self.in_flight.clamp(1, MOST) as usize;
        let loads = if self.load.is_some() { most / 2 } else { 0 };
        let mut tasks: JoinSet<CheckEvent> = JoinSet::new();
        let mut answers: Vec<Result<ServerAnswer, String>> = vec![Err("not sent".into()); asks.len()];
        let (mut loading, mut asking, mut next, mut in_flight, mut crossed) = (0, 0, 0, 0, 0);
        loop {
            while loading < loads {
                let Some((body, endpoint)) = self.load_request() else { break };
                let (client, limit) = (asker.client(), self.limit);
                tasks.spawn_local(async move { CheckEvent::Load(Asker::load(client, endpoint, body, limit).await) });
                loading += 1;
            }
            while asking + loading < most && next < asks.len() {
                let (asker, at) = (asker.clone(), asks.order[next]);
                let (prompt, max_tokens) = asks.request(at);
                let prompt = prompt.to_string();
                tasks.spawn_local(async move { CheckEvent::Answer(at, asker.ask(&prompt, max_tokens).await) });
                (next, asking) = (next + 1, asking + 1);
            }
            in_flight = in_flight.max(u32::try_from(loading + asking).unwrap_or(u32::MAX));
            if asking == 0 {
                return SentAsks { answers, in_flight, crossed };
            }
            match tasks.join_next().await {
                Some(Ok(CheckEvent::Answer(at, answer))) => {
                    answers[at] = answer;
                    asking -= 1;
                }
                Some(Ok(CheckEvent::Load(text))) => {
                    crossed += u32::from(asks.has_nonce(&text));
                    loading -= 1;
                }
                // A task of the load or of a question that was lost.
                Some(Err(_)) => loading = loading.saturating_sub(1),
                None => return SentAsks { answers, in_flight, crossed },
            }
        }
    }

    /// The next request of the load; `None` without one.
    fn load_request(&mut self) -> Option<(Vec<u8>, Endpoint)> {
        let (jobs, builder) = self.load.as_mut()?;
        let Job { body, .. } = jobs.session(u32::MAX).ok()?.into_iter().next()?;
        Some((body, builder.spec.endpoint))
    }
}

/// What has to be equal in a check and its reference.
fn reference_key(
    leased: LeasedServer<'_>,
    settings: &CheckSettings,
    questions: &QuestionSet,
    endpoint: Endpoint,
) -> String {
    let (candidate, server) = (leased.candidate, leased.server);
    digest::short(&serde_json::json!([
        candidate.framework,
        server.framework_version.as_ref().or(candidate.version.as_ref()),
        candidate.model,
        candidate.precision,
        candidate.quantization,
        endpoint,
        settings.max_tokens,
        questions.sha256,
    ]))
}

/// The references so far, by what has to be equal.
#[derive(Debug, Default)]
pub struct References(BTreeMap<String, Vec<Check>>);

impl References {
    /// Keeps the rows of a reference.
    pub fn insert(&mut self, rows: &[Check]) {
        if let Some(first) = rows.first() {
            self.0.insert(first.reference_key.clone(), rows.to_vec());
        }
    }

    /// All of them, each with its key.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Vec<Check>)> {
        self.0.iter()
    }

    /// Takes rows of references that were measured earlier.
    pub fn extend(&mut self, rows: &[Check]) {
        for row in rows {
            let known = self.0.entry(row.reference_key.clone()).or_default();
            if known.iter().all(|other| other.part != row.part) {
                known.push(row.clone());
            }
        }
    }

    /// True if there is one for this server, at whichever endpoint it has.
    pub fn has_of(&self, leased: LeasedServer<'_>, settings: &CheckSettings, questions: &QuestionSet) -> bool {
        [Endpoint::Chat, Endpoint::Completions]
            .into_iter()
            .any(|endpoint| self.has(&reference_key(leased, settings, questions, endpoint)))
    }

    /// True if there is one of this key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// What the rows of a check say, as far as it is known now; the verdict is written into the row of the answers.
    pub fn judge(&self, rows: &mut [Check]) -> AnswerQuality {
        let none = Vec::new();
        let reference = rows.first().and_then(|row| self.0.get(&row.reference_key)).unwrap_or(&none);
        let quality = answer_quality(rows, reference);
        if let Some(row) = rows.iter_mut().find(|row| row.part == CheckPart::Answers)
            && !reference.is_empty()
        {
            (row.verdict, row.reason) = (Some(quality.verdict), Some(quality.reason.clone()));
        }
        quality
    }
}
