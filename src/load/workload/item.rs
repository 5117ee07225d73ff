//! The requests of a run, independent of the form that a server accepts.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_pcg::Pcg64;
use serde_json::{Value, json};

use super::Purpose;
use crate::base::random::{generator, shuffle};
use crate::load::dataset::{BLOCK, DatasetEntry, Prompt};
use crate::rows::kinds::{Members, Scenario};
use crate::rows::words::Phase;

/// One request.
#[derive(Debug, Clone)]
pub struct WorkloadItem {
    /// Its prompt.
    pub ask: PromptContent,
    /// Output tokens.
    pub output: u32,
    /// Members of its body; they take precedence over the plan's.
    pub extra: Members,
    /// It is a later turn of a session: sent once the one before has finished.
    pub follows: bool,
}

/// A prompt.
#[derive(Debug, Clone)]
pub enum PromptContent {
    /// Generated pieces.
    Generated(Vec<PromptPiece>),
    /// Text.
    Text(String),
    /// Messages.
    Messages(Vec<Value>),
}

/// A piece of a generated prompt. The same names and length give the same tokens.
#[derive(Debug, Clone)]
pub struct PromptPiece {
    /// Draws its tokens.
    pub rng: Pcg64,
    /// Number of tokens.
    pub tokens: u32,
    /// It takes the place of an earlier response of the model.
    pub answer: bool,
}

/// The requests of one phase of a run.
#[derive(Debug)]
pub struct WorkloadItems<'a> {
    scenario: &'a Scenario,
    purpose: Purpose<'a>,
    seed: u64,
    /// The rows of the dataset to send, in order.
    rows: Vec<&'a DatasetEntry>,
}

impl<'a> WorkloadItems<'a> {
    /// The requests of a scenario, with at most `n` rows of its dataset. Rows in `sent` are not sent again unless the scenario
    /// allows it; the selected rows are added to `sent`.
    ///
    /// # Errors
    /// When a dataset has too few rows left.
    pub fn new(
        scenario: &'a Scenario,
        purpose: Purpose<'a>,
        seed: u64,
        (entries, n): (&'a [DatasetEntry], u32),
        sent: &mut BTreeSet<usize>,
    ) -> Result<Self, String> {
        let mut rows = Vec::new();
        if scenario.dataset.is_some() {
            // Rows of sessions and traces stay in order.
            let ordered = entries.iter().any(|entry| entry.session.is_some() || entry.timestamp.is_some());
            let mut order: Vec<usize> = (0..entries.len()).collect();
            if !ordered {
                shuffle(&mut order, &mut generator(seed, &["rows", purpose.scenario, purpose.trial]));
            }
            let wanted = n as usize;
            let mut left: Vec<usize> = order.iter().copied().filter(|row| !sent.contains(row)).collect();
            if left.len() < wanted && scenario.reuses_prefixes() && !order.is_empty() {
                left = order.iter().copied().cycle().take(wanted.max(order.len())).collect();
            }
            if left.len() < wanted {
                return Err(format!(
                    "the dataset has too few rows: {n} needed, {} in the file, {} of them already sent to this server; add rows, \
                     use fewer load points, or set `cache: reset` (if the framework supports it) or `prefix_reuse: true`",
                    entries.len(),
                    sent.len()
                ));
            }
            left.truncate(wanted);
            sent.extend(&left);
            rows = left.into_iter().map(|row| &entries[row]).collect();
        }
        Ok(Self { scenario, purpose, seed, rows })
    }

    /// Endless requests of the same kind for another phase of the run, with other content.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Self {
        Self { purpose: Purpose { phase, ..self.purpose.clone() }, rows: self.rows.clone(), ..*self }
    }

