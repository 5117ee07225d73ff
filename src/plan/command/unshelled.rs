//! Words that only a shell changes before a program sees them, and signs that a word processor has put in place of others.

use crate::base::shell;

/// Why a word of the server's command does not reach the program as its author means it, and what to write; `None` if it does.
pub fn problem(word: &str) -> Option<String> {
    variable(word, true).or_else(|| typeset(word))
}

/// The same for a word that is not of the server's command: there, `${NAME}` is not filled in either.
pub fn problem_outside(word: &str) -> Option<String> {
    variable(word, false).or_else(|| typeset(word))
}

/// What of a word only a shell expands. `${NAME}` is filled in when the server starts.
fn variable(word: &str, filled: bool) -> Option<String> {
    // The template of a chat.
    if word.contains("{%") || word.contains("{{") {
        return None;
    }
    let no_shell = "the command does not run in a shell, so";
    let is_text = word.contains(char::is_whitespace);
    if let Some(inner) = enclosed(word, "$(", ')').or_else(|| enclosed(word, "`", '`').filter(|_| !is_text)) {
        return Some(format!("{no_shell} {inner} is not run: write what it prints"));
    }
    if word.starts_with("~/") || word.contains("=~/") {
        return Some(format!("{no_shell} ~ in {word} is not expanded: write the whole path"));
    }
    if is_text || word.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let at = word.match_indices('$').find(|(at, _)| {
        let begins = word[..*at].chars().next_back().is_none_or(|c| "/:=,@".contains(c));
        let is_filled = filled && begins_with_reference(&word[*at..]);
        begins && !is_filled
    })?;
    let name = word[at.0 + 1..].trim_start_matches('{');
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let name = &name[..end];
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then(|| {
        let inherited = name.to_ascii_uppercase();
        let inherit = match filled && inherited == name {
            true => format!(", or ${{{name}}} to take it from the environment"),
            false => String::new(),
        };
        format!("{no_shell} ${name} in {word} is not expanded: write its value{inherit}")
    })
}

/// True for `${NAME}` and what follows it.
fn begins_with_reference(text: &str) -> bool {
    text.split_inclusive('}')
        .next()
        .is_some_and(|first| first.starts_with("${") && !shell::references(first).is_empty())
}

/// The part of a word from `open` to the next `close`.
fn enclosed<'a>(word: &'a str, open: &str, close: char) -> Option<&'a str> {
    let from = word.find(open)?;
    let length = word[from + open.len()..].find(close)?;
    let part = &word[from..=from + open.len() + length];
    (!part.contains('\n') && part.len() > open.len() + 1).then_some(part)
}

/// A dash or quotation mark that a word processor or a web page has put in place of the typewriter's.
fn typeset(word: &str) -> Option<String> {
    let dash = |c: char| ('\u{2010}'..='\u{2015}').contains(&c) || c == '\u{2212}';
    let rest = word.trim_start_matches(dash);
    if rest.len() < word.len() && rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-') {
        let short = rest.trim_start_matches('-').split('=').next().is_some_and(|name| name.chars().count() < 4);
        let hyphens = if short { "-" } else { "--" };
        return Some(format!("{word} does not begin with a hyphen: write {hyphens}{}", rest.trim_start_matches('-')));
    }
    let quote = |c: char| ('\u{2018}'..='\u{201f}').contains(&c);
    let value = word.split_once('=').map_or(word, |(_, value)| value);
    [word, value]
        .into_iter()
        .any(|text| text.starts_with(quote) || text.ends_with(quote))
        .then(|| format!("{word} is in typeset quotation marks, which quote nothing: write ' or \""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_shell_changes() {
        for (word, said) in [
            ("$MODEL", "write its value, or ${MODEL} to take"),
            ("$tp", "$tp in $tp is not expanded: write its value"),
            ("--x=$A", "$A"),
            ("/m/$NAME/x", "$NAME"),
            ("${PORT:-8000}", "$PORT"),
            ("${lower}", "$lower"),
            ("$A/${B}", "$A"),
            ("$(nvidia-smi -L | wc -l)", "$(nvidia-smi -L | wc -l) is not run"),
            ("`pwd`/m", "`pwd` is not run"),
            ("~/models", "whole path"),
            ("--dir=~/models", "whole path"),
            ("—max-model-len", "write --max-model-len"),
            ("–-port", "write --port"),
            ("—tp", "write -tp"),
            ("‘{\"a\":1}’", "quotation marks"),
            ("--x=“y”", "quotation marks"),
        ] {
            assert!(problem(word).is_some_and(|why| why.contains(said)), "{word}: {:?}", problem(word));
        }
    }

    #[test]
    fn what_reaches_the_program_as_it_stands() {
        for word in [
            "${HF_TOKEN}",
            "--api-key=${KEY}",
            "m",
            "--x",
            "{\"$schema\": 1}",
            ".ffn_.*_exps\\.weight$=CPU",
            "^(a|b)$",
            "{% if x %}'$' `y` {% endif %}\n",
            "a~b",
            "US$ 5",
            "--note=$HOME `x`",
            "-1",
            "it’s",
            "",
        ] {
            assert_eq!(problem(word), None, "{word}");
        }
        assert!(problem_outside("${TAG}").is_some_and(|why| why.ends_with("write its value")));
    }
}
