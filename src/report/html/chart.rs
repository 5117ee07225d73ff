//! A drawing with two axes: grid, lines, points in different shapes, labels that do not overlap.

use super::escape::{escape, line};
use super::scale::Scale;

/// Width of every drawing except the timeline, in its own units; narrow, so that its text is readable on a phone.
pub const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 44.0;
/// Number of distinguishable colours and shapes.
pub const SLOTS: usize = 8;

/// A drawing under construction.
pub struct Chart {
    x: Scale,
    y: Scale,
    svg: String,
    over: String,
    taken: Vec<[f64; 4]>,
}

/// A number for an attribute, always finite.
pub fn place(value: f64) -> String {
    if value.is_finite() { format!("{value:.1}") } else { "0.0".into() }
}

/// The beginning of a drawing, with its name and a description in words.
pub fn open(width: f64, height: f64, name: &str, desc: &str) -> String {
    let (width, height) = (place(width), place(height));
    let desc = if desc.is_empty() { String::new() } else { format!("<desc>{}</desc>", escape(desc)) };
    format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\"><title>{}</title>{desc}", line(name))
}

/// Text; the caller has escaped `text`.
pub fn letters(x: f64, y: f64, class: &str, text: &str) -> String {
    format!("<text x=\"{}\" y=\"{}\" class=\"{class}\">{text}</text>", place(x), place(y))
}

/// A straight line.
pub fn stroke(from: (f64, f64), to: (f64, f64), class: &str) -> String {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(place);
    format!("<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>")
}

/// A rectangle, wide enough to be visible.
pub fn bar(x: f64, y: f64, width: f64, height: f64, class: &str) -> String {
    let [x, y, width, height] = [x, y, width.max(1.0), height].map(place);
    format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>")
}

/// The outline of a slot's shape.
fn shape(slot: usize, x: f64, y: f64) -> String {
    let at = |points: &[(f64, f64)]| {
        let points: Vec<String> =
            points.iter().map(|(dx, dy)| format!("{} {}", place(x + dx), place(y + dy))).collect();
        format!("M{}Z", points.join("L"))
    };
    match slot % SLOTS {
        0 => format!("M{} {}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z", place(x - 5.0), place(y)),
        1 => at(&[(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)]),
        2 => at(&[(0.0, -6.0), (5.5, 4.5), (-5.5, 4.5)]),
        3 => at(&[(0.0, -6.5), (6.0, 0.0), (0.0, 6.5), (-6.0, 0.0)]),
        4 => at(&[(0.0, 6.0), (5.5, -4.5), (-5.5, -4.5)]),
        5 => at(&[
            (-2.0, -6.0),
            (2.0, -6.0),
            (2.0, -2.0),
            (6.0, -2.0),
            (6.0, 2.0),
            (2.0, 2.0),
            (2.0, 6.0),
            (-2.0, 6.0),
            (-2.0, 2.0),
            (-6.0, 2.0),
            (-6.0, -2.0),
            (-2.0, -2.0),
        ]),
        6 => at(&[(-3.0, -5.5), (3.0, -5.5), (6.0, 0.0), (3.0, 5.5), (-3.0, 5.5), (-6.0, 0.0)]),
        _ => {
            at(&[(0.0, -6.5), (1.8, -2.0), (6.5, 0.0), (1.8, 2.0), (0.0, 6.5), (-1.8, 2.0), (-6.5, 0.0), (-1.8, -2.0)])
        }
    }
}

/// A point in a slot's colour and shape, with a description as tooltip.
pub fn mark(slot: usize, x: f64, y: f64, hollow: bool, desc: &str) -> String {
    let hollow = if hollow { " hollow" } else { "" };
    let desc = if desc.is_empty() { String::new() } else { format!("<title>{}</title>", line(desc)) };
    format!("<path class=\"mark s{}{hollow}\" d=\"{}\">{desc}</path>", slot % SLOTS, shape(slot, x, y))
}

/// The mark of a slot, for a legend.
pub fn key(slot: usize) -> String {
    format!("<svg class=\"key\" viewBox=\"0 0 16 16\" aria-hidden=\"true\">{}</svg>", mark(slot, 8.0, 8.0, false, ""))
}