    /// The sessions of the first `n` requests, of all clients: number of requests, and timestamp of the trace, ms.
    #[must_use]
    pub fn sessions(&self, n: u32) -> Vec<(u32, Option<f64>)> {
        let mut sessions: Vec<(u32, Option<f64>)> = Vec::new();
        for i in 0..n {
            let (follows, timestamp) = if self.rows.is_empty() {
                (i % self.scenario.turns.unwrap_or(1).max(1) > 0, None)
            } else {
                let at = i as usize % self.rows.len();
                (self.continues(at), self.rows[at].timestamp)
            };
            match sessions.last_mut().filter(|_| follows) {
                Some(session) => session.0 += 1,
                None => sessions.push((1, timestamp)),
            }
        }
        sessions
    }

    /// True if a row belongs to the same session as the one before it.
    fn continues(&self, at: usize) -> bool {
        let before = at.checked_sub(1).map(|before| self.rows[before]);
        self.rows[at].session.is_some() && before.is_some_and(|before| before.session == self.rows[at].session)
    }

    /// The `i`-th request.
    #[must_use]
    pub fn item(&self, i: u32) -> WorkloadItem {
        if self.rows.is_empty() {
            return self.generated(i);
        }
        let mut item = self.row(i as usize % self.rows.len(), i);
        if self.purpose.phase != Phase::Measured {
            item.ask = salted(item.ask, self.generator("salt", i).random());
        }
        item
    }

    fn generator(&self, what: &str, i: u32) -> Pcg64 {
        let Purpose { scenario, phase, trial } = &self.purpose;
        generator(self.seed, &[what, scenario, phase.as_str(), trial, &i.to_string()])
    }

    fn row(&self, at: usize, i: u32) -> WorkloadItem {
        let entry = self.rows[at];
        let ask = match &entry.prompt {
            Prompt::Text(text) => PromptContent::Text(text.clone()),
            Prompt::Messages(messages) => PromptContent::Messages(messages.clone()),
            Prompt::Blocks(ids) => PromptContent::Generated(self.blocks(ids, entry.input_len, i)),
        };
        WorkloadItem { ask, output: entry.output_len, extra: entry.extra.clone(), follows: self.continues(at) }
    }

    /// A block with the same number has the same content within a run, and other content in the next run.
    fn blocks(&self, ids: &[u64], tokens: u32, i: u32) -> Vec<PromptPiece> {
        let mut left = tokens;
        let mut pieces = Vec::new();
        for id in ids {
            let tokens = left.min(BLOCK);
            left -= tokens;
            let names =
                ["block", self.purpose.scenario, self.purpose.phase.as_str(), self.purpose.trial, &id.to_string()];
            pieces.push(PromptPiece { rng: generator(self.seed, &names), tokens, answer: false });
        }
        pieces.push(PromptPiece { rng: self.generator("rest", i), tokens: left, answer: false });
        pieces.retain(|piece| piece.tokens > 0);
        pieces
    }

    fn generated(&self, i: u32) -> WorkloadItem {
        let turns = self.scenario.turns.unwrap_or(1).max(1);
        let turn = i % turns;
        let mut pieces = Vec::new();
        let mut output = 0;
        for j in i - turn..=i {
            let (mut input, asked, mut rng) = self.lengths(j);
            if let Some(prefix) = self.scenario.shared_prefix {
                let group = rng.random_range(0..prefix.groups.max(1)).to_string();
                let names = ["prefix", self.purpose.scenario, self.purpose.phase.as_str(), self.purpose.trial, &group];
                let tokens = prefix.tokens.min(input.saturating_sub(1));
                pieces.push(PromptPiece { rng: generator(self.seed, &names), tokens, answer: false });
                input -= tokens;
            }
            pieces.push(PromptPiece { rng: self.generator("prompt", j), tokens: input, answer: false });
            output = asked;
            if j < i {
                pieces.push(PromptPiece { rng: self.generator("answer", j), tokens: output, answer: true });
            }
        }
        WorkloadItem { ask: PromptContent::Generated(pieces), output, extra: Members::new(), follows: turn > 0 }
    }

