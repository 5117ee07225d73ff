//! The exact one-sided McNemar test: two servers answer the same questions, and only the questions count on which they differ.

use crate::rows::kinds::QuestionOutcomes;
use crate::rows::words::AnswerOutcome;

/// The chance of a false alarm at most.
pub const SIGNIFICANCE: f64 = 0.05;

/// Two servers' answers to the same questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairedAnswers {
    /// Questions with a determined outcome on both.
    pub pairs: u32,
    /// Right on the candidate, of all questions.
    pub right: u32,
    /// Cut short or failed on the candidate, of all questions.
    pub undetermined: u32,
    /// Right on the reference, of the pairs.
    pub reference_right: u32,
    /// Right on the reference, wrong on the candidate.
    pub lost: u32,
    /// Wrong on the reference, right on the candidate.
    pub won: u32,
}

impl PairedAnswers {
    /// Compares outcomes question by question.
    #[must_use]
    pub fn of(candidate: &QuestionOutcomes, reference: &QuestionOutcomes) -> Self {
        let mut all = Self::default();
        for own in &candidate.0 {
            all.right += u32::from(*own == AnswerOutcome::Right);
            all.undetermined += u32::from(*own == AnswerOutcome::Undetermined);
        }
        for (own, other) in candidate.0.iter().zip(&reference.0) {
            let (own, other) = match (own, other) {
                (AnswerOutcome::Undetermined, _) | (_, AnswerOutcome::Undetermined) => continue,
                (own, other) => (*own == AnswerOutcome::Right, *other == AnswerOutcome::Right),
            };
            all.pairs += 1;
            all.reference_right += u32::from(other);
            all.lost += u32::from(other && !own);
            all.won += u32::from(own && !other);
        }
        all
    }

    /// The chance of losing so many or more if both were equal.
    #[must_use]
    pub fn p(&self) -> f64 {
        losing_p(self.lost, self.won)
    }

    /// True if more is lost than chance explains.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.p() <= SIGNIFICANCE
    }
}

/// P(X ≥ b) for X ~ Binomial(b + c, ½), with b questions lost and c won (McNemar 1947, exact form); 1 if the servers never differ.
#[must_use]
pub fn losing_p(lost: u32, won: u32) -> f64 {
    let n = lost + won;
    // ln of C(n, k), summed up term by term: exact enough for any number of questions.
    let ln_half_n = -f64::from(n) * std::f64::consts::LN_2;
    let mut ln_choose = 0.0;
    let mut tail = 0.0;
    // From k = n down to b: C(n, n) = 1.
    for k in (lost..=n).rev() {
        tail += (ln_choose + ln_half_n).exp();
        if k > 0 {
            ln_choose += f64::from(k).ln() - f64::from(n - k + 1).ln();
        }
    }
    tail.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::generator;
    use rand::RngExt as _;
    use rand_pcg::Pcg64;

    #[test]
    fn by_hand() {
        for (lost, won, wanted) in [
            (0, 0, 1.0),
            (0, 5, 1.0),
            (5, 0, 1.0 / 32.0),
            (4, 0, 1.0 / 16.0),
            (3, 2, 0.5),
            (9, 2, 67.0 / 2048.0),
            (8, 2, 56.0 / 1024.0),
        ] {
            assert!((losing_p(lost, won) - wanted).abs() < 1e-12, "{lost} {won}: {}", losing_p(lost, won));
        }
        assert!(losing_p(700, 600) < 0.01 && losing_p(600, 700) > 0.99 && losing_p(700, 600) > 0.0);
    }

    #[test]
    fn only_questions_with_two_outcomes_count() {
        use AnswerOutcome::{Right as R, Undetermined as U, Wrong as W};
        let paired =
            PairedAnswers::of(&QuestionOutcomes(vec![R, W, U, W, R, R]), &QuestionOutcomes(vec![R, R, R, U, W, R]));
        let wanted = PairedAnswers { pairs: 4, right: 3, undetermined: 1, reference_right: 3, lost: 1, won: 1 };
        assert_eq!(paired, wanted);
    }

    /// The outcomes of a server that is right with `share` on questions that the model knows, and turns `churn` of all around.
    fn outcomes(known: &[bool], lost: f64, churn: f64, random: &mut Pcg64) -> QuestionOutcomes {
        let mut one = |known: bool| {
            let right = known && random.random::<f64>() >= lost;
            let right = right ^ (random.random::<f64>() < churn);
            if right { AnswerOutcome::Right } else { AnswerOutcome::Wrong }
        };
        QuestionOutcomes(known.iter().map(|known| one(*known)).collect())
    }

    /// Share of 2,000 pairs that are called worse.
    fn share_worse(questions: usize, points: f64, churn: f64) -> f64 {
        const LEVEL: f64 = 0.94;
        let mut random = generator(11, &[&questions.to_string(), &points.to_string(), &churn.to_string()]);
        let mut worse = 0;
        for _ in 0..2000 {
            let known: Vec<bool> = (0..questions).map(|_| random.random::<f64>() < LEVEL).collect();
            let reference = outcomes(&known, 0.0, churn, &mut random);
            let candidate = outcomes(&known, points / LEVEL, churn, &mut random);
            worse += u32::from(PairedAnswers::of(&candidate, &reference).is_worse());
        }
        f64::from(worse) / 2000.0
    }

    #[test]
    fn a_loss_of_five_points_is_found_and_equal_servers_are_not_called_worse() {
        // Equal servers differ in 1 % of the answers (each turns 0.5 % around), as batches change the order of sums.
        let found = share_worse(200, 0.05, 0.005);
        assert!(found >= 0.80, "5 points at 200 questions: {found}");
        let screened = share_worse(64, 0.20, 0.005);
        assert!(screened >= 0.95, "20 points at 64 questions: {screened}");
        let released = share_worse(400, 0.03, 0.005);
        assert!(released >= 0.75, "3 points at 400 questions: {released}");
        for (questions, churn) in [(64, 0.02), (200, 0.005), (200, 0.02), (200, 0.10), (400, 0.10)] {
            let alarms = share_worse(questions, 0.0, churn);
            assert!(alarms <= 0.05, "equal servers, {questions} questions, churn {churn}: {alarms}");
        }
    }
}
