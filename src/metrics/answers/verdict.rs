//! The verdict on a server's answers, from the rows of its check and of its reference.

use super::mcnemar::{PairedAnswers, SIGNIFICANCE, losing_p};
use super::shape::{agreement, warnings};
use crate::rows::kinds::{AnswerQuality, Check, QuestionOutcomes};
use crate::rows::words::{CheckPart, CheckVerdict};

/// A model that copies fewer nonces than one in so many cannot copy: that none is another request's then says nothing.
const COPIES: u32 = 4;
/// A reference that is right on fewer questions than one in so many has too little to lose.
const KNOWS: u32 = 5;

/// The verdict on requests that ask to repeat a nonce: `asked` of them, `copied` answers with their own nonce, and `crossed` with
/// that of another request.
#[must_use]
pub fn cross_talk(asked: u32, copied: u32, crossed: u32) -> (CheckVerdict, String) {
    if crossed > 0 {
        let (answers, have) = if crossed == 1 { ("answer", "has") } else { ("answers", "have") };
        return (CheckVerdict::CrossTalk, format!("{crossed} {answers} {have} the nonce of another request"));
    }
    if copied * COPIES < asked || asked == 0 {
        let why = format!("the model repeated only {copied} of {asked} nonces, so cross-talk cannot be told");
        return (CheckVerdict::Undetermined, why);
    }
    (CheckVerdict::Same, format!("no answer has the nonce of another request ({copied} of {asked} repeated)"))
}

/// What a result says of a server that was not checked.
#[must_use]
pub fn not_checked(reason: &str) -> AnswerQuality {
    AnswerQuality { verdict: CheckVerdict::NotChecked, reason: reason.into(), ..AnswerQuality::default() }
}

/// The answers of a server, from the rows of its check, compared with those of its reference if it has one.
#[must_use]
pub fn answer_quality(own: &[Check], reference: &[Check]) -> AnswerQuality {
    let part = |rows: &[Check], part: CheckPart| rows.iter().find(|row| row.part == part).cloned();
    let mut quality = AnswerQuality { in_flight: own.first().map(|row| row.in_flight), ..AnswerQuality::default() };
    let (mut reasons, mut failures) = (Vec::new(), None);
    if let Some(row) = part(own, CheckPart::CrossTalk) {
        let crossed = row.crossed.unwrap_or(0);
        let (verdict, why) = cross_talk(row.asked, row.copied.unwrap_or(0), crossed);
        let why = match verdict == CheckVerdict::Undetermined && row.failed > 0 {
            true => format!("{why} ({} of them failed)", row.failed),
            false => why,
        };
        (quality.nonces, quality.crossed) = (Some(row.asked), Some(crossed));
        quality.verdict = verdict;
        reasons.extend((verdict != CheckVerdict::Same).then_some(why));
    }
    if let Some(row) = part(own, CheckPart::Answers) {
        let other = part(reference, CheckPart::Answers);
        let (verdict, why) = paired(&mut quality, &row, other.as_ref());
        quality.verdict = quality.verdict.and(verdict);
        reasons.push(why);
        let fails = other.map_or(0, |other| other.failed);
        if row.failed > fails {
            failures =
                Some(format!("{} of {} questions got no answer, {fails} of the baseline's", row.failed, row.asked));
        }
    }
    if let Some(row) = part(own, CheckPart::Shape)
        && let Some(shape) = row.shape
    {
        let other = part(reference, CheckPart::Shape).and_then(|other| other.shape);
        quality.warnings = warnings(&shape, other.as_ref(), row.asked);
    }
    quality.warnings.extend(failures);
    if let (Some(own), Some(other)) = (part(own, CheckPart::Agreement), part(reference, CheckPart::Agreement)) {
        quality.agreement = agreement(&own.beginnings, &other.beginnings);
    }
    if reasons.is_empty() {
        reasons.push(match quality.agreement {
            Some(share) => format!("only greedy answers were compared: {:.0} % as its baseline's", 100.0 * share),
            None => "only greedy answers were taken, and none of its baseline to compare with".into(),
        });
    }
    quality.reason = reasons.join("; ");
    quality
}

