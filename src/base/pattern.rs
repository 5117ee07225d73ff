//! Regular expressions for logs and secrets, with ASCII classes: a class of all Unicode letters takes a hundred times as long
//! to compile as `[0-9A-Za-z_]`.

use regex::Regex;

use super::error::{Context, Result};

/// Compiles `pattern` with ASCII `\w`, `\d`, `\s` and `\b`.
///
/// # Errors
/// An invalid regular expression.
pub fn ascii(pattern: &str) -> Result<Regex> {
    let mut plain = String::with_capacity(pattern.len() * 2);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('w') => plain.push_str("[0-9A-Za-z_]"),
            Some('d') => plain.push_str("[0-9]"),
            Some('s') => plain.push_str(r"[ \t\r\n\x0b\x0c]"),
            Some('S') => plain.push_str(r"[^ \t\r\n\x0b\x0c]"),
            Some('b') => plain.push_str(r"(?-u:\b)"),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    Regex::new(&plain).context(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii_inside_and_outside_brackets() {
        for (pattern, text, found) in [
            (r"\b[\w-]{2}\b", "é ab-", "ab"),
            (r"[^\s'=]+", " 'né", "né"),
            (r"(\d+\.[\d,]*)", "x ٣ 3.1,4", "3.1,4"),
            (r"\\d\S", r"a\dz", r"\dz"),
        ] {
            assert_eq!(ascii(pattern).unwrap().find(text).map(|m| m.as_str()), Some(found), "{pattern}");
        }
        assert!(ascii("(").is_err());
    }
}
