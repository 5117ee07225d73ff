//! Everything that a check asks, in one mixed order, and the rows that its answers make.

use super::ask::ServerAnswer;
use super::questions::{QuestionSet, nonce, open_prompts, repeat};
use crate::base::random::{generator, shuffle};
use crate::metrics::answers::{cross_talk, is_repeated, is_right};
use crate::metrics::sample::mean;
use crate::rows::kinds::{AnswerShape, BEGINNING_TOKENS, CHECK_NONCES, Check, CheckSettings, QuestionOutcomes};
use crate::rows::words::{AnswerOutcome, CheckPart, Extract};

/// Output tokens that a nonce needs at most, with some words around it.
const NONCE_TOKENS: u32 = 40;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// Everything, among the requests of its load.
    Full,
    /// All but nonces, alone: what others are compared with.
    Reference,
    /// Only greedy prompts, which cost next to nothing.
    Screening,
}

/// One request.
struct CheckAsk {
    part: CheckPart,
    prompt: String,
    max_tokens: u32,
    /// A text that only its own answer has, in capitals.
    nonce: Option<String>,
    /// The right answer.
    answer: Option<(String, Extract)>,
}

/// The requests of a check.
pub struct CheckAsks {
    all: Vec<CheckAsk>,
    /// In which order they are sent.
    pub order: Vec<usize>,
}