/// Compares the outcomes of the questions, and writes the numbers.
fn paired(quality: &mut AnswerQuality, row: &Check, reference: Option<&Check>) -> (CheckVerdict, String) {
    let read = |row: &Check| row.outcomes.clone().unwrap_or_default();
    let own = read(row);
    let alone = PairedAnswers::of(&own, &QuestionOutcomes::default());
    quality.questions = Some(row.asked);
    (quality.right, quality.undetermined) = (Some(alone.right), Some(alone.undetermined));
    let asked = row.asked;
    let Some(reference) = reference else {
        let why = format!("{} of {asked} questions right, and no check of its baseline to compare with", alone.right);
        return (CheckVerdict::Undetermined, why);
    };
    let pairs = PairedAnswers::of(&own, &read(reference));
    let p = pairs.p();
    quality.reference_right = Some(pairs.reference_right);
    (quality.lost, quality.won, quality.p) = (Some(pairs.lost), Some(pairs.won), Some(p));
    let counts =
        format!("{asked} questions, {} lost, {} won against its baseline (p = {})", pairs.lost, pairs.won, short(p));
    if p <= SIGNIFICANCE {
        return (CheckVerdict::Worse, counts);
    }
    if pairs.pairs * 2 < asked {
        let failed = row.failed + reference.failed;
        let why = match failed * 2 > alone.undetermined {
            true => format!("{counts}, but only {} have an answer on both: {failed} requests failed", pairs.pairs),
            false => format!("{counts}, but only {} have an answer on both: raise check.max_tokens", pairs.pairs),
        };
        return (CheckVerdict::Undetermined, why);
    }
    if pairs.reference_right * KNOWS < pairs.pairs {
        let right = pairs.reference_right;
        let why = format!("{counts}, but its baseline answers only {right} of {} right", pairs.pairs);
        return (CheckVerdict::Undetermined, why);
    }
    // With fewer even the loss of all would be no evidence.
    if losing_p(pairs.reference_right, 0) > SIGNIFICANCE {
        let right = pairs.reference_right;
        let why =
            format!("{counts}, but {right} that its baseline answers right are too few to tell: ask more questions");
        return (CheckVerdict::Undetermined, why);
    }
    (CheckVerdict::Same, counts)
}

