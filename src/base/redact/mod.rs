//! Removes secrets from text before it leaves a program. It must not miss any: the patterns are wider than a scanner's, and
//! known secret values are replaced everywhere, in every encoding.
//!
//! A value is secret if a plan names it as `${NAME}`, if the name of its variable says so, if it is sent as a key, if it
//! follows a flag that takes a secret, or if it is in a file that such a variable or flag names. Values of fewer than six characters are not replaced: they occur in too many words.

mod door;
mod forms;
mod name;
mod patterns;

use std::borrow::Cow;
use std::path::PathBuf;

use regex::Captures;

pub use self::door::{files_of_environment, foreign, hide, hide_environment, hide_named, outgoing, redactor};
use self::forms::{Finder, SHORTEST};
pub use self::name::is_secret_name;
use self::name::{is_plain, is_secret};

/// Flags whose value is a secret.
const SECRET_FLAGS: [&str; 12] = [
    "api-key",
    "admin-api-key",
    "hf-token",
    "token",
    "ssl-keyfile-password",
    "header",
    "H",
    "u",
    "user",
    "password",
    "api_key",
    "hf_token",
];
/// Flags whose value is a file with secrets, one per line.
const FILE_FLAGS: [&str; 3] = ["api-key-file", "ssl-key-file", "ssl-keyfile"];
/// The secret flags whose value may be an ordinary setting.
const MIXED_FLAGS: [&str; 4] = ["header", "H", "u", "user"];

/// The files with secrets that a command names.
#[must_use]
pub fn files_of_command(argv: &[String]) -> Vec<PathBuf> {
    values_of(argv, &FILE_FLAGS).into_iter().map(|(_, path)| PathBuf::from(path)).collect()
}

/// The values of these flags in a command, with the flag as written: `--flag value` and `--flag=value`.
fn values_of<'a>(argv: &'a [String], flags: &[&str]) -> Vec<(&'a str, String)> {
    let is = |word: &str| word.starts_with('-') && flags.contains(&word.trim_start_matches('-'));
    let behind = argv.windows(2).filter(|pair| is(&pair[0])).map(|pair| (pair[0].as_str(), pair[1].clone()));
    let joined = argv.iter().filter_map(|word| word.split_once('=')).filter(|(name, _)| is(name));
    behind.chain(joined.map(|(name, value)| (name, value.to_string()))).collect()
}

/// True if a header contains a secret instead of naming its variable: `Authorization: Bearer …`.
#[must_use]
pub fn is_inline_header(name: &str, value: &str) -> bool {
    (is_secret_name(name) || holds_secret(value)) && !value.contains("${")
}

/// True if `text` contains something that looks like a secret, or that a flag or a name introduces as one.
#[must_use]
pub fn holds_secret(text: &str) -> bool {
    Redactor::default().redacted(text) != text
}

/// Replaces secrets: known values, and anything that looks like a secret.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    values: Vec<String>,
    finder: Option<Finder>,
}

impl Redactor {
    /// Replaces the values of the variables in `environment` that have secret names.
    pub fn new(environment: impl Iterator<Item = (String, String)>) -> Self {
        Self::default().with_environment(environment)
    }

    /// Also replaces the secrets in `environment`.
    #[must_use]
    pub fn with_environment(self, environment: impl Iterator<Item = (String, String)>) -> Self {
        let secret = environment.filter(|(name, value)| is_secret(name, value) && !is_reference(value));
        self.with_secrets(secret.map(|(_, value)| value))
    }