    /// Prompt and output tokens of one turn: the same in every trial, so that trials differ in content only.
    fn lengths(&self, i: u32) -> (u32, u32, Pcg64) {
        let ratio = self.scenario.range_ratio.unwrap_or(0.0);
        let mut rng =
            generator(self.seed, &["lengths", self.purpose.scenario, self.purpose.phase.as_str(), &i.to_string()]);
        let (input, output) = (
            draw_length(self.scenario.input_len, ratio, &mut rng),
            draw_length(self.scenario.output_len, ratio, &mut rng),
        );
        (input, output, rng)
    }
}

/// A length drawn uniformly from length × (1 − ratio) to length × (1 + ratio), at least 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a token count, above 0")]
fn draw_length(length: u32, ratio: f64, rng: &mut Pcg64) -> u32 {
    let by = (f64::from(length) * ratio).floor() as u32;
    if by == 0 { length } else { rng.random_range(length.saturating_sub(by).max(1)..=length.saturating_add(by)) }
}

/// The same prompt with a different beginning, so that no cache has it.
fn salted(ask: PromptContent, salt: u64) -> PromptContent {
    let mark = format!("[{salt:016x}] ");
    match ask {
        PromptContent::Text(text) => PromptContent::Text(mark + &text),
        PromptContent::Messages(mut messages) => {
            if let Some(first) = messages.first_mut() {
                match &mut first["content"] {
                    Value::String(text) => text.insert_str(0, &mark),
                    Value::Array(parts) => parts.insert(0, json!({"type": "text", "text": mark})),
                    _ => {}
                }
            }
            PromptContent::Messages(messages)
        }
        generated @ PromptContent::Generated(_) => generated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::workload::token_ids;
    use crate::rows::kinds::{Dataset, SharedPrefix};

    fn ids(item: &WorkloadItem) -> Vec<u32> {
        let PromptContent::Generated(pieces) = &item.ask else { panic!("not generated") };
        pieces.iter().flat_map(|piece| token_ids(piece.tokens, &mut piece.rng.clone()).collect::<Vec<_>>()).collect()
    }

    fn purpose(trial: &str) -> Purpose<'_> {
        Purpose { scenario: "s", phase: Phase::Measured, trial }
    }

    fn made(scenario: &Scenario, trial: &str, n: u32) -> Vec<WorkloadItem> {
        let items = WorkloadItems::new(scenario, purpose(trial), 1, (&[], n), &mut BTreeSet::new()).unwrap();
        (0..n).map(|i| items.item(i)).collect()
    }

    #[test]
    fn lengths_are_drawn_evenly_and_are_the_same_in_every_run() {
        let scenario = Scenario { range_ratio: Some(0.5), ..Scenario::random("s", 100, 40) };
        let (one, two) = (made(&scenario, "0", 400), made(&scenario, "1", 400));
        let lengths =
            |items: &[WorkloadItem]| items.iter().map(|item| (ids(item).len(), item.output)).collect::<Vec<_>>();
        assert_eq!(lengths(&one), lengths(&two));
        assert_ne!(ids(&one[0]), ids(&two[0]));
        let inputs: Vec<usize> = lengths(&one).iter().map(|(input, _)| *input).collect();
        assert!(inputs.iter().all(|n| (50..=150).contains(n)), "{inputs:?}");
        assert!(inputs.iter().any(|n| *n < 60) && inputs.iter().any(|n| *n > 140));
        assert_eq!(scenario.longest(), Some(210));
    }

    #[test]
    fn a_group_shares_its_beginning_and_nothing_else() {
        let prefix = SharedPrefix { tokens: 30, groups: 3 };
        let scenario = Scenario { shared_prefix: Some(prefix), ..Scenario::random("s", 40, 4) };
        let items: Vec<Vec<u32>> = made(&scenario, "0", 60).iter().map(ids).collect();
        let prefixes: BTreeSet<&[u32]> = items.iter().map(|ids| &ids[..30]).collect();
        let rests: BTreeSet<&[u32]> = items.iter().map(|ids| &ids[30..]).collect();
        assert_eq!((prefixes.len(), rests.len()), (3, 60));
        let other: Vec<Vec<u32>> = made(&scenario, "1", 10).iter().map(ids).collect();
        assert!(other.iter().all(|ids| !prefixes.contains(&ids[..30])), "the next run has prefixes of its own");
    }

    #[test]
    fn a_turn_sends_the_whole_talk_so_far() {
        let scenario = Scenario { turns: Some(3), ..Scenario::random("s", 10, 5) };
        let items = made(&scenario, "0", 6);
        assert_eq!(items.iter().map(|item| item.follows).collect::<Vec<_>>(), [false, true, true, false, true, true]);
        let all: Vec<Vec<u32>> = items.iter().map(ids).collect();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [10, 25, 40, 10, 25, 40]);
        assert!(all[1].starts_with(&all[0]) && all[2].starts_with(&all[1]) && !all[4].starts_with(&all[0]));
        assert_eq!(scenario.longest(), Some(45));
    }

    #[test]
    fn no_row_is_sent_twice_unless_it_may_be() {
        let text = (0..5).map(|i| format!("{{\"prompt\": \"p{i}\", \"output_len\": 3}}\n")).collect::<String>();
        let read = crate::load::dataset::read(&text, &crate::load::dataset::ReadOptions::default());
        let mut scenario = Scenario { dataset: Some(Dataset::default()), ..Scenario::random("s", 1, 1) };
        let mut sent = BTreeSet::new();
        let first = WorkloadItems::new(&scenario, purpose("0"), 1, (&read.entries, 3), &mut sent).unwrap();
        let mut prompts: BTreeSet<String> = (0..3).map(|i| format!("{:?}", first.item(i).ask)).collect();
        let second = WorkloadItems::new(&scenario, purpose("1"), 1, (&read.entries, 2), &mut sent).unwrap();
        prompts.extend((0..2).map(|i| format!("{:?}", second.item(i).ask)));
        assert_eq!(prompts.len(), 5);
        let why = WorkloadItems::new(&scenario, purpose("2"), 1, (&read.entries, 1), &mut sent).unwrap_err();
        assert!(why.contains("1 needed, 5 in the file, 5 of them already sent"), "{why}");
        scenario.dataset = Some(Dataset { prefix_reuse: true, ..Dataset::default() });
        let again = WorkloadItems::new(&scenario, purpose("2"), 1, (&read.entries, 8), &mut sent).unwrap();
        assert!((0..8).all(|i| matches!(again.item(i).ask, PromptContent::Text(_))));
    }

    #[test]
    fn the_same_block_is_the_same_text_in_one_run() {
        let text = "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 2, \"hash_ids\": [7, 8]}\n\
                    {\"timestamp\": 9, \"input_length\": 700, \"output_length\": 2, \"hash_ids\": [7, 9]}\n";
        let read = crate::load::dataset::read(text, &crate::load::dataset::ReadOptions::default());
        let scenario = Scenario { dataset: Some(Dataset::default()), ..Scenario::random("s", 1, 1) };
        let items = WorkloadItems::new(&scenario, purpose("0"), 1, (&read.entries, 2), &mut BTreeSet::new()).unwrap();
        let (one, two) = (ids(&items.item(0)), ids(&items.item(1)));
        assert_eq!((one.len(), two.len()), (600, 700));
        assert!(one[..512] == two[..512] && one[512..] != two[512..600]);
    }

    #[test]
    fn a_salted_prompt_begins_otherwise() {
        let PromptContent::Messages(messages) =
            salted(PromptContent::Messages(vec![json!({"role": "user", "content": "q"})]), 5)
        else {
            panic!()
        };
        assert_eq!(messages[0]["content"], "[0000000000000005] q");
        let PromptContent::Text(text) = salted(PromptContent::Text("q".into()), 5) else { panic!() };
        assert!(text.ends_with(" q") && text.len() > 10);
    }
}
