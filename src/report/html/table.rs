//! Sortable tables: numbers aligned right, marked rows, and a maximum length.

use super::escape::{escape, line};
use crate::report::text::{number, plain};

/// Maximum number of rows of a table.
pub const MOST: usize = 200;

/// A cell: its markup, and its sort key if it is a number.
pub struct HtmlCell {
    html: String,
    number: bool,
    short: bool,
    key: Option<f64>,
}

/// Text of at most this many characters is not wrapped.
const SHORT: usize = 16;

/// A row: its class, and its cells.
pub struct HtmlRow {
    /// CSS class.
    pub class: &'static str,
    /// Its cells, from left to right.
    pub cells: Vec<HtmlCell>,
}

impl HtmlCell {
    /// Plain text.
    pub fn text(text: &str) -> Self {
        let text = plain(text, text.len() > 200);
        Self { short: text.chars().count() <= SHORT, ..Self::html(escape(&text)) }
    }

    /// Escaped markup.
    pub fn html(html: String) -> Self {
        Self { html, number: false, short: false, key: None }
    }

    /// A number.
    pub fn number(value: Option<f64>) -> Self {
        Self::shown(value, &number(value))
    }

    /// A number with another text.
    pub fn shown(value: Option<f64>, text: &str) -> Self {
        Self { html: escape(text), number: true, short: false, key: value.filter(|v| v.is_finite()) }
    }

    /// Escaped markup that is sorted by a number.
    pub fn keyed(key: f64, html: String) -> Self {
        Self { html, number: true, short: false, key: Some(key) }
    }
}

impl HtmlRow {
    /// A row of plain text.
    pub fn words<S: AsRef<str>>(words: &[S]) -> Self {
        Self { class: "", cells: words.iter().map(|word| HtmlCell::text(word.as_ref())).collect() }
    }
}

/// A table with a name for screen readers; and a sentence about the rows that are left out: `row` does not make these.
pub fn table<S: AsRef<str>, T>(
    name: &str,
    head: &[S],
    all: impl Iterator<Item = T>,
    row: impl Fn(usize, T) -> HtmlRow,
) -> String {
    let mut all = all.enumerate();
    let mut body = String::new();
    let mut many = 0;
    for (i, one) in all.by_ref().take(MOST) {
        many += 1;
        let row = row(i, one);
        let class = if row.class.is_empty() { String::new() } else { format!(" class=\"{}\"", row.class) };
        body.push_str(&format!("<tr{class}>"));
        for (i, cell) in row.cells.iter().enumerate() {
            let class = match (cell.number, cell.short) {
                (true, _) => " class=\"n\"",
                (_, true) => " class=\"k\"",
                _ => "",
            };
            let key = cell.key.map_or(String::new(), |key| format!(" data-v=\"{key}\""));
            let (open, close) = if i == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
            body.push_str(&format!("<{open}{class}{key}>{}</{close}>", cell.html));
        }
        body.push_str("</tr>\n");
    }
    let sort = if many > 1 && head.len() > 3 { " class=\"sort\"" } else { "" };
    let name = line(name);
    let mut out = format!(
        "<div class=\"wide\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\"><table{sort}><caption>{name}</caption><thead><tr>"
    );
    head.iter().for_each(|text| out.push_str(&format!("<th scope=\"col\">{}</th>", line(text.as_ref()))));
    out.push_str(&format!("</tr></thead><tbody>\n{body}</tbody></table></div>\n"));
    let left_out = all.count();
    if left_out > 0 {
        out.push_str(&format!(
            "<p class=\"more\">The first {MOST} are shown; {left_out} more: use <code>--format csv</code> or <code>--format jsonl</code>.</p>\n"
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_table_ends_and_says_so() {
        let made = std::cell::Cell::new(0);
        let row = |i: usize, ()| {
            made.set(made.get() + 1);
            HtmlRow::words(&[i.to_string()])
        };
        let html = table("n", &["A"], std::iter::repeat_n((), MOST + 7), row);
        assert_eq!(made.get(), MOST);
        assert_eq!(html.matches("<th scope=\"row\" ").count(), MOST);
        assert!(html.contains("7 more: use"));
    }

    #[test]
    fn what_was_not_measured_has_no_key() {
        let cells = vec![HtmlCell::number(None), HtmlCell::number(Some(2.5)), HtmlCell::shown(Some(f64::NAN), "-")];
        let html = table("n", &["A"], std::iter::once(cells), |_, cells| HtmlRow { class: "win", cells });
        assert_eq!(html.matches("data-v").count(), 1);
        assert!(html.contains("<td class=\"n\" data-v=\"2.5\">2.50</td>"), "{html}");
    }
}
