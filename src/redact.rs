//! Takes secrets out of text before it leaves a program. A redactor must not miss: the patterns are wider than a
//! scanner's, and values that are known to be secret are replaced wherever they stand.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Shapes of secrets, with the kind that stands in their place. Wider than gitleaks' on purpose.
static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)", "private_key"),
        (r"\bhf_[A-Za-z0-9]{20,}", "huggingface"),
        (r"\bapi_org_[A-Za-z0-9]{20,}", "huggingface"),
        (r"\bsk-[A-Za-z0-9_-]{16,}", "api_key"),
        (r"\bnvapi-[\w-]{20,}", "nvidia"),
        (r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b", "aws"),
        (r"\bABSK[A-Za-z0-9+/]{40,}={0,2}", "aws"),
        (r"\b(?:gh[pours]_[0-9A-Za-z]{20,}|github_pat_\w{20,})", "github"),
        (r"\bglpat-[\w-]{16,}", "gitlab"),
        (r"\bxox[abprs]-[\w-]{10,}", "slack"),
        (r"\bAIza[\w-]{30,}", "google"),
        (r"\bey[A-Za-z0-9_-]{10,}\.ey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*", "jwt"),
    ]
    .map(|(pattern, kind)| (Regex::new(pattern).expect("a fixed pattern"), kind))
    .into()
});

/// What introduces a secret; only the secret behind it is replaced.
static INTRODUCED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"(?i)\b((?:bearer|basic)\s+)([\w=~@.+/-]{8,})", "authorization"),
        (r"(://)([^/\s:@]+:[^/\s@]+)@", "userinfo"),
        (r"(?i)([?&](?:token|key|sig|api_key)=)([^&\s]+)", "query"),
        (
            r#"(?i)((?:^|[\s'"\[(])--?(?:api-key|admin-api-key|hf-token|token|ssl-keyfile-password|password)(?:=|\s+|['"],\s*['"]))([^\s'"-][^\s'"]+)"#,
            "flag",
        ),
        (
            r#"(?i)(\b[A-Z0-9_]*(?:TOKEN|API_KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?|COOKIE)\b['"]?\s*[=:]\s*['"]?)([^\s'",}\]]{6,})"#,
            "value",
        ),
    ]
    .map(|(pattern, kind)| (Regex::new(pattern).expect("a fixed pattern"), kind))
    .into()
});

static SECRET_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)(TOKEN|KEY|SECRET|PASS|CRED|AUTH|COOKIE)").expect("a fixed pattern"));

/// True when an environment variable of this name may hold a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.is_match(name)
}

/// True when `text` holds something in the shape of a secret, or something that a flag or a name introduces as one.
#[must_use]
pub fn holds_secret(text: &str) -> bool {
    Redactor::default().redact(text) != text
}

/// Replaces secrets: the values it was given, and what has a secret's shape.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    values: Vec<String>,
}

impl Redactor {
    /// `environment` gives names and values; the values of secret names are replaced wherever they stand.
    pub fn new(environment: impl Iterator<Item = (String, String)>) -> Self {
        let secret = environment.filter(|(name, value)| is_secret_name(name) && value.len() >= 6 && !is_plain(value));
        let mut values: Vec<String> = secret.map(|(_, value)| value).collect();
        // The longest first: one value may hold another.
        values.sort_by_key(|value| (usize::MAX - value.len(), value.clone()));
        values.dedup();
        Self { values }
    }

    /// `text` without secrets. Redacting twice is the same as once.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_string();
        for value in &self.values {
            if text.contains(value) {
                text = text.replace(value, "[REDACTED:value]");
            }
        }
        for (regex, kind) in PATTERNS.iter() {
            if regex.is_match(&text) {
                text = regex.replace_all(&text, format!("[REDACTED:{kind}]")).into_owned();
            }
        }
        for (regex, kind) in INTRODUCED.iter() {
            let replace = |found: &Captures| {
                if found[2].starts_with("[REDACTED") {
                    return found[0].to_string();
                }
                let end = if *kind == "userinfo" { "@" } else { "" };
                format!("{}[REDACTED:{kind}]{end}", &found[1])
            };
            if regex.is_match(&text) {
                text = regex.replace_all(&text, replace).into_owned();
            }
        }
        text
    }
}

/// A path, a number or a word such as `true` is no secret even under a secret's name (`SSL_CERT_FILE`, `KEY_COUNT`).
fn is_plain(value: &str) -> bool {
    value.starts_with('/') || value.parse::<f64>().is_ok() || value.chars().all(|c| c.is_ascii_lowercase() || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Secrets are put together here, so that none stands in the repository.
    fn secrets() -> Vec<String> {
        let long = "Ab3".repeat(14);
        let mut secrets: Vec<String> =
            ["hf_", "api_org_", "sk-", "sk-proj-", "nvapi-", "ghp_", "gho_", "github_pat_", "glpat-", "xoxb-", "AIza"]
                .iter()
                .map(|prefix| format!("{prefix}{long}"))
                .collect();
        secrets.push(format!("AKIA{}", "A1".repeat(8)));
        secrets.push(format!("ey{long}.ey{long}.{long}"));
        secrets
    }

    #[test]
    fn no_secret_gets_through() {
        let environment = [("MY_API_TOKEN".to_string(), "s3cr3t-Value".to_string())];
        let redactor = Redactor::new(environment.into_iter());
        for secret in secrets().iter().map(String::as_str).chain(["s3cr3t-Value"]) {
            for text in [
                secret.to_string(),
                format!("x={secret},"),
                format!(r#"{{"k":"{secret}"}}"#),
                format!("['--f', '{secret}']"),
            ] {
                let redacted = redactor.redact(&text);
                assert!(!redacted.contains(secret) && redacted.contains("[REDACTED:"), "{text} -> {redacted}");
            }
        }
        let introduced = "zzTop99-x";
        for text in [
            format!("Authorization: Bearer {introduced}"),
            format!("--api-key {introduced}"),
            format!("--api-key={introduced}"),
            format!("api_key='{introduced}'"),
            format!("HF_TOKEN={introduced} cmd"),
            format!("http://user:{introduced}@host/"),
            format!("GET /?token={introduced}&a=1"),
            format!("['--hf-token', '{introduced}']"),
            format!("\"hf_token\": \"{introduced}\""),
        ] {
            let redacted = redactor.redact(&text);
            assert!(!redacted.contains(introduced), "{text} -> {redacted}");
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
