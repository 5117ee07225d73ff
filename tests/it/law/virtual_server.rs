//! A server in virtual time, searched as bench-load searches a real one. What decides is the code that decides in production.

use rand::SeedableRng;
use rand_pcg::Pcg64;
use serving_bench::load::schedule::arrivals;
use serving_bench::metrics::sample::Sample;
use serving_bench::metrics::search::{LoadSearch, Pilot, ProbeOutcome, ProbeRun, SearchRange, SearchResult, answer_s};
use serving_bench::metrics::sla::{CHECK_EVERY, Limits};
use serving_bench::rows::kinds::{Load, LoadMode};
use serving_bench::rows::words::{Arrivals, SearchedLoad};

use super::engine::{Engine, Served};

/// An engine, how it is measured, and the time that this took.
pub struct VirtualServer {
    pub engine: Engine,
    pub limits: Limits,
    pub num_prompts: u32,
    /// Seed of the arrivals, the same for each candidate of a plan.
    pub seed: u64,
    /// Its speed differs from run to run by up to this share.
    pub days: f64,
    pub rng: Pcg64,
    /// Virtual time so far, s.
    pub seconds: f64,
}

pub fn sample(limits: &Limits, served: &[Served], engine: &Engine, open: bool) -> Sample {
    let mut sample = Sample::default();
    served.iter().for_each(|one| sample.add(&one.row(engine, open), limits));
    sample.close();
    sample
}

fn end(served: &[Served]) -> f64 {
    served.iter().map(|one| one.last).fold(0.0, f64::max)
}

impl VirtualServer {
    /// Where a search begins, and the length of an answer.
    pub fn bursts(&mut self, range: SearchRange) -> (Option<f64>, Option<f64>) {
        let mut pilot = Pilot::new(range);
        while let Some(n) = pilot.next() {
            self.burst(&mut pilot, n);
        }
        (pilot.start(), pilot.answer_s())
    }

    /// The length of an answer, from one burst: for a search that begins at a load that is known.
    pub fn one_burst(&mut self, range: SearchRange) -> Option<f64> {
        let mut pilot = Pilot::new(range);
        let n = pilot.next()?;
        self.burst(&mut pilot, n);
        pilot.answer_s()
    }

    fn burst(&mut self, pilot: &mut Pilot, n: u32) {
        let engine = self.engine.another_day(self.days, &mut self.rng);
        let served = engine.closed(n as usize, n as usize);
        pilot.record(n, end(&served), &sample(&self.limits, &served, &engine, false), &self.limits);
        self.seconds += end(&served);
    }

    /// Runs a search to its end.
    pub fn search(&mut self, mut search: LoadSearch, range: SearchRange, mut answer: Option<f64>) -> SearchResult {
        while let Some(probe) = search.next() {
            let engine = self.engine.another_day(self.days, &mut self.rng);
            let mode = if range.what == SearchedLoad::Rate { LoadMode::Open } else { LoadMode::Closed };
            let load = range.load(probe.value, &Load { mode, ..Load::default() });
            let length = probe.need.length(self.num_prompts, None, &load, answer);
            let mut rng = Pcg64::seed_from_u64(self.seed + u64::from(probe.vote));
            let (served, warm_s) = match load.concurrency {
                // The first answer of each user is the ramp.
                Some(users) => {
                    let served = engine.closed(users as usize, (length.requests + users) as usize);
                    (served[users as usize..].to_vec(), answer)
                }
                None => {
                    let due = arrivals(Arrivals::Poisson, length.requests, probe.value, &mut rng);
                    (engine.open(&due.iter().map(|at| at.seconds()).collect::<Vec<_>>()), None)
                }
            };
            let (served, was_cut) = self.cut(&served, &engine, load.mode == LoadMode::Open);
            self.seconds += end(&served);
            let sample = sample(&self.limits, &served, &engine, load.mode == LoadMode::Open);
            let run = ProbeRun {
                load: &load,
                length: &length,
                warm_s,
                sample: &sample,
                gaps: None,
                cut: was_cut,
                client_saturated: false,
            };
            let judged = run.judge(&self.limits);
            if matches!(&judged, ProbeOutcome::Judged(evidence) if evidence.passed) {
                answer = answer_s(&sample).or(answer);
            }
            search.record(probe, judged);
        }
        search.ended()
    }

    /// The requests in the order of their ends, until it is clear that they miss a limit.
    fn cut(&self, served: &[Served], engine: &Engine, open: bool) -> (Vec<Served>, bool) {
        let mut order: Vec<Served> = served.to_vec();
        order.sort_by(|a, b| a.last.total_cmp(&b.last));
        let mut sample = Sample::default();
        for (done, one) in (1..).zip(&order) {
            sample.add(&one.row(engine, open), &self.limits);
            let check = done % CHECK_EVERY as usize == 0 && done < order.len();
            if check && self.limits.cannot_pass(&sample, order.len()).is_some() {
                order.truncate(done);
                return (order, true);
            }
        }
        (order, false)
    }
}