/// A probability with two digits that say something.
#[must_use]
pub fn short(p: f64) -> String {
    if p >= 0.1 {
        let text = format!("{p:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    if p >= 0.001 { format!("{p:.3}") } else { format!("{p:.0e}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::kinds::AnswerShape;
    use crate::rows::words::Endpoint;

    fn row(part: CheckPart) -> Check {
        Check {
            server_id: "s".into(),
            part,
            reference: false,
            reference_key: "k".into(),
            questions_sha256: "q".into(),
            endpoint: Endpoint::Chat,
            in_flight: 8,
            seed: 1,
            max_tokens: 64,
            asked: 20,
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

    fn answers(outcomes: &str) -> Check {
        let asked = u32::try_from(outcomes.len()).unwrap();
        Check { outcomes: Some(outcomes.to_string().try_into().unwrap()), asked, ..row(CheckPart::Answers) }
    }

    fn nonces(copied: u32, crossed: u32) -> Check {
        Check { asked: 64, copied: Some(copied), crossed: Some(crossed), ..row(CheckPart::CrossTalk) }
    }

    fn verdict(own: &[Check], reference: &[Check]) -> (CheckVerdict, String) {
        let quality = answer_quality(own, reference);
        (quality.verdict, quality.reason)
    }

    #[test]
    fn every_verdict_has_its_numbers() {
        let (right, some, none) = ("+".repeat(20), format!("{}{}", "-".repeat(5), "+".repeat(15)), "-".repeat(20));
        let cut = format!("{}{}", "?".repeat(12), "+".repeat(8));
        let good = [nonces(63, 0), answers(&right)];
        let failing = Check { failed: 12, ..answers(&cut) };
        assert_eq!(
            verdict(&good, &good),
            (CheckVerdict::Same, "20 questions, 0 lost, 0 won against its baseline (p = 1)".into())
        );
        assert_eq!(
            verdict(&[nonces(63, 0), answers(&some)], &good),
            (CheckVerdict::Worse, "20 questions, 5 lost, 0 won against its baseline (p = 0.031)".into())
        );
        let crossed = verdict(&[nonces(60, 1), answers(&right)], &good);
        assert_eq!(crossed.0, CheckVerdict::CrossTalk);
        assert!(crossed.1.starts_with("1 answer has the nonce of another request; 20 questions"), "{}", crossed.1);
        for (own, reference, why) in [
            (vec![nonces(0, 0), answers(&right)], &good[..], "repeated only 0 of 64 nonces"),
            (vec![nonces(63, 0), answers(&cut)], &good[..], "only 8 have an answer on both"),
            (vec![nonces(63, 0), failing.clone()], &good[..], "only 8 have an answer on both: 12 requests failed"),
            (vec![Check { failed: 60, ..nonces(4, 0) }, answers(&right)], &good[..], "be told (60 of them failed)"),
            (vec![nonces(63, 0), answers(&none)], &[answers(&none)][..], "its baseline answers only 0 of 20 right"),
            (
                vec![nonces(63, 0), answers("++++")],
                &[answers("++++")][..],
                "4 that its baseline answers right are too few",
            ),
            (good.to_vec(), &[][..], "no check of its baseline"),
        ] {
            let (verdict, reason) = verdict(&own, reference);
            assert_eq!(verdict, CheckVerdict::Undetermined, "{reason}");
            assert!(reason.contains(why), "{reason}");
        }
        // Of the answers that came all are right, and it says how many did not come.
        let some = Check { failed: 5, ..answers(&format!("{}{}", "?".repeat(5), "+".repeat(15))) };
        let quality = answer_quality(&[nonces(63, 0), some], &good);
        assert_eq!(quality.verdict, CheckVerdict::Same);
        assert_eq!(quality.warnings, ["5 of 20 questions got no answer, 0 of the baseline's"]);
        // A broken candidate is told by its answers even where it cannot copy any more.
        assert_eq!(verdict(&[nonces(0, 0), answers(&none)], &good).0, CheckVerdict::Worse);
    }

    #[test]
    fn shape_and_agreement_are_reported_and_never_judged() {
        let shape = |repeated| Check {
            shape: Some(AnswerShape { repeated, ended_share: Some(1.0), ..AnswerShape::default() }),
            asked: 20,
            ..row(CheckPart::Shape)
        };
        let begun = |text: &str| Check { beginnings: vec![Some(text.into())], ..row(CheckPart::Agreement) };
        let all = |repeated, text: &str| vec![nonces(64, 0), answers(&"+".repeat(20)), shape(repeated), begun(text)];
        let screening = answer_quality(&[begun("abxx")], &all(0, "abcd"));
        assert_eq!((screening.verdict, screening.agreement), (CheckVerdict::NotChecked, Some(0.5)));
        assert_eq!(screening.reason, "only greedy answers were compared: 50 % as its baseline's");
        assert_eq!(answer_quality(&[begun("abxx")], &[]).verdict, CheckVerdict::NotChecked);
        let quality = answer_quality(&all(9, "abxx"), &all(0, "abcd"));
        assert_eq!((quality.verdict, quality.warnings.len()), (CheckVerdict::Same, 1));
        assert_eq!(quality.agreement, Some(0.5));
    }

    #[test]
    fn probabilities_are_short() {
        assert_eq!([1.0, 0.5, 0.25, 0.03125, 0.00004].map(short), ["1", "0.5", "0.25", "0.031", "4e-5"]);
    }
}
