//! Whether a run was in a steady state: the thirds of its window agree, and latency does not grow from third to third.
//!
//! The number of requests in flight alone says nothing. By Little's law it is rate × E2E, so it rises for the duration of one
//! request after the start of any run. The backlog is what is in flight beyond that, and it grows if E2E grows: if E2E grows by
//! s seconds per second of the run, the server completes 1/(1 + s) of the arrivals. This is judged after the ramp, which ends
//! once as much time has passed as a request takes.

use crate::rows::kinds::{LoadMode, Stability};

/// Thirds whose largest and smallest differ by more than this factor do not agree (perf_analyzer's 10 %).
const AGREE: f64 = 1.10;
/// After the ramp the server falls behind if E2E grows by more than this, seconds per second.
const FALLS_BEHIND: f64 = 0.1;
/// During the ramp it falls behind if TTFT, or after several answers E2E, grows by more than this, seconds per second. A batch that fills slows down tokens,
/// but hardly the first one.
const QUEUES: f64 = 0.5;
/// It also falls behind if E2E grows by more than this during the ramp, seconds per second: a batch that fills at a sustainable
/// rate makes E2E grow by less.
const RUNS_AWAY: f64 = 1.0;
/// Growth must be more than this many standard errors.
const SURE: f64 = 3.0;
/// Growth must add at least this many requests in flight: a few are noise.
const BY: f64 = 4.0;
/// A backlog keeps growing, other growth levels off: the growth between the last two thirds must be at least this share of that
/// between the first two.
const GROWS_ON: f64 = 0.25;
/// A run shorter than this multiple of its ramp is too short to tell.
const LONG: f64 = 2.0;
/// Minimum number of requests for comparing thirds.
pub const ENOUGH: u32 = 30;
/// Share of the early requests that have finished by the end of the ramp.
const BACK: f64 = 0.95;
/// Factor between the lengths of the ramp that are tried.
const STEP: f64 = 1.05;
/// If TTFT is more than this share of E2E, responses were not streamed or had one token.
const WHOLE: f64 = 0.99;

/// One request on the run's clock, s. There is one per request, so it is small: within an hour an f32 still resolves a quarter
/// of a millisecond, more than thirds need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// When it was due; in closed loop, when it was sent.
    pub start: f32,
    /// When it ended.
    pub end: f32,
    /// Its TTFT, s, or its E2E if it was not streamed; `None` if it failed.
    pub ttft: Option<f32>,
}

impl Span {
    fn e2e(&self) -> f64 {
        f64::from(self.end) - f64::from(self.start)
    }
}

/// The stability of a run after `warm_s` seconds of the same load; `None` if it is too short to tell.
#[must_use]
pub fn stability(spans: &[Span], mode: LoadMode, warm_s: Option<f64>) -> Option<Stability> {
    let starts = || spans.iter().map(|span| f64::from(span.start));
    let begin = starts().fold(f64::INFINITY, f64::min);
    let length = starts().fold(f64::NEG_INFINITY, f64::max) - begin;
    if spans.len() < ENOUGH as usize || length <= 0.0 {
        return None;
    }
    let at = |from: f64| Window { begin: begin + from, third: (length - from) / 3.0 };
    let open = mode == LoadMode::Open;
    let warm = warm_s.unwrap_or(0.0);
    if let Some(ramp) = ramp(spans, begin, length).filter(|ramp| length + warm >= LONG * ramp) {
        let from = (ramp - warm).max(0.0);
        let window = at(from);
        let e2e = window.thirds(spans, Span::e2e);
        return Some(window.stability(spans, from, open && grows(&e2e, &window, FALLS_BEHIND)));
    }
    let window = at(0.0);
    let e2e = window.thirds(spans, Span::e2e);
    let ttft = window.thirds(spans, |span| f64::from(span.ttft.unwrap_or(0.0)));
    let queues = ttft[2].mean < WHOLE * e2e[2].mean && grows(&ttft, &window, QUEUES);
    // If answers were not streamed, only their ends show a queue, once several of the fastest would have fitted into the run.
    let fastest = spans.iter().filter(|span| span.ttft.is_some()).map(Span::e2e).fold(f64::INFINITY, f64::min);
    let ends_queue = length >= 2.0 * LONG * fastest && grows(&e2e, &window, QUEUES);
    let saturated = open && (queues || ends_queue || grows(&e2e, &window, RUNS_AWAY));
    saturated.then(|| window.stability(spans, 0.0, saturated))
}

