//! TTFT, TPOT and E2E of one request.
//!
//! With t0 the due time (open loop, burst) or the time of sending (closed loop), a₁ and a_K the first and last
//! token-bearing chunk and N the output tokens by the server's count:
//! TTFT = a₁ − t0, E2E = a_K − t0, TPOT = (a_K − a₁)/(N − 1) for N ≥ 2.
//!
//! If f tokens arrived together with the first one, as they do if the client was starved of the CPU or a proxy buffers, their
//! times are unknown, and a₁ may be that of the last of them: then TPOT = (a_K − a₁)/(N − f), and unknown for N = f.

use crate::rows::kinds::{Request, RequestStatus, TokenSource};
use crate::rows::units::Millis;

/// The times of one successful request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Time to first token; `None` if the response was not streamed.
    pub ttft: Option<Millis>,
    /// Time to the first token of the answer itself, after reasoning; `None` without reasoning.
    pub ttfat: Option<Millis>,
    /// Time per output token after the first; `None` for a single token, or if the server did not count tokens, all of them arrived
    /// together, or they are of several choices.
    pub tpot: Option<Millis>,
    /// If all tokens arrived together: the highest that TPOT can have been, since t0.
    pub tpot_bound: Option<Millis>,
    /// End to end, to the last token.
    pub e2e: Millis,
}

/// The times of a request; `None` if it did not succeed.
#[must_use]
pub fn timing(request: &Request) -> Option<Timing> {
    if request.status != RequestStatus::Ok {
        return None;
    }
    let begun = request.due_us.or(request.sent_us)?;
    // A response that was not streamed arrived at its end.
    let last = request.last_token_us.or(request.end_us)?;
    let since = |at: crate::rows::units::Micros| at.since(begun);
    Some(Timing {
        ttft: request.first_token_us.map(since),
        ttfat: request.first_answer_us.map(since),
        tpot: tpot(request),
        tpot_bound: tpot_bound(request, since(last)),
        e2e: since(last),
    })
}

fn tpot(request: &Request) -> Option<Millis> {
    let first = request.first_tokens.unwrap_or(1).max(1);
    let gaps = output_tokens(request)?.checked_sub(first).filter(|gaps| *gaps > 0 && request.choices.is_none())?;
    let span = request.last_token_us?.since(request.first_token_us?);
    Some(Millis(span.0 / f64::from(gaps)))
}

fn tpot_bound(request: &Request, e2e: Millis) -> Option<Millis> {
    let n = output_tokens(request).filter(|n| request.first_tokens == Some(*n) && *n > 1)?;
    Some(Millis(e2e.0 / f64::from(n - 1)))
}

/// Number of output tokens; `None` if only chunks were counted.
#[must_use]
pub fn output_tokens(request: &Request) -> Option<u32> {
    request.output_tokens.filter(|_| request.token_source != Some(TokenSource::Chunks))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rows::units::Micros;

    /// A successful request that was due, sent, and had its first and last token at these ms.
    pub fn request(due: u64, sent: u64, first: u64, last: u64, tokens: u32) -> Request {
        let at = |ms: u64| Some(Micros(ms * 1000));
        serde_json::from_value::<Request>(serde_json::json!({
            "run_id": "r", "i": 0, "phase": "measured", "due_us": at(due), "sent_us": at(sent), "first_token_us": at(first),
            "last_token_us": at(last), "end_us": at(last + 1), "input_tokens": 10, "output_tokens": tokens,
            "token_source": "usage", "chunks": tokens, "status": "ok", "http_status": 200,
        }))
        .unwrap()
    }

    #[test]
    fn hand_drawn_timelines() {
        let timed = |request: &Request| timing(request).unwrap();
        let ten = request(100, 105, 150, 240, 10);
        assert_eq!(
            timed(&ten),
            Timing {
                ttft: Some(Millis(50.0)),
                ttfat: None,
                tpot: Some(Millis(10.0)),
                tpot_bound: None,
                e2e: Millis(140.0)
            }
        );
        let whole = Request { first_token_us: None, last_token_us: None, ..ten.clone() };
        assert_eq!(timed(&whole), Timing { ttft: None, ttfat: None, tpot: None, tpot_bound: None, e2e: Millis(141.0) });
        let closed = Request { due_us: None, ..ten.clone() };
        assert_eq!(timed(&closed).ttft, Some(Millis(45.0)));
        assert_eq!(timed(&request(0, 0, 50, 50, 1)).tpot, None);
        assert_eq!(timed(&request(0, 0, 50, 60, 2)).tpot, Some(Millis(10.0)));
        // Four tokens came together, whenever they were sent: six more came in 90 ms.
        let together = Request { first_tokens: Some(4), ..ten.clone() };
        assert_eq!((timed(&together).tpot, timed(&together).tpot_bound), (Some(Millis(15.0)), None));
        let at_once = Request { first_tokens: Some(10), first_token_us: ten.last_token_us, ..ten.clone() };
        let bound = timed(&at_once).tpot_bound.unwrap();
        assert!(timed(&at_once).tpot.is_none() && (bound.0 - 140.0 / 9.0).abs() < 1e-9, "{bound:?}");
        assert_eq!(timed(&Request { choices: Some(2), ..ten.clone() }).tpot, None);
        let chunks = Request { token_source: Some(TokenSource::Chunks), ..ten.clone() };
        assert_eq!(timed(&chunks).tpot, None);
        assert_eq!(timing(&Request { status: RequestStatus::Truncated, ..ten }), None);
    }
}
