//! Commands as text for people, with POSIX quoting. The programs run argv arrays, never a shell line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One word, quoted for a POSIX shell only if necessary.
#[must_use]
pub fn quote(word: &str) -> Cow<'_, str> {
    let is_sign = |byte| matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b'=' | b',' | b'@' | b'%' | b'+');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || is_sign(byte);
    if !word.is_empty() && word.bytes().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// The name of a program without its folder.
#[must_use]
pub fn program_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// True for a program that is a shell, in any folder.
#[must_use]
pub fn is_shell(word: &str) -> bool {
    ["sh", "bash", "dash", "ksh", "zsh"].contains(&program_name(word))
}

/// The names of the `${NAME}` in a word.
#[must_use]
pub fn references(word: &str) -> Vec<String> {
    let name = |part: &str| {
        let name = part.split_once('}')?.0;
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        (!name.is_empty() && name.chars().all(plain)).then(|| name.to_string())
    };
    word.split("${").skip(1).filter_map(name).collect()
}

/// One word, quoted so that a shell still expands `${NAME}`.
#[must_use]
pub fn quote_open(word: &str) -> Cow<'_, str> {
    if !word.contains('$') || references(word).is_empty() {
        return quote(word);
    }
    // Any other $ is text.
    let opens = |rest: &str| {
        rest.starts_with("${")
            && rest.split('}').next().is_some_and(|open| !references(&format!("{open}}}")).is_empty())
    };
    let escape = |(at, c): (usize, char)| match c {
        '\\' | '"' | '`' => format!("\\{c}"),
        '$' if !opens(&word[at..]) => "\\$".to_string(),
        c => c.to_string(),
    };
    Cow::Owned(format!("\"{}\"", word.char_indices().map(escape).collect::<String>()))
}

/// A command line that a POSIX shell reads back as exactly `argv`.
#[must_use]
pub fn join<S: AsRef<str>>(argv: &[S]) -> String {
    argv.iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A command line as a comment, every line of it.
#[must_use]
pub fn comment(text: &str) -> String {
    format!("# {}", text.replace('\n', "\n# "))
}

/// The variables of an environment as assignments before a command; inherited ones are left out.
#[must_use]
pub fn assignments(env: &BTreeMap<String, Option<String>>) -> Vec<String> {
    env.iter().filter_map(|(name, value)| Some(format!("{name}={}", quote(value.as_ref()?)))).collect()
}

/// Settings as people write them: `max_num_seqs=4 dtype=auto`.
#[must_use]
pub fn settings(members: &Map<String, Value>) -> String {
    let one = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    };
    members.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Splits a command line into words as a POSIX shell would, without expanding anything.
///
/// # Errors
/// An unclosed quote, or a backslash at the end of the line.
pub fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("unclosed single quote"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("unclosed double quote"),
                        },
                        Some(c) => word.push(c),
                        None => return Err("unclosed double quote"),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("backslash at the end of the line")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_only_what_needs_it() {
        assert_eq!(
            join(&["vllm", "serve", "Qwen/Qwen3-8B", "--port", "{port}"]),
            "vllm serve Qwen/Qwen3-8B --port '{port}'"
        );
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(split(r#"a "b \"c" d\ e"#).unwrap(), ["a", "b \"c", "d e"]);
        assert!(split("'open").is_err());
        assert_eq!(quote_open("a ${KEY} $(b) $$ ${c} `d`"), "\"a ${KEY} \\$(b) \\$\\$ \\${c} \\`d\\`\"");
    }

    proptest! {
        #[test]
        fn split_undoes_join(argv in proptest::collection::vec("[^\u{0}]*", 0..6)) {
            prop_assert_eq!(split(&join(&argv)).unwrap(), argv);
        }
    }
}
