//! What bench-expand says about times and costs before anything runs.

use super::Expander;
use super::chosen::TimeLimit;
use crate::plan::expand::{Estimate, Fitted, StageCandidates, cost_table, in_words};

/// A plan that is likely to take longer says how many GPU-hours it takes, and what its parts cost, s.
const LONG_S: f64 = 3600.0;
/// A night, s.
const NIGHT_S: f64 = 8.0 * 3600.0;

impl Expander<'_> {
    /// What the rest costs; of a long one in GPU-hours and money, and which parts cost how much. With a limit of time then what is given up
    /// for it, and the parts of what remains.
    pub(super) fn price(
        &mut self,
        estimated: &Estimate,
        rest: Vec<StageCandidates>,
        fitted: Option<(&Fitted, TimeLimit)>,
        gpus: u32,
    ) {
        if estimated.starts == 0 {
            return;
        }
        self.notice.say(format!("{estimated}"));
        let is_long = estimated.likely_s() >= LONG_S;
        let says_price = gpus > 0 && (is_long || self.args.gpu_hour.is_some());
        // In slots the GPUs of all of them are taken for the whole time.
        let gpus = self
            .args
            .slots
            .as_ref()
            .filter(|_| gpus > 0)
            .map_or(gpus, |slots| u32::try_from(slots.all().devices().len()).unwrap_or(u32::MAX));
        let hours = |s: f64| s / 3600.0 * f64::from(gpus);
        if says_price {
            let (likely, most) = (hours(estimated.likely_s()), hours(estimated.most_s()));
            let money = self.args.gpu_hour.map_or(String::new(), |price| {
                format!("; likely {:.2}, at most {:.2} at {price} per GPU-hour", likely * price, most * price)
            });
            let s = if gpus == 1 { "" } else { "s" };
            self.notice.say(format!("likely {likely:.1}, at most {most:.1} GPU-hours on {gpus} GPU{s}{money}"));
        }
        if let Some((fitted, TimeLimit { seconds, source })) = fitted {
            let cost = if says_price { format!(", {:.1} GPU-hours", hours(fitted.likely_s)) } else { String::new() };
            let money = self.args.gpu_hour.filter(|_| says_price);
            let money = money.map_or(String::new(), |price| format!(", {:.2}", hours(fitted.likely_s) * price));
            let (within, likely) = (in_words(seconds), in_words(fitted.likely_s));
            let left_out = match (fitted.given_up.is_empty(), fitted.likely_s > seconds) {
                (true, false) => "nothing is left out".into(),
                (true, true) => "nothing can be left out, and what has not begun by then does not run".into(),
                (false, false) => format!("leaves out {}", fitted.in_words()),
                (false, true) => {
                    format!("leaves out {}, and what has not begun by then does not run", fitted.in_words())
                }
            };
            let by = source.map_or(String::new(), |source| format!(" ({source})"));
            self.notice.say(format!("to end within {within}{by}, likely {likely}{cost}{money}: {left_out}"));
        }
        if is_long {
            let shown = fitted.map_or(&rest, |(fitted, _)| &fitted.stages);
            let table = cost_table(&mut self.estimator, shown, &self.frameworks);
            table.iter().for_each(|line| self.notice.plain_note(line));
            if fitted.is_none() && self.fit.is_none() {
                self.say_night(rest);
            }
        }
    }

    /// What a plan that takes longer than a night gives up to end in one.
    fn say_night(&mut self, stages: Vec<StageCandidates>) {
        let fitted = self.fit_into(stages, NIGHT_S);
        if !fitted.given_up.is_empty() {
            let (night, likely) = (in_words(NIGHT_S), in_words(fitted.likely_s));
            let given_up = fitted.in_words();
            self.notice.say(format!("--fit 8h ends within {night}, likely {likely}: it leaves out {given_up}"));
        }
    }
}
