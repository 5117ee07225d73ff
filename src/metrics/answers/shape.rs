//! How answers look: repeated texts, ends, lengths; and how much of two greedy answers is equal.

use crate::metrics::sample::mean;
use crate::rows::kinds::AnswerShape;

/// A text that is repeated has at most so many characters.
const LONGEST_PERIOD: usize = 32;
/// It is repeated at least so often.
const REPEATS: usize = 8;
/// And fills at least so many characters.
const LEAST_TAIL: usize = 24;

/// True if the text ends in one short text repeated over and over: the model, or its server, is stuck.
#[must_use]
pub fn is_repeated(text: &str) -> bool {
    let mut last: Vec<char> = text.trim_end().chars().collect();
    last.drain(..last.len().saturating_sub(LONGEST_PERIOD * REPEATS));
    (1..=LONGEST_PERIOD).any(|period| {
        let tail = (period * REPEATS).max(LEAST_TAIL);
        last.len() >= tail && {
            let end = &last[last.len() - tail..];
            end.iter().skip(period).zip(end).all(|(later, earlier)| later == earlier)
        }
    })
}

/// The mean share of the reference's beginnings, in characters, up to the first difference; `None` if there is no pair.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of characters")]
pub fn agreement(own: &[Option<String>], reference: &[Option<String>]) -> Option<f64> {
    let share = |(own, reference): (&String, &String)| {
        let n = reference.chars().count().max(own.chars().count());
        let equal = own.chars().zip(reference.chars()).take_while(|(a, b)| a == b).count();
        if n == 0 { 1.0 } else { equal as f64 / n as f64 }
    };
    let pairs = own.iter().zip(reference).filter_map(|(a, b)| a.as_ref().zip(b.as_ref()));
    let shares: Vec<f64> = pairs.map(share).collect();
    mean(&shares)
}

/// The share that ends by itself may fall by so much.
const ENDED: f64 = 0.10;
/// The mean length may change by this factor.
const LENGTH: f64 = 1.5;

/// What is odd about the answers of a server, compared with a reference if there is one: a sentence with its numbers each.
#[must_use]
pub fn warnings(own: &AnswerShape, reference: Option<&AnswerShape>, asked: u32) -> Vec<String> {
    let mut found = Vec::new();
    let of_reference = |n: fn(&AnswerShape) -> u32| reference.map_or(0, n);
    if own.repeated > of_reference(|shape| shape.repeated) + asked / 50 {
        found.push(format!("{} of {asked} answers end in one text repeated over and over", own.repeated));
    }
    if own.invalid_utf8 > of_reference(|shape| shape.invalid_utf8) {
        found.push(format!("{} of {asked} answers have invalid UTF-8", own.invalid_utf8));
    }
    let Some(reference) = reference else { return found };
    if let (Some(own), Some(other)) = (own.ended_share, reference.ended_share)
        && other - own > ENDED
    {
        found.push(format!(
            "{:.0} % of the answers end by themselves, {:.0} % on the baseline",
            own * 100.0,
            other * 100.0
        ));
    }
    if let (Some(own), Some(other)) = (own.mean_tokens, reference.mean_tokens)
        && (own > other * LENGTH || other > own * LENGTH)
    {
        found.push(format!("answers have {own:.1} tokens on average, {other:.1} on the baseline"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_never_gets_on_is_repeated() {
        for (text, repeated) in [
            ("the the the the the the the the the the", true),
            ("!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!", true),
            ("well, 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3", true),
            ("1000000000", false),
            ("ha ha ha", false),
            ("The quick brown fox jumps over the lazy dog, and the dog sleeps on.", false),
            ("", false),
        ] {
            assert_eq!(is_repeated(text), repeated, "{text}");
        }
    }

    #[test]
    fn agreement_is_the_share_before_the_first_difference() {
        let texts = |all: &[&str]| all.iter().map(|text| Some((*text).to_string())).collect::<Vec<_>>();
        let share = agreement(&texts(&["abcd", "abxx"]), &texts(&["abcd", "abcd"])).unwrap();
        assert!((share - 0.75).abs() < 1e-9);
        assert_eq!(agreement(&[None], &texts(&["a"])), None);
    }

    #[test]
    fn warnings_have_numbers() {
        let good = AnswerShape { ended_share: Some(1.0), mean_tokens: Some(10.0), ..AnswerShape::default() };
        let bad = AnswerShape { ended_share: Some(0.4), mean_tokens: Some(64.0), repeated: 90, invalid_utf8: 2 };
        assert_eq!(warnings(&good, Some(&good), 200), Vec::<String>::new());
        assert_eq!(warnings(&bad, Some(&good), 200).len(), 4);
        assert_eq!(warnings(&bad, None, 200).len(), 2);
    }
}
