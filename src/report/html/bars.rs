//! Rows with a label above a drawing on a common scale: bars to both sides of zero, and ranges.

use super::chart::{WIDTH, bar, letters, open, place, stroke};
use super::escape::fit;
use super::scale::{Scale, sane};

const LEFT: f64 = 8.0;
const RIGHT: f64 = WIDTH - 8.0;
const ROW: f64 = 36.0;
/// Characters of a label beside a value.
pub const COLUMNS: usize = 52;

/// A bar, or a heading above bars.
pub struct Bar {
    /// Its label.
    pub label: String,
    /// Its value in %; without one nothing is drawn.
    pub value: Option<f64>,
    /// The text on the right.
    pub caption: String,
    /// True for a bad value, which is marked.
    pub bad: bool,
    /// True for a heading.
    pub heading: bool,
}

/// Vertical positions of the labels.
pub fn row(i: usize) -> f64 {
    u32::try_from(i).map_or(0.0, f64::from) * ROW + 16.0
}

/// Bars to the left and right of zero. The scale extends to at least `least` on both sides, and no bar beyond `most`.
pub fn both_sides(bars: &[Bar], name: &str, desc: &str, (least, most): (f64, f64)) -> String {
    let values = || bars.iter().filter_map(|bar| sane(bar.value)).map(|v| v.clamp(-most, most));
    let low = values().fold(-least, f64::min);
    let high = values().fold(least, f64::max);
    let missing = bars.iter().any(|bar| bar.bad && sane(bar.value).is_none());
    let low = if missing { low.min(-high.max(10.0)) } else { low };
    let (low, high) = if low == high { (-1.0, 1.0) } else { (low, high) };
    let Some(scale) = Scale::new([low, high].into_iter(), LEFT, RIGHT, 6) else { return String::new() };
    let height = row(bars.len()) + 14.0;
    let zero = scale.at(0.0);
    let mut svg = open(WIDTH, height, name, desc);
    for (value, _) in scale.ticks(7) {
        svg.push_str(&stroke((scale.at(value), 2.0), (scale.at(value), height - 22.0), "grid"));
    }
    let mut right = f64::NEG_INFINITY;
    for (value, text) in scale.ticks(7) {
        let at = scale.at(value);
        let class = if at < 30.0 {
            "tick"
        } else if at > WIDTH - 30.0 {
            "tick end"
        } else {
            "tick mid"
        };
        if at > right {
            svg.push_str(&letters(at, height - 6.0, class, &format!("{} %", text.replace('-', "−"))));
            right = at + 44.0;
        }
    }
    for (i, one) in bars.iter().enumerate() {
        let y = row(i);
        if one.heading {
            svg.push_str(&letters(LEFT, y + 12.0, "head back", &fit(&one.label, COLUMNS + 6)));
            continue;
        }
        let value = sane(one.value).map(|v| v.clamp(-most, most));
        let end = value.map_or(if one.bad { LEFT } else { zero }, |v| scale.at(v));
        let caption = one.caption.chars().count().max(8);
        let class = if one.bad { "bar bad" } else { "bar good" };
        svg.push_str(&stroke((zero, y + 2.0), (zero, y + 19.0), "axis"));
        svg.push_str(&bar(zero.min(end), y + 5.0, (end - zero).abs(), 11.0, class));
        svg.push_str(&letters(LEFT, y, "row back", &fit(&one.label, COLUMNS + 4 - caption.min(24))));
        svg.push_str(&letters(
            RIGHT,
            y,
            if one.bad { "row end back bad-text" } else { "row end back" },
            &fit(&one.caption, 24),
        ));
    }
    svg.push_str("</svg>");
    svg
}

/// The spread of some values: minimum, percentiles, maximum.
pub struct ValueRange {
    /// Its label.
    pub label: String,
    /// Colour.
    pub slot: usize,
    /// Minimum, p50, p90, p95, p99, maximum.
    pub values: [Option<f64>; 6],
}

/// Ranges on one scale, with a limit.
pub fn ranges(
    ranges: &[ValueRange],
    limit: Option<(f64, String)>,
    unit: &str,
    name: &str,
    desc: &str,
) -> Option<String> {
    let limit = limit.filter(|(at, _)| sane(Some(*at)).is_some());
    let values = ranges.iter().flat_map(|range| range.values).filter_map(sane);
    let scale = Scale::new(values.chain(limit.as_ref().map(|(at, _)| *at)), LEFT + 8.0, RIGHT - 8.0, 6)?;
    let top = if limit.is_some() { 16.0 } else { 0.0 };
    let bottom = row(ranges.len()) + top;
    let mut svg = open(WIDTH, bottom + 32.0, name, desc);
    let mut right = f64::NEG_INFINITY;
    for (value, text) in scale.ticks(8) {
        let at = scale.at(value);
        svg.push_str(&stroke((at, top + 2.0), (at, bottom - 8.0), "grid"));
        let wide = super::chart::columns(&text) * 6.8;
        if at - wide / 2.0 > right {
            svg.push_str(&letters(at, bottom + 6.0, "tick mid", &text));
            right = at + wide / 2.0 + 4.0;
        }
    }
    let log = if scale.is_log() { " (log scale)" } else { "" };
    svg.push_str(&letters(WIDTH / 2.0, bottom + 24.0, "name mid", &format!("{unit}{log}")));
    if let Some((value, label)) = &limit {
        let at = scale.at(*value);
        svg.push_str(&stroke((at, top), (at, bottom - 8.0), "limit"));
        let (x, class) = if at > WIDTH / 2.0 { (at + 4.0, "limit-name end") } else { (at - 4.0, "limit-name") };
        svg.push_str(&letters(x.clamp(LEFT, RIGHT), 11.0, class, &fit(label, COLUMNS)));
    }
    for (i, range) in ranges.iter().enumerate() {
        let y = row(i) + top;
        let mid = y + 11.0;
        let [least, p50, p90, p95, p99, most] = range.values.map(|v| sane(v).map(|v| scale.at(v)));
        let slot = range.slot;
        svg.push_str(&letters(LEFT, y, "row back", &fit(&range.label, COLUMNS + 10)));
        let all = || [least, p50, p90, p95, p99, most].into_iter().flatten();
        let (from, to) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        svg.push_str(&stroke((from, mid), (to, mid), &format!("whisker s{slot}")));
        for end in [least, most].into_iter().flatten() {
            svg.push_str(&stroke((end, mid - 4.0), (end, mid + 4.0), &format!("whisker s{slot}")));
        }
        if let Some((from, to)) = p50.zip(p95.or(p90).or(p99)) {
            svg.push_str(&bar(from, mid - 5.0, to - from, 10.0, &format!("box s{slot}")));
        }
        for at in [p90].into_iter().flatten() {
            svg.push_str(&stroke((at, mid - 5.0), (at, mid + 5.0), "inbox"));
        }
        if let Some(at) = p50 {
            let [x, y] = [at, mid].map(place);
            svg.push_str(&format!("<circle class=\"mark s{slot}\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>"));
        }
        if let Some(at) = p99 {
            let [x, up, y, down, left, right] = [at, mid - 6.5, mid, mid + 6.5, at - 5.5, at + 5.5].map(place);
            svg.push_str(&format!(
                "<path class=\"mark s{slot} hollow\" d=\"M{x} {up}L{right} {y}L{x} {down}L{left} {y}Z\"/>"
            ));
        }
    }
    svg.push_str("</svg>");
    Some(svg)
}
