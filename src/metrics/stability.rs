//! Whether a run was in a steady state: thirds of its window that agree, and answers that take no longer from third to third.
//!
//! Requests in flight say nothing by themselves. By Little's law they are rate × E2E, so from the first request on they rise
//! for the length of an answer, whatever the server does. Backlog is what is in flight beyond that, and it grows where
//! E2E grows: answers that take s seconds longer for each second of the run come from a server that does 1/(1 + s) of what
//! arrives. That is judged after the ramp, which is over once as much time has passed as an answer takes.

use crate::rows::kinds::{LoadMode, Stability};

/// Thirds whose largest and smallest differ by more than this factor do not agree (perf_analyzer's 10 %).
const AGREE: f64 = 1.10;
/// After the ramp: E2E grows by more than so many seconds a second, and the server falls behind.
const FALLS_BEHIND: f64 = 0.1;
/// Before the ramp is over: so does the time to the first token. A batch that fills slows tokens down, and hardly the first.
const QUEUES: f64 = 0.5;
/// So does E2E: a batch that fills at a rate which the server can do makes answers longer by less than a second a second.
const RUNS_AWAY: f64 = 1.0;
/// Growth is more than so many standard errors.
const SURE: f64 = 3.0;
/// And makes the requests in flight more by at least so many: a few come and go.
const BY: f64 = 4.0;
/// What has reached its end grows less and less; a backlog grows on. Of the growth between the first two thirds so much is
/// there between the last two.
const GROWS_ON: f64 = 0.25;
/// The run is so many times as long as its ramp, or it is too short to tell.
const LONG: f64 = 2.0;
/// Fewer requests than this tell nothing about thirds.
const ENOUGH: usize = 30;
/// The share of answers that are back when the ramp is over.
const BACK: f64 = 0.95;
/// Steps in which the ramp's length is sought.
const STEP: f64 = 1.05;
/// An answer of which the first token takes this share came whole, or has one token.
const WHOLE: f64 = 0.99;

/// One request on the run's clock, seconds. There are as many as requests, so they are small: of an hour a number of this
/// size still tells a quarter of a millisecond, and thirds ask for less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// When it was due, or sent in closed loop.
    pub start: f32,
    /// When it ended.
    pub end: f32,
    /// Its TTFT, s, or what an answer that came whole took; `None` when it failed.
    pub ttft: Option<f32>,
}

impl Span {
    fn e2e(&self) -> f64 {
        f64::from(self.end) - f64::from(self.start)
    }
}

/// Looks at a run before which the same load was driven for `warm_s` seconds; `None` when it is too short to tell.
#[must_use]
pub fn stability(spans: &[Span], mode: LoadMode, warm_s: Option<f64>) -> Option<Stability> {
    let starts = || spans.iter().map(|span| f64::from(span.start));
    let begin = starts().fold(f64::INFINITY, f64::min);
    let length = starts().fold(f64::NEG_INFINITY, f64::max) - begin;
    if spans.len() < ENOUGH || length <= 0.0 {
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
    let saturated = open && (queues || grows(&e2e, &window, RUNS_AWAY));
    saturated.then(|| window.stability(spans, 0.0, saturated))
}

/// How long the requests in flight rise because the first are not back yet, s: the time by which an answer takes no longer
/// than has passed since the first request. Only what began by then is asked, for in a backlog later ones take longer.
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

/// True when a latency grows from third to third by more than `slope` seconds a second, beyond chance.
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

/// The time from which a run is looked at, in three parts.
struct Window {
    begin: f64,
    third: f64,
}

impl Window {
    /// The third in which a time is, the last end included.
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

/// The largest over the smallest; `None` when one is nothing.
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

    /// One server that takes 0.1 s for each request, at this share of what it can do, for a minute.
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

    /// A server that answers so many at once, each in 9 s after a first token in 50 ms; `n` requests, `rate` a second.
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
    fn a_queue_that_grows_is_told_from_one_that_does_not() {
        for seed in 0..20 {
            assert!(open(&queue(1.2, seed)).unwrap().saturated, "ρ = 1.2, seed {seed}");
            let calm = open(&queue(0.7, seed)).unwrap();
            assert!(!calm.saturated, "ρ = 0.7, seed {seed}: {calm:?}");
        }
    }

    #[test]
    fn in_flight_rises_for_the_length_of_an_answer_and_that_is_no_backlog() {
        for seed in 0..20 {
            // 15 s of requests that take 9 s: nobody can tell.
            assert_eq!(open(&slots(1000, 60, 4.0, seed)), None);
            let told = open(&slots(1000, 100, 4.0, seed)).unwrap();
            assert!(!told.saturated && told.from_s >= 8.9 && told.from_s < 9.5, "{told:?}");
            let explained = told.rate * told.e2e_s[0].unwrap();
            assert!((told.in_flight[1] / explained - 1.0).abs() < 0.3, "{told:?}");
            // After a warm-up as long as an answer the ramp is behind it.
            let warm = stability(&slots(1000, 60, 4.0, seed), LoadMode::Open, Some(10.0)).unwrap();
            assert!(!warm.saturated && warm.from_s == 0.0, "{warm:?}");
        }
    }

    #[test]
    fn who_falls_behind_is_told_also_when_the_run_is_short() {
        for seed in 0..20 {
            // 0.44 a second at most: the time to the first token says it before the ramp is over.
            assert!(open(&slots(4, 60, 4.0, seed)).unwrap().saturated, "seed {seed}");
            // 3.1 a second at most, which takes longer to see.
            let told = open(&slots(28, 400, 4.0, seed)).unwrap();
            assert!(told.saturated, "seed {seed}: {told:?}");
            assert!(!open(&slots(48, 400, 4.0, seed)).unwrap().saturated, "seed {seed}");
        }
        // Answers that come whole have no first token; what is far too much is seen all the same.
        let whole = |spans: Vec<Span>| -> Vec<Span> {
            spans.into_iter().map(|span| Span { ttft: Some(span.end - span.start), ..span }).collect()
        };
        assert!(open(&whole(slots(4, 60, 4.0, 1))).unwrap().saturated);
        assert_eq!(open(&whole(slots(1000, 60, 4.0, 1))), None);
        // In closed loop a request waits for one before it, and there is no backlog.
        assert!(!stability(&queue(1.2, 1), LoadMode::Closed, None).unwrap().saturated);
    }

    #[test]
    fn a_backlog_without_end_takes_no_time_to_look_at() {
        // At exactly twice what the server can do the ramp has no end.
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
