//! What secrets look like, and what introduces them. Wider than the patterns of gitleaks on purpose.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::AhoCorasick;
use regex::Regex;

use crate::base::pattern::ascii;

/// A pattern of secrets, compiled when a text first holds one of its words.
pub(super) struct SecretPattern {
    /// Text that has none of these, in any case, has no such secret.
    words: &'static [&'static str],
    pattern: &'static str,
    /// What replaces the secret names this kind.
    pub(super) kind: &'static str,
    /// Only the second group is the secret; the first introduces it.
    pub(super) introduced: bool,
    /// A word counts only where it ends: `token`, not `tokens`.
    ends: bool,
    regex: OnceLock<Regex>,
}

impl SecretPattern {
    const fn new(words: &'static [&'static str], pattern: &'static str, kind: &'static str) -> Self {
        Self { words, pattern, kind, introduced: false, ends: false, regex: OnceLock::new() }
    }

    const fn introduced(words: &'static [&'static str], pattern: &'static str, kind: &'static str) -> Self {
        Self { words, pattern, kind, introduced: true, ends: false, regex: OnceLock::new() }
    }

    const fn named(words: &'static [&'static str], pattern: &'static str, kind: &'static str) -> Self {
        Self { words, pattern, kind, introduced: true, ends: true, regex: OnceLock::new() }
    }

    pub(super) fn regex(&self) -> &Regex {
        self.regex.get_or_init(|| {
            // The letter that ends a colour's escape sequence is not part of the next word.
            let rest = self.pattern.strip_prefix(r"\b").filter(|_| !self.introduced);
            let pattern = rest.map_or(self.pattern.into(), |rest| format!(r"(?:\x1b\[[0-9;]*m|\b){rest}"));
            ascii(&pattern).expect("a fixed pattern")
        })
    }
}

static PATTERNS: [SecretPattern; 17] = [
    SecretPattern::new(
        &["-----BEGIN"],
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.)*?(-----END [A-Z ]*PRIVATE KEY-----|$)",
        "private_key",
    ),
    SecretPattern::new(&["hf_"], r"\bhf_[A-Za-z0-9]{20,}", "huggingface"),
    SecretPattern::new(&["api_org_"], r"\bapi_org_[A-Za-z0-9]{20,}", "huggingface"),
    SecretPattern::new(&["sk-"], r"\bsk-[A-Za-z0-9_-]{16,}", "api_key"),
    SecretPattern::new(&["nvapi-"], r"\bnvapi-[\w-]{20,}", "nvidia"),
    SecretPattern::new(
        &["A3T", "AKIA", "ASIA", "ABIA", "ACCA"],
        r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
        "aws",
    ),
    SecretPattern::new(&["ABSK"], r"\bABSK[A-Za-z0-9+/]{40,}={0,2}", "aws"),
    SecretPattern::new(
        &["ghp_", "gho_", "ghu_", "ghr_", "ghs_", "github_pat_"],
        r"\b(?:gh[pours]_[0-9A-Za-z]{20,}|github_pat_\w{20,})",
        "github",
    ),
    SecretPattern::new(&["glpat-"], r"\bglpat-[\w-]{16,}", "gitlab"),
    SecretPattern::new(&["xox"], r"\bxox[abprs]-[\w-]{10,}", "slack"),
    SecretPattern::new(&["AIza"], r"\bAIza[\w-]{30,}", "google"),
    SecretPattern::new(&[".ey"], r"\bey[A-Za-z0-9_-]{10,}\.ey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*", "jwt"),
    SecretPattern::introduced(&["bearer", "basic"], r"(?i)\b((?:bearer|basic)\s+)([\w=~@.+/-]{8,})", "authorization"),
    SecretPattern::introduced(&["://"], r"(://)([^/\s:@]+:[^/\s@]+)@", "userinfo"),
    SecretPattern::introduced(&["token=", "key=", "sig="], r"(?i)([?&](?:token|key|sig|api_key)=)([^&\s]+)", "query"),
    SecretPattern::introduced(
        &["-api-key", "-hf-token", "-token", "-ssl-keyfile-password", "-password"],
        r#"(?i)((?:^|[\s'"\[(])--?(?:api-key|admin-api-key|hf-token|token|ssl-keyfile-password|password)(?:=|\s+|['"],\s*['"]))([^\s'"-][^\s'"]+)"#,
        "flag",
    ),
    SecretPattern::named(
        &["token", "api_key", "secret", "password", "passwd", "credential", "credentials", "cookie"],
        r#"(?i)(\b[A-Z0-9_]*(?:TOKEN|API_KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?|COOKIE)\b['"]?\s*[=:]\s*['"]?)([^\s'",}\]]{6,})"#,
        "value",
    ),
];

/// Finds the words of all patterns in one pass; and for each word the number of its pattern.
static WORDS: LazyLock<(AhoCorasick, Vec<usize>)> = LazyLock::new(|| {
    let all = || PATTERNS.iter().enumerate().flat_map(|(i, pattern)| pattern.words.iter().map(move |word| (i, word)));
    let words = AhoCorasick::builder().ascii_case_insensitive(true).build(all().map(|(_, word)| word));
    (words.expect("fixed words"), all().map(|(i, _)| i).collect())
});

/// The patterns that `text` may match, in their order.
pub(super) fn possible(text: &str) -> impl Iterator<Item = &'static SecretPattern> + use<> {
    let (words, patterns) = &*WORDS;
    // Most texts have none of the words, which is quicker to see than where they are.
    let some = words.is_match(text).then(|| {
        let mut seen = [false; PATTERNS.len()];
        for found in words.find_overlapping_iter(text) {
            let pattern = patterns[found.pattern().as_usize()];
            let goes_on =
                text.as_bytes().get(found.end()).is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_');
            seen[pattern] |= !(PATTERNS[pattern].ends && goes_on);
        }
        PATTERNS.iter().zip(seen).filter_map(|(pattern, seen)| seen.then_some(pattern))
    });
    some.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::string::string_regex;

    /// Beginnings of secrets and of what introduces them, in odd cases too.
    const STARTS: &str = "(-----BEGIN PRIVATE KEY-----|hf_|api_org_|sk-|nvapi-|A3TX|AKIA|ABSK|gh[pours]_|github_pat_|glpat-|xox[abprs]-|AIza|\
                          ey[a-z]{12}[.]ey|[bB]earer |BASIC |://a:|[?]Key=|&sig=|--?[tT]oken[= ]|--admin-api-key |'--password', '|[a-zA-Z_]{0,3}API_KEY=|\
                          Token: |\"cookie\": \"|Credentials=|credential: |tokens=|[a-z]{0,3}secret[']?=|PASSWD:)";

    fn texts() -> impl Strategy<Value = String> {
        string_regex(&format!("({STARTS}?[a-zA-Z0-9_@ .:=-]{{0,44}}){{0,3}}")).unwrap()
    }

    proptest! {
        #[test]
        fn a_text_that_matches_has_a_word_of_the_pattern(text in texts()) {
            let possible: Vec<&str> = possible(&text).map(|pattern| pattern.pattern).collect();
            for pattern in PATTERNS.iter().filter(|pattern| pattern.regex().is_match(&text)) {
                prop_assert!(possible.contains(&pattern.pattern), "{} {text}", pattern.kind);
            }
        }
    }
}