/// The length of the ramp, during which the requests in flight rise because the first have not finished yet, s: the earliest
/// time since the first request that is at least the E2E of 95 % of the requests started by then. Later ones are not considered, since
/// they take longer if there is a backlog.
fn ramp(spans: &[Span], begin: f64, length: f64) -> Option<f64> {
    let done = || spans.iter().filter(|span| span.ttft.is_some());
    let mut ramp = done().map(|span| f64::from(span.start) - begin).fold(f64::INFINITY, f64::min);
    while ramp <= length {
        let mut early: Vec<f64> = done().filter(|span| f64::from(span.start) - begin <= ramp).map(Span::e2e).collect();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let place = ((early.len() as f64 * BACK).ceil() as usize).saturating_sub(1);
        let (_, back, _) = early.select_nth_unstable_by(place, f64::total_cmp);
        if *back <= ramp {
            return Some(ramp);
        }
        ramp = back.max(ramp * STEP);
    }
    None
}

/// True if a latency grows from third to third by more than `slope` seconds per second, beyond noise.
fn grows(thirds: &[Third; 3], window: &Window, slope: f64) -> bool {
    let [first, middle, last] = thirds;
    let growth = last.mean - first.mean;
    let error = (first.square_error + last.square_error).sqrt();
    let rate = thirds.iter().map(|third| third.n).sum::<f64>() / (3.0 * window.third);
    let on = last.mean - middle.mean >= GROWS_ON * (middle.mean - first.mean);
    let rises = first.mean < middle.mean && middle.mean < last.mean;
    rises && on && growth > slope * 2.0 * window.third && growth > SURE * error && rate * growth >= BY
}

/// A latency of the successful requests that started in a third, s.
#[derive(Debug, Clone, Copy, Default)]
struct Third {
    n: f64,
    mean: f64,
    /// The square of the mean's standard error.
    square_error: f64,
}

/// The part of a run that is judged, in thirds.
struct Window {
    begin: f64,
    third: f64,
}

impl Window {
    /// The third that contains a time, the end of the last included.
    fn of(&self, at: f32) -> Option<usize> {
        let thirds = (f64::from(at) - self.begin) / self.third;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 3")]
        (0.0..=3.0).contains(&thirds).then(|| (thirds as usize).min(2))
    }

    fn thirds(&self, spans: &[Span], latency: impl Fn(&Span) -> f64) -> [Third; 3] {
        let done = || spans.iter().filter(|span| span.ttft.is_some());
        let mine = || done().filter_map(|span| Some((self.of(span.start)?, latency(span))));
        let mut thirds = [Third::default(); 3];
        for (i, value) in mine() {
            thirds[i].n += 1.0;
            thirds[i].mean += value;
        }
        for third in &mut thirds {
            third.mean /= third.n;
        }
        for (i, value) in mine() {
            let n = thirds[i].n;
            thirds[i].square_error += (value - thirds[i].mean).powi(2) / (n * (n - 1.0));
        }
        thirds
    }