impl CheckAsks {
    /// The requests for one server, whose nonces no other server gets; none with nonces for a reference, which is alone.
    pub fn new(questions: &QuestionSet, settings: &CheckSettings, seed: u64, server_id: &str, kind: CheckKind) -> Self {
        let mut all = Vec::new();
        for i in 0..if kind == CheckKind::Full { CHECK_NONCES } else { 0 } {
            let nonce = nonce(&mut generator(seed, &["nonce", server_id, &i.to_string()]));
            all.push(CheckAsk {
                part: CheckPart::CrossTalk,
                prompt: repeat(&nonce),
                max_tokens: NONCE_TOKENS.max(settings.max_tokens),
                nonce: Some(nonce),
                answer: None,
            });
        }
        let questions = questions.questions.iter().filter(|_| kind != CheckKind::Screening);
        all.extend(questions.map(|question| CheckAsk {
            part: CheckPart::Answers,
            prompt: question.prompt.clone(),
            max_tokens: settings.max_tokens,
            nonce: question.nonce.clone(),
            answer: Some((question.answer.clone(), question.extract)),
        }));
        all.extend(open_prompts().into_iter().map(|prompt| CheckAsk {
            part: CheckPart::Agreement,
            prompt,
            max_tokens: BEGINNING_TOKENS,
            nonce: None,
            answer: None,
        }));
        let mut order: Vec<usize> = (0..all.len()).collect();
        shuffle(&mut order, &mut generator(seed, &["order", server_id]));
        Self { all, order }
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// A prompt, and the maximum number of tokens of its answer.
    pub fn request(&self, at: usize) -> (&str, u32) {
        (&self.all[at].prompt, self.all[at].max_tokens)
    }

    /// True if a text that answers none of these requests has a nonce of one.
    pub fn has_nonce(&self, text: &str) -> bool {
        let text = text.to_uppercase();
        self.all.iter().filter_map(|ask| ask.nonce.as_deref()).any(|nonce| text.contains(nonce))
    }

    /// A row per part, from the answers in the order of the requests, and the number of answers of the load that have a nonce; `row` has
    /// the members that all share.
    pub fn rows(&self, answers: &[Result<ServerAnswer, String>], crossed_load: u32, row: &Check) -> Vec<Check> {
        let of = |part: CheckPart| self.all.iter().zip(answers).filter(move |(ask, _)| ask.part == part);
        let counts = |part: CheckPart| {
            let failed = of(part).filter(|(_, answer)| answer.is_err()).count();
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            Check { part, asked: count(of(part).count()), failed: count(failed), ..row.clone() }
        };
        let mut rows = Vec::new();
        let nonces = counts(CheckPart::CrossTalk);
        if nonces.asked > 0 {
            let (copied, crossed) = self.nonces(answers);
            let crossed = crossed + crossed_load;
            let (verdict, reason) = cross_talk(nonces.asked, copied, crossed);
            rows.push(Check {
                copied: Some(copied),
                crossed: Some(crossed),
                verdict: Some(verdict),
                reason: Some(reason),
                ..nonces
            });
        }
        let answered = counts(CheckPart::Answers);
        if answered.asked > 0 {
            let outcomes = of(CheckPart::Answers).map(|(ask, answer)| outcome(ask, answer.as_ref().ok())).collect();
            rows.push(Check { outcomes: Some(QuestionOutcomes(outcomes)), ..answered.clone() });
            let questions: Vec<&ServerAnswer> =
                of(CheckPart::Answers).filter_map(|(_, answer)| answer.as_ref().ok()).collect();
            rows.push(Check { part: CheckPart::Shape, shape: Some(shape(&questions)), ..answered });
        }
        let beginnings = of(CheckPart::Agreement).map(|(_, answer)| answer.as_ref().ok().map(|a| a.text.clone()));
        rows.push(Check { beginnings: beginnings.collect(), ..counts(CheckPart::Agreement) });
        rows
    }

    /// Number of answers with their own nonce, of those that are only asked for it, and of answers with that of another request.
    fn nonces(&self, answers: &[Result<ServerAnswer, String>]) -> (u32, u32) {
        let (mut copied, mut crossed) = (0, 0);
        for (ask, answer) in self.all.iter().zip(answers) {
            let Ok(answer) = answer else { continue };
            let text = answer.text.to_uppercase();
            let own = |nonce: &str| ask.nonce.as_deref() == Some(nonce);
            let has = |nonce: &&str| text.contains(nonce);
            let mut nonces = self.all.iter().filter_map(|ask| ask.nonce.as_deref());
            let mine = ask.nonce.as_deref().is_some_and(|nonce| text.contains(nonce));
            copied += u32::from(ask.part == CheckPart::CrossTalk && mine);
            crossed += u32::from(nonces.any(|nonce| !own(nonce) && has(&nonce)));
        }
        (copied, crossed)
    }
}

/// Whether an answer is right. One that the token limit cut is neither right nor wrong, unless it only repeats itself: that is not
/// for want of tokens.
fn outcome(ask: &CheckAsk, answer: Option<&ServerAnswer>) -> AnswerOutcome {
    let (Some(answer), Some((wanted, extract))) = (answer, &ask.answer) else { return AnswerOutcome::Undetermined };
    if answer.cut {
        return if is_repeated(&answer.text) { AnswerOutcome::Wrong } else { AnswerOutcome::Undetermined };
    }
    match is_right(&answer.text, wanted, *extract) {
        Ok(true) => AnswerOutcome::Right,
        Ok(false) | Err(_) => AnswerOutcome::Wrong,
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of answers")]
fn shape(answers: &[&ServerAnswer]) -> AnswerShape {
    let count = |is: fn(&ServerAnswer) -> bool| {
        u32::try_from(answers.iter().filter(|answer| is(answer)).count()).unwrap_or(u32::MAX)
    };
    let n = answers.len() as f64;
    let tokens: Vec<f64> = answers.iter().filter_map(|answer| answer.tokens).map(f64::from).collect();
    AnswerShape {
        ended_share: (!answers.is_empty()).then(|| f64::from(count(|answer| answer.ended)) / n),
        mean_tokens: mean(&tokens),
        repeated: count(|answer| is_repeated(&answer.text)),
        invalid_utf8: count(|answer| answer.invalid_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::answers::answer_quality;
    use crate::rows::words::{CheckScope, CheckVerdict, Endpoint};
    use rand::RngExt as _;

    fn row() -> Check {
        Check {
            server_id: "s".into(),
            part: CheckPart::Answers,
            reference: false,
            reference_key: "k".into(),
            questions_sha256: "q".into(),
            endpoint: Endpoint::Chat,
            in_flight: 8,
            seed: 1,
            max_tokens: 64,
            asked: 0,
            failed: 0,
            copied: None,
            crossed: None,
            outcomes: None,
            shape: None,
            beginnings: Vec::new(),
            duration_s: 1.0,
            verdict: None,
            reason: None,
        }
    }

    fn right(ask: &CheckAsk) -> ServerAnswer {
        let text = match (&ask.nonce, &ask.answer) {
            (Some(nonce), _) => nonce.clone(),
            (None, Some((answer, _))) => answer.replace(r"\W+", ", ").replace(r"\b", ""),
            (None, None) => "Once upon a time".into(),
        };
        ServerAnswer { text, ended: true, tokens: Some(8), ..ServerAnswer::default() }
    }

    /// The rows of a server that answers like this, number by number in the order of sending.
    fn rows(answer: impl Fn(usize, &[ServerAnswer]) -> ServerAnswer) -> Vec<Check> {
        let questions = QuestionSet::generated(1, 200);
        let asks = CheckAsks::new(&questions, &CheckSettings::of(CheckScope::All), 1, "s", CheckKind::Full);
        let all: Vec<ServerAnswer> = asks.all.iter().map(right).collect();
        let mut answers = vec![Err(String::new()); asks.len()];
        let sent: Vec<ServerAnswer> = asks.order.iter().map(|at| all[*at].clone()).collect();
        for (i, at) in asks.order.iter().enumerate() {
            answers[*at] = Ok(answer(i, &sent));
        }
        asks.rows(&answers, 0, &row())
    }

    fn verdict(own: &[Check], reference: &[Check]) -> CheckVerdict {
        answer_quality(own, reference).verdict
    }

    #[test]
    fn every_way_to_answer_has_its_verdict() {
        let good = rows(|i, sent| sent[i].clone());
        let parts: Vec<CheckPart> = good.iter().map(|row| row.part).collect();
        assert_eq!(parts, [CheckPart::CrossTalk, CheckPart::Answers, CheckPart::Shape, CheckPart::Agreement]);
        assert_eq!(verdict(&good, &good), CheckVerdict::Same);
        let wrong = rows(|i, sent| match i % 10 {
            0 => ServerAnswer { text: "I do not know".into(), ended: true, ..ServerAnswer::default() },
            _ => sent[i].clone(),
        });
        assert_eq!(verdict(&wrong, &good), CheckVerdict::Worse);
        let previous = rows(|i, sent| sent[if i % 16 == 5 { i - 1 } else { i }].clone());
        assert_eq!(verdict(&previous, &good), CheckVerdict::CrossTalk);
        let cut = rows(|i, sent| ServerAnswer {
            text: sent[i].text.chars().take(1).collect(),
            cut: true,
            ..ServerAnswer::default()
        });
        assert_eq!(verdict(&cut, &good), CheckVerdict::Undetermined);
        let stuck = rows(|_, _| ServerAnswer { text: "the ".repeat(60), cut: true, ..ServerAnswer::default() });
        assert_eq!(verdict(&stuck, &good), CheckVerdict::Worse);
        assert_eq!(answer_quality(&stuck, &good).warnings.len(), 2);
        let words =
            rows(|i, _| ServerAnswer { text: format!("river {i} moon"), ended: true, ..ServerAnswer::default() });
        assert_eq!(verdict(&words, &words), CheckVerdict::Undetermined);
    }

    #[test]
    fn the_answer_of_the_request_before_is_found_if_one_in_64_gets_it() {
        let questions = QuestionSet::generated(1, 200);
        let asks = CheckAsks::new(&questions, &CheckSettings::of(CheckScope::All), 1, "s", CheckKind::Full);
        let mut found = 0;
        for i in 0..2000 {
            let mut random = generator(i, &["previous"]);
            let mut order = asks.order.clone();
            shuffle(&mut order, &mut random);
            // Half of the requests are those of the load, whose texts are of nobody.
            let mut before = None;
            let mut is_found = false;
            for at in order {
                for own in [None, Some(at)] {
                    let is_previous = random.random_range(0..64) == 0;
                    is_found |= is_previous && before.is_some_and(|before: usize| asks.all[before].nonce.is_some());
                    before = own;
                }
            }
            found += u32::from(is_found);
        }
        assert!(found >= 1800, "{found} of 2000");
        assert!(asks.has_nonce(&format!("well, {}!", asks.all[0].nonce.as_deref().unwrap().to_lowercase())));
        assert!(!asks.has_nonce("Once upon a time"));
    }

    #[test]
    fn a_reference_is_asked_the_same_questions_without_nonces() {
        let questions = QuestionSet::generated(1, 20);
        let settings = CheckSettings::of(CheckScope::All);
        let prompts = |server: &str, kind| -> Vec<String> {
            let asks = CheckAsks::new(&questions, &settings, 1, server, kind);
            asks.all.iter().map(|ask| ask.prompt.clone()).collect()
        };
        let (own, other) = (prompts("a", CheckKind::Full), prompts("b", CheckKind::Full));
        let (reference, screening) = (prompts("a", CheckKind::Reference), prompts("a", CheckKind::Screening));
        assert_eq!((own.len(), reference.len(), screening.len()), (100, 36, 16));
        assert_eq!(own[64..], reference[..]);
        assert_eq!(own[84..], screening[..]);
        assert!(own[..64].iter().all(|nonce| !other.contains(nonce)));
    }
}