    /// Also replaces the values of the secret flags of a command.
    #[must_use]
    pub fn with_command(self, argv: &[String]) -> Self {
        let all = values_of(argv, &SECRET_FLAGS);
        // Values of the other flags may be settings: `-u 1000:1000`, `-H 'Accept: text/plain'`.
        let (mixed, keys): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(name, _)| MIXED_FLAGS.contains(&name.trim_start_matches('-')));
        // `-u user:password`, `-H 'Authorization: …'`, and lists of keys.
        let parts = |(_, value): (&str, String)| {
            let inner = [value.split_once(": ").map(|(_, v)| v), value.split_once(':').map(|(_, v)| v)];
            let mut all: Vec<String> = inner.into_iter().flatten().map(String::from).collect();
            all.extend(value.split(',').map(String::from));
            all.push(value);
            all
        };
        let odd = mixed.into_iter().flat_map(parts).filter(|value| !is_plain(value));
        let values = keys.into_iter().flat_map(parts).chain(odd).filter(|value| !is_reference(value));
        self.with_secrets(values.collect::<Vec<_>>().into_iter())
    }

    /// Also replaces these values, whatever they look like, unless they are too short.
    #[must_use]
    pub fn with_secrets(mut self, values: impl Iterator<Item = String>) -> Self {
        self.values.extend(values.filter(|value| value.len() >= SHORTEST));
        self.values.sort();
        self.values.dedup();
        self.finder = Finder::new(&self.values);
        self
    }

    /// True if this value is already known.
    fn knows(&self, value: &str) -> bool {
        self.values.iter().any(|known| known == value)
    }

    /// True if it knows any value.
    #[must_use]
    pub fn has_values(&self) -> bool {
        self.finder.is_some()
    }

    /// True if `text` contains a known value.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        self.finder.as_ref().is_some_and(|finder| finder.finds(text))
    }

    /// `text` without the known values.
    #[must_use]
    pub fn without_values(&self, text: &str) -> String {
        self.values_replaced(text).into_owned()
    }

    fn values_replaced<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.finder {
            Some(finder) if finder.finds(text) => finder.replace(text).into(),
            _ => text.into(),
        }
    }

    /// The largest place at or before the byte `at` where `text` can be cut without cutting a secret: before the value that
    /// crosses `at`, otherwise before the last word.
    #[must_use]
    pub fn cut(&self, text: &str, at: usize) -> usize {
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let value = self.finder.as_ref().and_then(|finder| finder.start_across(text, at));
        let word =
            || text[..at].char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(i, c)| i + c.len_utf8());
        let before = value.unwrap_or_else(word);
        // A text without a single space is cut where it has to be.
        if before * 2 < at { at } else { before }
    }

    /// `text` without secrets. Redacting twice is the same as once.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.redacted(text).into_owned()
    }

    /// The same, without a copy of a text that has none.
    #[must_use]
    pub fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = self.values_replaced(text);
        for pattern in patterns::possible(&text) {
            let (regex, kind) = (pattern.regex(), pattern.kind);
            let replace = |found: &Captures| {
                if !pattern.introduced {
                    return format!("[REDACTED:{kind}]");
                }
                if found[2].starts_with("[REDACTED") || is_reference(&found[2]) {
                    return found[0].to_string();
                }
                let end = if kind == "userinfo" { "@" } else { "" };
                format!("{}[REDACTED:{kind}]{end}", &found[1])
            };
            if regex.is_match(&text) {
                text = regex.replace_all(&text, replace).into_owned().into();
            }
        }
        text
    }
}