    fn stability(&self, spans: &[Span], from: f64, saturated: bool) -> Stability {
        let thirds = [0.0, 1.0, 2.0].map(|i| (self.begin + self.third * i, self.begin + self.third * (i + 1.0)));
        let in_flight = thirds.map(|(from, to)| {
            let overlap = |span: &Span| (f64::from(span.end).min(to) - f64::from(span.start).max(from)).max(0.0);
            spans.iter().map(overlap).sum::<f64>() / (to - from)
        });
        let completions = thirds.map(|(from, to)| {
            let back = |span: &&Span| span.ttft.is_some() && f64::from(span.end) >= from && f64::from(span.end) < to;
            count(spans.iter().filter(back))
        });
        let started = count(spans.iter().filter(|span| self.of(span.start).is_some()));
        let e2e = self.thirds(spans, Span::e2e).map(|third| third.mean);
        let ttft = self.thirds(spans, |span| f64::from(span.ttft.unwrap_or(0.0))).map(|third| third.mean);
        let (throughput, latency) = (spread(completions), spread(ttft));
        let agree = |spread: Option<f64>| spread.is_some_and(|spread| spread <= AGREE);
        Stability {
            max_min_throughput: throughput,
            max_min_ttft: latency,
            stable: agree(throughput) && agree(latency),
            from_s: from,
            rate: started / (3.0 * self.third),
            in_flight,
            e2e_s: e2e.map(|mean| Some(mean).filter(|mean| mean.is_finite())),
            saturated,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
fn count<T>(items: impl Iterator<Item = T>) -> f64 {
    items.count() as f64
}

/// The largest over the smallest; `None` if one is not above 0.
fn spread(values: [f64; 3]) -> Option<f64> {
    let (least, most) = (values.into_iter().fold(f64::INFINITY, f64::min), values.into_iter().fold(0.0, f64::max));
    (least > 0.0 && most.is_finite()).then(|| most / least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::generator;
    use crate::load::schedule::arrivals;
    use crate::rows::words::Arrivals;

    /// One server that takes 0.1 s per request, at this share of its capacity, for a minute.
    fn queue(load: f64, seed: u64) -> Vec<Span> {
        let mut free = 0.0;
        let due = arrivals(Arrivals::Poisson, (600.0 * load) as u32, 10.0 * load, &mut generator(seed, &["m/d/1"]));
        due.iter()
            .map(|at| {
                let start = at.seconds();
                free = f64::max(free, start) + 0.1;
                Span { start: start as f32, end: free as f32, ttft: Some((free - start) as f32) }
            })
            .collect()
    }

    fn open(spans: &[Span]) -> Option<Stability> {
        stability(spans, LoadMode::Open, None)
    }

    /// A server with this many slots, 9 s per request and a first token after 50 ms; `n` requests at `rate` per second.
    fn slots(slots: usize, n: u32, rate: f64, seed: u64) -> Vec<Span> {
        let mut free = vec![0.0; slots];
        let due = arrivals(Arrivals::Poisson, n, rate, &mut generator(seed, &["slots"]));
        due.iter()
            .map(|at| {
                let slot = free.iter_mut().min_by(|a: &&mut f64, b| a.total_cmp(b)).unwrap();
                let begun = f64::max(*slot, at.seconds());
                *slot = begun + 9.0;
                let ttft = begun + 0.05 - at.seconds();
                Span { start: at.seconds() as f32, end: *slot as f32, ttft: Some(ttft as f32) }
            })
            .collect()
    }

    #[test]
    fn a_growing_queue_is_distinguished_from_a_stable_one() {
        for seed in 0..20 {
            assert!(open(&queue(1.2, seed)).unwrap().saturated, "ρ = 1.2, seed {seed}");
            let calm = open(&queue(0.7, seed)).unwrap();
            assert!(!calm.saturated, "ρ = 0.7, seed {seed}: {calm:?}");
        }
    }

    #[test]
    fn in_flight_rises_for_the_length_of_an_answer_and_that_is_no_backlog() {
        for seed in 0..20 {
            // 15 s of requests that take 9 s: too short to tell.
            assert_eq!(open(&slots(1000, 60, 4.0, seed)), None);
            let judged = open(&slots(1000, 100, 4.0, seed)).unwrap();
            assert!(!judged.saturated && judged.from_s >= 8.9 && judged.from_s < 9.5, "{judged:?}");
            let explained = judged.rate * judged.e2e_s[0].unwrap();
            assert!((judged.in_flight[1] / explained - 1.0).abs() < 0.3, "{judged:?}");
            // After a warm-up as long as an answer the ramp is behind it.
            let warm = stability(&slots(1000, 60, 4.0, seed), LoadMode::Open, Some(10.0)).unwrap();
            assert!(!warm.saturated && warm.from_s == 0.0, "{warm:?}");
        }
    }

    #[test]
    fn falling_behind_is_detected_in_a_short_run_too() {
        for seed in 0..20 {
            // At most 0.44 per second: TTFT shows it before the end of the ramp.
            assert!(open(&slots(4, 60, 4.0, seed)).unwrap().saturated, "seed {seed}");
            // At most 3.1 per second, which takes longer to detect.
            let judged = open(&slots(28, 400, 4.0, seed)).unwrap();
            assert!(judged.saturated, "seed {seed}: {judged:?}");
            assert!(!open(&slots(48, 400, 4.0, seed)).unwrap().saturated, "seed {seed}");
        }
        // Without streaming there is no first token; a load that is far too high is detected anyway.
        let whole = |spans: Vec<Span>| -> Vec<Span> {
            spans.into_iter().map(|span| Span { ttft: Some(span.end - span.start), ..span }).collect()
        };
        assert!(open(&whole(slots(4, 60, 4.0, 1))).unwrap().saturated);
        assert_eq!(open(&whole(slots(1000, 60, 4.0, 1))), None);
        // In closed loop a request waits for an earlier one, so there is no backlog.
        assert!(!stability(&queue(1.2, 1), LoadMode::Closed, None).unwrap().saturated);
    }

    #[test]
    fn an_endless_backlog_is_judged_quickly() {
        // At exactly twice the capacity of the server the ramp never ends.
        assert!(open(&slots(1, 200_000, 0.222, 1)).unwrap().saturated);
        let failed: Vec<Span> = slots(4, 60, 4.0, 1).into_iter().map(|span| Span { ttft: None, ..span }).collect();
        assert_eq!(open(&failed), None);
    }

    #[test]
    fn even_thirds_are_stable_and_a_drift_is_not() {
        let even = |drift: f32| -> Vec<Span> {
            let span = |i: u16| {
                let start = f32::from(i) * 0.1;
                let ttft = 0.05 + drift * start;
                Span { start, end: start + 0.05 + ttft, ttft: Some(ttft) }
            };
            (0..300).map(span).collect()
        };
        assert!(open(&even(0.0)).unwrap().stable);
        let drifting = open(&even(0.01)).unwrap();
        assert!(!drifting.stable && !drifting.saturated && drifting.max_min_ttft > Some(2.0), "{drifting:?}");
        assert_eq!(open(&even(0.0)[..20]), None);
    }
}
