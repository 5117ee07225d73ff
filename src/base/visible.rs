//! Text that is safe to show: control characters as escapes, and names that are safe in paths.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with the control characters that change a terminal or a page written as `\u{1b}`; line feeds and tabs stay, and a
/// carriage return is a space. So are the marks that change the direction of text.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| (b' '..0x7f).contains(&byte) || byte == b'\n' || byte == b'\t';
    if text.bytes().all(plain) || !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c == '\r' {
            shown.push(' ');
        } else if is_hidden(c) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What [`is_slug`] asks for, in messages.
pub const SLUG: &str = "1 to 64 letters a-z or A-Z, digits, '-', '_' and '.', the first of them not '.'";

/// True for a name that may become a part of a path: letters, digits, `-`, `_` and `.`, the first of them not a dot; at
/// most 64.
#[must_use]
pub fn is_slug(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        let odd = "a\u{1b}[31m\u{7}\0\r\u{9b}\u{202e}b\n\tc é";
        assert_eq!(visible(odd), "a\\u{1b}[31m\\u{7}\\u{0} \\u{9b}\\u{202e}b\n\tc é");
        assert!(matches!(visible("plain é"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_slug_leads_nowhere_else() {
        assert!(["vllm", "vllm-0.32_a", "7"].iter().all(|name| is_slug(name)));
        for name in ["", "../evil", "/etc", "a/b", ".hidden", "..", "a b", "é", &"x".repeat(65)] {
            assert!(!is_slug(name), "{name}");
        }
    }
}
