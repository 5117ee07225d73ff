//! Counts of requests, and the totals and rates that follow from them.

use super::ImportReading;
use super::format::at;
use crate::metrics::sample;

/// Throughputs that follow from counts and duration: name, unit, formula.
const FROM_COUNTS: [(&str, &str, &str); 3] = [
    ("request_throughput", "1/s", "completed / duration"),
    ("output_token_throughput", "tokens/s", "total_output_tokens / duration"),
    ("total_token_throughput", "tokens/s", "(total_input_tokens + total_output_tokens) / duration"),
];
/// The field of a number that is not in the file and follows from others in it.
const COMPUTED: &str = "computed";
/// A throughput contradicts its counts if it differs by more than this share of the larger one, and by more than rounding.
const CONTRADICTS: f64 = 0.02;
const ROUNDED: f64 = 0.006;

impl ImportReading<'_> {
    /// Numbers of successful and of scheduled requests, and the rates that follow. If failures are not counted, they
    /// are the difference from the number of requested ones.
    pub(super) fn counts(&mut self, sample: Option<&sample::Sample>, asked: Option<f64>) -> (Option<f64>, Option<f64>) {
        let counts = &self.format.counts;
        let [stated_failures, cut, scheduled] =
            [&counts.failed, &counts.cut, &counts.sent].map(|places| self.number(places));
        let scheduled = scheduled.map(|n| (n - cut.unwrap_or_default()).max(0.0));
        let completed = self.number(&counts.completed).or(sample.map(|sample| sample.ok().into()));
        let failed = stated_failures.or_else(|| counts.failed_if_any.then_some(0.0));
        let failed = failed.or_else(|| sample.map(|sample| f64::from(sample.scheduled - sample.ok())));
        if let (None, Some(scheduled)) = (completed, scheduled) {
            return self.add_scheduled(scheduled, failed, sample);
        }
        let together = completed.zip(failed).map(|(completed, failed)| completed + failed);
        // If the counts contradict each other, counted failures are taken as true.
        let stated = completed.zip(stated_failures).map(|(completed, failed)| completed + failed);
        let sent = scheduled.map(|sent| match stated {
            Some(stated) if completed.is_some_and(|completed| completed <= sent) => sent.max(stated),
            _ => sent,
        });
        let sent = sent.or(together).or(asked);
        match completed.zip(sent) {
            Some((completed, sent)) if sent > 0.0 && completed <= sent => {
                self.metrics.insert("success_rate".into(), Some(completed / sent));
            }
            Some((completed, sent)) => {
                self.null("success_rate", &format!("{completed} of {sent} requests succeeded: not a rate"));
            }
            None => self.null("success_rate", "this client does not count failures"),
        }
        self.rates(completed, sample);
        self.metrics.extend(completed.map(|n| ("completed".to_string(), Some(n))));
        self.metrics.extend(sent.zip(completed).map(|(sent, ok)| ("failed".to_string(), Some((sent - ok).max(0.0)))));
        (completed, sent)
    }

    /// The same for a file that states how many requests were scheduled and not how many succeeded.
    fn add_scheduled(
        &mut self,
        scheduled: f64,
        failed: Option<f64>,
        sample: Option<&sample::Sample>,
    ) -> (Option<f64>, Option<f64>) {
        let completed = (scheduled - failed.unwrap_or_default()).max(0.0);
        let formula = if failed.is_some() { "scheduled - failed" } else { "scheduled; failures are not in the file" };
        self.put("completed", Some(completed), COMPUTED, "requests", Some(formula));
        match failed.filter(|_| scheduled > 0.0) {
            Some(failed) => {
                self.metrics.insert("success_rate".into(), Some(completed / scheduled));
                self.metrics.insert("failed".into(), Some(failed));
            }
            None => self.null("success_rate", "this client does not count failures"),
        }
        self.rates(Some(completed), sample);
        (Some(completed), Some(scheduled))
    }

    /// Totals and rates that follow from the counts.
    fn rates(&mut self, completed: Option<f64>, sample: Option<&sample::Sample>) {
        for (name, number) in self.format.metrics.iter().filter(|(_, number)| number.per_request) {
            let Some((mean, place)) = at(&number.at, self.result, self.top) else { continue };
            let total = mean.as_f64().zip(completed).map(|(mean, completed)| mean * completed * number.times);
            self.put(name, total, &place, &number.unit, Some("mean of a request x completed"));
        }
        // A duration that is missing follows from a throughput.
        let whole_rate = self.metric("request_throughput").filter(|rate| *rate > 0.0);
        let duration =
            self.duration(sample).or_else(|| completed.zip(whole_rate).map(|(completed, rate)| completed / rate));
        let per_second =
            |count: Option<f64>| count.zip(duration).map(|(count, s)| count / s).filter(|rate| rate.is_finite());
        let tokens = |name: &str| self.metric(name);
        // Totals are recomputed if the single requests are known, each with its send time.
        let whole = sample.filter(|sample| sample.window().is_some());
        let (input, output) = (tokens("total_input_tokens"), tokens("total_output_tokens"));
        let input = input.or_else(|| whole.map(|sample| sample::total(&sample.input)));
        let output = output.or_else(|| whole.map(|sample| sample::total(&sample.output)));
        let made = [
            per_second(completed),
            per_second(output),
            per_second(input.zip(output).map(|(input, output)| input + output)),
        ];
        for ((name, unit, formula), value) in FROM_COUNTS.into_iter().zip(made) {
            if self.metric(name) == Some(0.0) && completed.is_some_and(|n| n > 0.0) {
                self.null(name, "0 in the file, although requests completed");
            }
            if self.metric(name).is_none() && value.is_some() {
                self.put(name, value, COMPUTED, unit, Some(formula));
            }
            self.check(name, formula, value);
        }
    }

    /// Replaces a throughput that is not what its own counts and duration make it, and notes both.
    fn check(&mut self, name: &str, formula: &str, made: Option<f64>) {
        let meaning = self.format.metrics.get(name).and_then(|number| number.meaning.as_deref()).unwrap_or_default();
        let Some((stated, made)) = self.metric(name).zip(made).filter(|_| meaning.starts_with(formula)) else { return };
        // Some clients round to two digits.
        if (stated - made).abs() <= CONTRADICTS * stated.max(made) + ROUNDED || self.stated_duration().is_none() {
            return;
        }
        self.contradicted.push(format!("{name} is {stated} in the file, but {formula} is {made:.4}"));
        self.metrics.insert(name.into(), Some(made));
    }
}
