//! Variables of a pasted script: what it sets itself, and the defaults of `${NAME:-default}`, are put in place.

use crate::base::{redact, shell};

/// Variables that a script has set so far, in order, behind those of the host it runs on.
#[derive(Debug, Default, Clone)]
pub struct Variables {
    host: Vec<(String, String)>,
    own: Vec<(String, String)>,
}

/// The rest of a `${NAME…}` behind the name.
enum Otherwise<'a> {
    /// `${NAME}`.
    Nothing,
    /// `${NAME:-text}`: the text if it is not set; `true` if it is set then (`:=`).
    Default(&'a str, bool),
    /// `${NAME:+text}`: the text if it is set.
    Alternative(&'a str),
    /// What only a shell computes: `${NAME%.*}`.
    Other,
}

impl Variables {
    /// The variables of this process that stand for folders, which a script on this host expects.
    pub fn of_host() -> Self {
        let named = ["HOME", "PWD", "USER"].into_iter();
        let host = named.filter_map(|name| Some((name.to_string(), std::env::var(name).ok()?))).collect();
        Self { host, own: Vec::new() }
    }

    /// Without those of the host: for a command that another host's shell reads.
    pub fn elsewhere(&self) -> Self {
        Self { host: Vec::new(), own: self.own.clone() }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.own.push((name.into(), value.into()));
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.host.iter().chain(&self.own).rev().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The words of a command with the variables in place. A word that is one variable becomes as many words as its value
    /// has if these are flags, and none if it is empty; the script's own arguments are left out.
    pub fn fill_all(&mut self, words: &[String]) -> Vec<String> {
        let mut all = Vec::new();
        for word in words {
            let filled = self.fill(word);
            let whole = word.starts_with('$') && (name_length(&word[1..]) == word.len() - 1 || is_braced(word));
            match shell::split(&filled) {
                _ if ["$@", "$*", "${@}", "${*}"].contains(&word.as_str()) => {}
                _ if whole && filled.is_empty() => {}
                Ok(several) if whole && filled.starts_with('-') && filled != *word => all.extend(several),
                _ => all.push(filled),
            }
        }
        all
    }

    /// A word with its variables in place; those that are not set stay.
    pub fn fill(&mut self, word: &str) -> String {
        // An empty default of the variable's own value means the value that it has outside.
        if let Some((name, value)) = word.split_once('=')
            && [format!("${{{name}:-}}"), format!("${{{name}-}}")].contains(&value.to_string())
            && self.get(name).is_none()
        {
            return format!("{name}=${{{name}}}");
        }
        let home = self.get("HOME").map(String::from);
        let word = match (word.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => format!("{home}/{rest}"),
            _ => word.to_string(),
        };
        let (mut out, mut rest) = (String::new(), word.as_str());
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let (text, length) = self.one(&rest[at..]);
            out.push_str(&text);
            rest = &rest[at + length..];
        }
        out.push_str(rest);
        out
    }

    /// What a text that begins with `$` has first, and its length in the text, bytes.
    fn one(&mut self, text: &str) -> (String, usize) {
        if let Some(inner) = braces(text) {
            let whole = inner.len() + 3;
            let name = &inner[..name_length(inner)];
            let set = self.get(name).map(String::from);
            let value = match otherwise(&inner[name.len()..]) {
                _ if name.is_empty() => None,
                Otherwise::Nothing => set,
                Otherwise::Default(text, keeps) => match set.filter(|value| !value.is_empty()) {
                    Some(value) => Some(value),
                    None => {
                        let value = self.fill(text.trim_matches(['"', '\'']));
                        if keeps {
                            self.set(name, &value);
                        }
                        Some(value)
                    }
                },
                Otherwise::Alternative(text) => Some(set.map_or(String::new(), |_| self.fill(text))),
                Otherwise::Other => None,
            };
            return (value.unwrap_or_else(|| text[..whole].to_string()), whole);
        }
        let name = &text[1..=name_length(&text[1..])];
        match self.get(name) {
            Some(value) => (value.to_string(), name.len() + 1),
            None => (text[..=name.len()].to_string(), name.len() + 1),
        }
    }
}

/// The inside of `${…}` at the beginning of a text.
fn braces(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?;
    let mut depth = 1;
    for (at, c) in inner.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 {
            return Some(&inner[..at]);
        }
    }
    None
}

