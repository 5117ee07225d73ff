//! Markdown: lines, tables, blocks, and escaped text.

use std::fmt::Write;

use super::text::plain;

/// Maximum number of rows of a table.
pub const MOST_ROWS: usize = 200;

/// A line.
pub fn put(out: &mut String, line: &str) {
    let _ = writeln!(out, "{line}");
}

/// A table of these rows.
pub fn table(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    put(out, &format!("| {} |", head.join(" | ")));
    put(out, &format!("|{}", "---|".repeat(head.len())));
    for row in rows {
        put(out, &format!("| {} |", row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(" | ")));
    }
}

/// A table of the first rows, with the number of omitted ones below; these are not formatted.
pub fn table_of<T>(
    out: &mut String,
    head: &[&str],
    all: impl Iterator<Item = T>,
    row: impl Fn(usize, T) -> Vec<String>,
) {
    let mut all = all.enumerate();
    table(out, head, all.by_ref().take(MOST_ROWS).map(|(i, one)| row(i, one)));
    let more = all.count();
    if more > 0 {
        put(out, &format!("\n{more} more: use `--format csv` or `--format jsonl`."));
    }
}

/// Text as a cell.
pub fn cell(text: &str) -> String {
    escape(&plain(text, text.len() > 200))
}

/// A code block that nothing in `text` can close.
pub fn fence(out: &mut String, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    put(out, &format!("{fence}sh\n{text}\n{fence}"));
}

/// A block per terminal with its commands.
pub fn terminals(out: &mut String, blocks: &[String]) {
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 {
            put(out, "\nWhen it is ready, in another terminal:\n");
        }
        fence(out, block);
    }
}

/// Text in which no character has a meaning in Markdown (GitHub's) or HTML. An underscore inside a word has none.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let in_word = c == '_' && before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        if "\\|`*_[]<>&#".contains(c) && !in_word {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_means_something_is_escaped() {
        assert_eq!(escape("max_num_seqs=4 _x_ a|b <i>"), r"max_num_seqs=4 \_x\_ a\|b \<i\>");
    }

    #[test]
    fn a_fence_cannot_be_closed_from_inside() {
        let mut out = String::new();
        fence(&mut out, "echo ```` x");
        assert!(out.starts_with("`````sh\n") && out.ends_with("\n`````\n"));
    }

    proptest! {
        #[test]
        fn the_shape_of_a_table_survives_any_text(cells in proptest::collection::vec(any::<String>(), 3)) {
            let mut out = String::new();
            table(&mut out, &["a", "b", "c"], std::iter::once(cells));
            let lines: Vec<&str> = out.lines().collect();
            prop_assert_eq!(lines.len(), 3);
            let mut bars = 0;
            let mut escaped = false;
            for c in lines[2].chars() {
                bars += usize::from(c == '|' && !escaped);
                prop_assert!(c != '<' || escaped);
                escaped = c == '\\' && !escaped;
            }
            prop_assert_eq!(bars, 4);
        }
    }
}
