//! Escapes text from rows: nothing from a row reaches the page except through this module.

use crate::report::text::plain;

/// Text in which no character opens a tag or an entity, or ends an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Escaped text on one line.
pub fn line(text: &str) -> String {
    escape(&plain(text, true))
}

/// Escaped text that may break behind the separators of a long flag, not inside a word.
pub fn breakable(escaped: &str) -> String {
    escaped.replace('_', "_<wbr>").replace('=', "=<wbr>")
}

/// A command to copy: its lines stay lines, and invisible or direction-changing characters are written out, so that the
/// copied text is the text shown.
pub fn command(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                shown.extend(c.escape_unicode());
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    // A flag is not broken after its dashes if it fits on the next line.
    let mut out = String::with_capacity(shown.len() + 64);
    for (i, word) in shown.split_inclusive([' ', '\n', '\t']).enumerate() {
        let (word, space) = word.split_at(word.trim_end_matches([' ', '\n', '\t']).len());
        match i > 0 && word.starts_with("--") {
            true => out.push_str(&format!("<span class=\"w\">{}</span>{space}", escape(word))),
            false => out.push_str(&format!("{}{space}", escape(word))),
        }
    }
    out
}

/// `text` in at most `columns` columns; wide characters count twice.
pub fn fit(text: &str, columns: usize) -> String {
    let width = |c: char| if u32::from(c) >= 0x1100 { 2 } else { 1 };
    let text = plain(text, true);
    if text.chars().map(width).sum::<usize>() <= columns {
        return escape(&text);
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += width(*c);
        used <= columns
    };
    let head: String = text.chars().take_while(fits).collect();
    format!("{}…", escape(head.trim_end()))
}

/// A limit as text: `p99 TTFT ≤ 500 ms` for `max_p99_ttft_ms`.
pub fn limit(key: &str, threshold: f64) -> String {
    let (sign, name) = match (key.strip_prefix("max_"), key.strip_prefix("min_")) {
        (Some(name), _) => ("≤", name),
        (_, Some(name)) => ("≥", name),
        _ => return format!("{key} {threshold}"),
    };
    let (name, unit) = match name.strip_suffix("_ms") {
        Some(name) => (name, " ms"),
        None => (name, ""),
    };
    let word = |word: &str| match word {
        "ttft" | "tpot" | "itl" | "e2e" | "ttfat" => word.to_uppercase(),
        _ => word.to_string(),
    };
    let words: Vec<String> = name.split('_').map(word).collect();
    format!("{} {sign} {threshold}{unit}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_means_something() {
        assert_eq!(escape("<a b=\"'&\">"), "&lt;a b=&quot;&#39;&amp;&quot;&gt;");
        assert_eq!(command("a \\\n\tb\u{202e}\u{1b}"), "a \\\n\tb\\u{202e}\\u{1b}");
        assert_eq!(command("a  --b=<c>\n--"), "a  <span class=\"w\">--b=&lt;c&gt;</span>\n<span class=\"w\">--</span>");
    }

    #[test]
    fn long_names_are_cut_by_their_width() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("日本語日本語", 6), "日本…");
    }

    #[test]
    fn a_long_flag_breaks_behind_its_separators() {
        assert_eq!(breakable(&line("deploy: a_b=4 <i>")), "deploy: a_<wbr>b=<wbr>4 &lt;i&gt;");
    }

    #[test]
    fn limits_in_words() {
        assert_eq!(limit("max_p99_ttft_ms", 500.0), "p99 TTFT ≤ 500 ms");
        assert_eq!(limit("min_success_rate", 0.99), "success rate ≥ 0.99");
    }
}