fn is_braced(word: &str) -> bool {
    braces(word).is_some_and(|inner| inner.len() + 3 == word.len())
}

/// Length of the name at the beginning of a text, bytes: letters, digits and `_`.
fn name_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn otherwise(text: &str) -> Otherwise<'_> {
    let plain = text.strip_prefix(':').unwrap_or(text);
    let mut chars = plain.chars();
    match chars.next() {
        None if text.is_empty() => Otherwise::Nothing,
        Some('-') => Otherwise::Default(chars.as_str(), false),
        Some('=') => Otherwise::Default(chars.as_str(), true),
        Some('+') => Otherwise::Alternative(chars.as_str()),
        _ => Otherwise::Other,
    }
}

/// What of a word only a shell could expand; `None` for a secret that is inherited, `${NAME}`.
pub fn unresolved(word: &str) -> Option<&str> {
    if word.starts_with(['{', '[']) {
        return None;
    }
    let at = word.find('`').filter(|at| word[at + 1..].contains('`'));
    let at = at.or_else(|| word.find("$("));
    if let Some(at) = at {
        return Some(&word[at..]);
    }
    for (at, _) in word.match_indices('$') {
        let rest = &word[at..];
        let length = name_length(&rest[1..]);
        let (name, whole) = match braces(rest) {
            Some(inner) => (inner, inner.len() + 3),
            None => (&rest[1..=length], length + 1),
        };
        let inherited = name_length(name) == name.len() && redact::is_secret_name(name);
        if !name.is_empty() && !inherited {
            return Some(&rest[..whole]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let mut variables = Variables::default();
        for (name, value) in [("TP", "8"), ("EMPTY", ""), ("ARGS", "--a 'b c' --d"), ("M", "a b")] {
            variables.set(name, value);
        }
        variables
    }

    #[test]
    fn variables_and_defaults_are_put_in_place() {
        for (word, filled) in [
            ("$TP", "8"),
            ("${TP}", "8"),
            ("--x=${TP:-4}", "--x=8"),
            ("${TPX:-4}", "4"),
            ("${1:-Qwen/Qwen3-8B}", "Qwen/Qwen3-8B"),
            ("${EMPTY:-4}", "4"),
            ("${A:-${B:-${TP}}}", "8"),
            ("${A:-\"x y\"}", "x y"),
            ("${A-4}${TP:+!}${A:+!}", "4!"),
            ("$TPX/$TP/${TP}x", "$TPX/8/8x"),
            ("${M##*/}", "${M##*/}"),
            ("HF_TOKEN=${HF_TOKEN:-}", "HF_TOKEN=${HF_TOKEN}"),
            ("a$", "a$"),
            ("${open", "${open"),
        ] {
            assert_eq!(variables().fill(word), filled, "{word}");
        }
        let mut set = variables();
        assert_eq!((set.fill("${NEW:=5}"), set.fill("$NEW")), ("5".to_string(), "5".to_string()));
    }

    #[test]
    fn a_variable_may_be_several_words_or_none() {
        let words = ["x", "$ARGS", "${EMPTY}", "$M", "$@", "y"].map(String::from);
        assert_eq!(variables().fill_all(&words), ["x", "--a", "b c", "--d", "a b", "y"]);
    }

    #[test]
    fn what_only_a_shell_knows() {
        for (word, rest) in [
            ("$TP", Some("$TP")),
            ("--x=${tp}", Some("${tp}")),
            ("${M##*/}", Some("${M##*/}")),
            ("$(nvidia-smi -L | wc -l)", Some("$(nvidia-smi -L | wc -l)")),
            ("`pwd`/m", Some("`pwd`/m")),
            ("${HF_TOKEN}", None),
            ("exps.weight$=CPU", None),
            ("{\"$schema\": 1}", None),
            ("m", None),
        ] {
            assert_eq!(unresolved(word), rest, "{word}");
        }
    }
}
