//! Maps values to positions, with ticks at 1, 2 and 5 times powers of ten.

/// Larger numbers are not measurements, and their differences would overflow.
const GREATEST: f64 = 1e15;
/// From this ratio of largest to smallest value on, a scale is logarithmic: otherwise the small values would be
/// unreadable.
const WIDE: f64 = 20.0;
/// The least span of a scale, as a share of its upper end.
const LEAST_SPAN: f64 = 0.2;
/// Lower end of logarithmic scales.
const LEAST: f64 = 1e-9;

/// True for a value that can be drawn.
pub fn sane(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite() && v.abs() <= GREATEST)
}

/// Maps values to positions in the drawing.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// A scale for all of the values that ends at ticks; `None` without values. It has at most about `most` ticks.
    pub fn new(values: impl Iterator<Item = f64>, from: f64, to: f64, most: usize) -> Option<Self> {
        let values = values.filter_map(|v| sane(Some(v)));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if low > high {
            return None;
        }
        if low >= LEAST && high / low > WIDE {
            let (low, high) = (round(low, false), round(high, true));
            return Some(Self { low, high, step: 0.0, from, to, log: true });
        }
        // A scale begins at zero unless that would hide every difference, and spans enough that 1 % does not look like a cliff.
        let base = match low >= 0.0 {
            true if low < 0.7 * high => 0.0,
            true => low.min((1.0 - LEAST_SPAN) * high),
            false => low,
        };
        let room = if base == high { (base.abs() * 0.1).max(1e-6) } else { 0.0 };
        let (base, high) = (base - room.min(base.max(0.0)), high + room);
        let step = nice((high - base) / count(most.max(2)));
        Some(Self { low: (base / step).floor() * step, high: (high / step).ceil() * step, step, from, to, log: false })
    }

    /// The position of a value, limited to the scale.
    pub fn at(&self, value: f64) -> f64 {
        let share = match self.log {
            true => (value.max(LEAST) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.from + share * (self.to - self.from)
    }

    /// True for a logarithmic scale.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// Tick values and their texts, in order.
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if !self.log {
            let steps = ((self.high - self.low) / self.step).round().clamp(0.0, 100.0);
            let tick = |i: u32| {
                let value = self.low + f64::from(i) * self.step;
                (value, written(value, self.step))
            };
            return (0u32..).take_while(|i| f64::from(*i) <= steps).map(tick).collect();
        }
        let (first, last) = (self.low.log10().floor(), self.high.log10().ceil());
        let decades = (0u32..).map(|i| first + f64::from(i)).take_while(|d| *d <= last);
        let all = |factors: &'static [f64]| -> Vec<f64> {
            let within = |v: &f64| *v >= self.low * 0.999 && *v <= self.high * 1.001;
            decades.clone().flat_map(|d| factors.iter().map(move |f| f * 10f64.powf(d))).filter(within).collect()
        };
        let mut values = all(&[1.0, 2.0, 5.0]);
        if values.len() > most {
            values = all(&[1.0]);
        }
        let every = values.len().div_ceil(most.max(1)).max(1);
        values.into_iter().step_by(every).map(|v| (v, written(v, v))).collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of ticks")]
fn count(n: usize) -> f64 {
    n as f64
}

/// 1, 2 or 5 times a power of ten, at least `step`.
pub fn nice(step: f64) -> f64 {
    let step = if step.is_finite() && step > 1e-12 { step } else { 1e-12 };
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= step * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

/// The next of 1, 2, 5 times a power of ten, up or down.
fn round(value: f64, up: bool) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let mut factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    let found = match up {
        true => factors.find(|f| f * power >= value * (1.0 - 1e-9)),
        false => factors.rfind(|f| f * power <= value * (1.0 + 1e-9)),
    };
    found.unwrap_or(1.0) * power
}

/// A tick with as many digits as its step: `0.25`, `40`, `12k`.
pub fn written(value: f64, step: f64) -> String {
    let (value, step, unit) = match value.abs().max(step.abs()) {
        most if most >= 1e9 => (value / 1e9, step / 1e9, "G"),
        most if most >= 1e6 => (value / 1e6, step / 1e6, "M"),
        most if most >= 1e4 => (value / 1e3, step / 1e3, "k"),
        _ => (value, step, ""),
    };
    let digits = (0..9).find(|d| step.abs() * 10f64.powi(*d) >= 0.999).unwrap_or(9);
    let digits = usize::try_from(digits).unwrap_or(0);
    let text = format!("{value:.digits$}");
    // −0 is written as 0.
    let text = if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') { "0".to_string() } else { text };
    if text == "0" { text } else { format!("{text}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticks(values: &[f64]) -> Vec<String> {
        let scale = Scale::new(values.iter().copied(), 0.0, 100.0, 5).expect("values");
        scale.ticks(6).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_that_people_read() {
        assert_eq!(ticks(&[3.5, 7.0, 0.4]), ["0", "2", "4", "6", "8"]);
        assert_eq!(ticks(&[90.0, 100.0]), ["80", "85", "90", "95", "100"]);
        assert_eq!(ticks(&[7.93, 8.0]), ["6.0", "6.5", "7.0", "7.5", "8.0"]);
        assert_eq!(ticks(&[10.0, 3000.0]), ["10", "100", "1000"]);
        assert_eq!(ticks(&[40.0, 900.0]), ["20", "50", "100", "200", "500", "1000"]);
        assert_eq!(ticks(&[0.0, 50_000.0]), ["0", "10k", "20k", "30k", "40k", "50k"]);
        assert_eq!(ticks(&[0.0]).first().map(String::as_str), Some("0"));
        assert!(Scale::new([f64::NAN].into_iter(), 0.0, 1.0, 5).is_none());
    }

    #[test]
    fn nice_steps() {
        assert_eq!([0.3, 1.0, 1.1, 2.0, 4.0, 7.0, 60.0].map(nice), [0.5, 1.0, 2.0, 2.0, 5.0, 10.0, 100.0]);
    }

    proptest! {
        #[test]
        fn places_are_within(values in proptest::collection::vec(any::<f64>(), 1..9), v in any::<f64>()) {
            if let Some(scale) = Scale::new(values.iter().copied(), 10.0, 90.0, 5) {
                prop_assert!((10.0..=90.0).contains(&scale.at(v)));
                for (value, text) in scale.ticks(6) {
                    prop_assert!((9.9..=90.1).contains(&scale.at(value)));
                    prop_assert!(!text.contains("NaN") && !text.contains("inf") && text.len() < 24, "{}", text);
                }
                prop_assert!(scale.ticks(6).len() <= 9);
            }
        }
    }
}