impl Chart {
    /// Axes for these values; `None` if there is nothing to draw.
    pub fn new(values: &[(f64, f64)], limit: Option<f64>, names: [&str; 2]) -> Option<Self> {
        let x = Scale::new(values.iter().map(|v| v.0), LEFT + 8.0, RIGHT - 8.0, 6)?;
        let y = Scale::new(values.iter().map(|v| v.1).chain(limit), BOTTOM, TOP + 4.0, 5)?;
        let mut svg = String::new();
        let mut right = f64::NEG_INFINITY;
        for (value, text) in x.ticks(7) {
            let at = x.at(value);
            svg.push_str(&stroke((at, TOP), (at, BOTTOM + 4.0), "grid"));
            let half = columns(&text) * 3.4;
            if at - half > right {
                svg.push_str(&letters(at, BOTTOM + 17.0, "tick mid", &escape(&text)));
                right = at + half + 4.0;
            }
        }
        for (value, text) in y.ticks(6) {
            let at = y.at(value);
            svg.push_str(&stroke((LEFT - 4.0, at), (RIGHT, at), "grid"));
            svg.push_str(&letters(LEFT - 7.0, at + 4.0, "tick end", &escape(&text)));
        }
        svg.push_str(&stroke((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis"));
        let scaled =
            |name: &str, scale: &Scale| format!("{}{}", line(name), if scale.is_log() { " (log scale)" } else { "" });
        svg.push_str(&letters((LEFT + RIGHT) / 2.0, HEIGHT - 8.0, "name mid", &scaled(names[0], &x)));
        svg.push_str(&letters(4.0, 16.0, "name", &scaled(names[1], &y)));
        Some(Self { x, y, svg, over: String::new(), taken: Vec::new() })
    }

    /// A dashed line at a height, with a label.
    pub fn limit(&mut self, value: f64, label: &str) {
        let at = self.y.at(value);
        self.svg.push_str(&stroke((LEFT, at), (RIGHT, at), "limit"));
        let y = if at < TOP + 20.0 { at + 14.0 } else { at - 5.0 };
        // On the left, where latencies are low; above every line.
        self.over.push_str(&letters(LEFT + 4.0, y, "limit-name back", &line(label)));
        let width = columns(label) * 6.6;
        self.taken.push([LEFT, y - 11.0, LEFT + width, y + 3.0]);
    }

    /// A line through points.
    pub fn through(&mut self, points: &[(f64, f64)], class: &str) {
        if points.len() > 1 {
            let places: Vec<String> =
                points.iter().map(|(x, y)| format!("{} {}", place(self.x.at(*x)), place(self.y.at(*y)))).collect();
            self.svg.push_str(&format!("<path class=\"{class}\" d=\"M{}\"/>", places.join("L")));
        }
    }

    /// A point.
    pub fn point(&mut self, at: (f64, f64), slot: usize, hollow: bool, desc: &str) {
        let (x, y) = (self.x.at(at.0), self.y.at(at.1));
        self.svg.push_str(&mark(slot, x, y, hollow, desc));
        self.taken.push([x - 6.0, y - 6.0, x + 6.0, y + 6.0]);
    }

    /// A small point behind the others.
    pub fn dot(&mut self, at: (f64, f64), hollow: bool, desc: &str) {
        let class = if hollow { "dot hollow" } else { "dot" };
        let [x, y] = [self.x.at(at.0), self.y.at(at.1)].map(place);
        self.svg.push_str(&format!(
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"3\"><title>{}</title></circle>",
            line(desc)
        ));
    }

    /// A label beside a point, if there is room; the legend has it too.
    pub fn label(&mut self, at: (f64, f64), text: &str) {
        let (x, y) = (self.x.at(at.0), self.y.at(at.1));
        let width = columns(text) * 7.4;
        let beside = [
            (9.0, -6.0),
            (9.0, 14.0),
            (-9.0 - width, -6.0),
            (-9.0 - width, 14.0),
            (-width / 2.0, -11.0),
            (-width / 2.0, 20.0),
            (9.0, 4.0),
            (-9.0 - width, 4.0),
        ];
        let boxed = |(dx, dy): (f64, f64)| [x + dx, y + dy - 10.0, x + dx + width, y + dy + 1.0];
        let free = |b: &[f64; 4]| {
            let inside = b[0] >= LEFT && b[2] <= WIDTH - 2.0 && b[1] >= TOP - 12.0 && b[3] <= BOTTOM;
            inside && self.taken.iter().all(|t| b[2] <= t[0] || b[0] >= t[2] || b[3] <= t[1] || b[1] >= t[3])
        };
        if let Some(found) = beside.into_iter().map(boxed).find(free) {
            self.over.push_str(&letters(found[0], found[3] - 1.0, "point back", &line(text)));
            self.taken.push(found);
        }
    }

    /// The finished drawing.
    pub fn finish(self, name: &str, desc: &str) -> String {
        format!("{}{}{}</svg>", open(WIDTH, HEIGHT, name, desc), self.svg, self.over)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of letters")]
pub fn columns(text: &str) -> f64 {
    text.chars().count() as f64
}

/// A drawing with its title, an explanation, and the content below it.
pub fn figure(class: &str, title: &str, how: &str, body: &str) -> String {
    format!(
        "<figure class=\"{class}\"><figcaption><strong>{}</strong> {how}</figcaption>{body}</figure>\n",
        line(title)
    )
}