/// True for `${NAME}`, which names a secret but is not one.
fn is_reference(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "_}\"'".contains(c);
    value.trim_matches(['"', '\'']).strip_prefix("${").is_some_and(|rest| rest.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Synthetic secrets of every known shape, put together here so that none is in the repository.
    fn shaped() -> Vec<String> {
        let mut all = Vec::new();
        for seed in ["Ab3", "x9Z", "Q7r", "0dE"] {
            let long = seed.repeat(14);
            let prefixes = "hf_ api_org_ sk- sk-proj- sk-ant-api03- nvapi- ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xoxb- xoxp- AIza";
            all.extend(prefixes.split(' ').map(|prefix| format!("{prefix}{long}")));
            all.push(format!("AKIA{}", &seed.to_ascii_uppercase().repeat(6)[..16]));
            all.push(format!("ABSK{long}{long}"));
            all.push(format!("ey{long}.ey{long}.{long}"));
        }
        all
    }

    #[test]
    fn no_secret_of_a_known_shape_gets_through() {
        let (redactor, secrets) = (Redactor::default(), shaped());
        assert!(secrets.len() >= 60, "{}", secrets.len());
        for secret in &secrets {
            for text in [
                secret.clone(),
                format!("x={secret},"),
                format!(r#"{{"k":"{secret}"}}"#),
                format!("['--f', '{secret}']"),
                format!("| cell `{secret}` |"),
                format!("panicked at 'bad {secret}'"),
                format!("\u{1b}[31m{secret}\u{1b}[0m"),
            ] {
                let redacted = redactor.redact(&text);
                assert!(!redacted.contains(secret) && redacted.contains("[REDACTED:"), "{text} -> {redacted}");
            }
        }
    }

    #[test]
    fn a_secret_without_a_shape_is_known_by_what_introduces_it() {
        let introduced = "zzTop99-x";
        for text in [
            format!("Authorization: Bearer {introduced}"),
            format!("authorization: basic {introduced}"),
            format!("--api-key {introduced}"),
            format!("--api-key={introduced}"),
            format!("--admin-api-key {introduced} --port 1"),
            format!("api_key='{introduced}'"),
            format!("HF_TOKEN={introduced} cmd"),
            format!("docker run -e HF_TOKEN={introduced} image"),
            format!("http://user:{introduced}@host/"),
            format!("GET /?token={introduced}&a=1"),
            format!("['--hf-token', '{introduced}']"),
            format!("\"hf_token\": \"{introduced}\""),
            format!("Namespace(api_key='{introduced}', port=1)"),
            format!("ssl_keyfile_password={introduced}"),
        ] {
            let redacted = Redactor::default().redact(&text);
            assert!(!redacted.contains(introduced), "{text} -> {redacted}");
        }
        assert_eq!(Redactor::default().redact("--api-key ${VLLM_API_KEY}"), "--api-key ${VLLM_API_KEY}");
    }

    #[test]
    fn a_value_that_is_known_is_replaced_wherever_it_stands() {
        let (known, odd) = ("s3cr3t-Value", r#"pass"wor\d9"#);
        let environment = [("MY_API_TOKEN", known), ("DB_PASSWORD", odd)].map(|(n, v)| (n.to_string(), v.to_string()));
        let argv = ["serve", "--api-key", "first-Key1,second-Key2", "-u", "me:hunter22x", "--header=X-Auth: abcdefg9"];
        let redactor = Redactor::new(environment.into_iter()).with_command(&argv.map(String::from));
        let as_json = serde_json::Value::from(odd).to_string();
        for secret in [known, odd, &as_json[1..as_json.len() - 1], "first-Key1", "second-Key2", "hunter22x", "abcdefg9"]
        {
            let redacted = redactor.redact(&format!("the log says {secret}, and goes on"));
            assert!(!redacted.contains(secret) && redacted.contains("[REDACTED:value]"), "{secret} -> {redacted}");
        }
    }

    #[test]
    fn ordinary_text_stays() {
        let redactor = Redactor::new([("SSL_KEY_FILE".to_string(), "/etc/ssl/key.pem".to_string())].into_iter());
        for text in [
            "hf_transfer is on; hf_hub_download(sk-learn)",
            "Qwen/Qwen3-235B-A22B",
            "max_num_batched_tokens=8192",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "--tokenizer-mode auto",
            "/etc/ssl/key.pem",
            "Capturing CUDA graph id TWFuIGlzIGRpc3Rpbmd1aXNoZWQ for bs=1,2,4",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "unsloth/Llama-3.3-70B-Instruct-bnb-4bit",
            "tokens: 1048576",
            "prompt_tokens=1000 completion_tokens: 200",
        ] {
            assert_eq!(redactor.redact(text), text);
        }
    }

    proptest! {
        #[test]
        fn twice_is_once(text in "((bearer |--token |API_KEY=|://a:|[?]key=)?[a-zA-Z0-9_@ .:=-]{0,24}){0,4}") {
            let redactor = Redactor::default();
            let once = redactor.redact(&text);
            prop_assert_eq!(redactor.redact(&once), once);
        }
    }
}
