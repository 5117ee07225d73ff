//! Recognizes names of variables whose value is a secret.

use std::sync::LazyLock;

use regex::Regex;

use crate::base::pattern::ascii;

/// Variables that every process has: their values occur in paths and are not secrets, even if a plan names them.
const COMMON: [&str; 14] = [
    "HOME",
    "PWD",
    "OLDPWD",
    "USER",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "HOSTNAME",
    "LANG",
    "LC_ALL",
    "TERM",
    "EDITOR",
    "XDG_RUNTIME_DIR",
];
/// Last words of names whose value is the place of a secret, not the secret.
const PLACES: [&str; 8] = ["FILE", "PATH", "DIR", "FOLDER", "SOCK", "SOCKET", "URL", "ENV"];
/// Settings of variables such as `USE_AUTH`.
const SETTINGS: [&str; 8] = ["default", "enabled", "disabled", "required", "optional", "always", "never", "automatic"];

/// A word that may be part of a secret's name, for values that look like a secret.
static WIDE: LazyLock<Regex> =
    LazyLock::new(|| ascii(r"(?i)(TOKEN|KEY|SECRET|PASS|CRED|AUTH|COOKIE)").expect("a fixed pattern"));
/// A word that names a secret, whatever the value looks like: `HF_TOKEN` and not `MAX_TOKENS`, `API_KEYS` and not `KEYBOARD`.
static NARROW: LazyLock<Regex> = LazyLock::new(|| {
    ascii(r"(?i)(?:^|[_.-])\w*?(?:TOKEN|KEYS?|SECRETS?|PASS|PASSWORDS?|PASSWD|PASSPHRASE|CREDS?|CREDENTIALS?|AUTH|AUTHORIZATION|COOKIES?)(?:[_.-]|$)")
        .expect("a fixed pattern")
});

/// True if an environment variable with this name may be a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    WIDE.is_match(name)
}

/// True for a variable whose value is not a secret even if a plan names it.
#[must_use]
pub(super) fn is_common(name: &str) -> bool {
    COMMON.contains(&name)
}

/// True if the value of a variable is a secret: because of its name alone, or because both name and value look like a
/// secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    let last = name.rsplit('_').next().unwrap_or_default().to_ascii_uppercase();
    let named = NARROW.is_match(name) && !PLACES.contains(&last.as_str()) && !SETTINGS.contains(&value);
    named || (is_secret_name(name) && !is_plain(value))
}

/// True for a path, a number or lower-case words, which are not secrets under a name that is only suspicious (`SSL_KEY_FILE`,
/// `MAX_TOKENS`).
pub(super) fn is_plain(value: &str) -> bool {
    value.starts_with('/') || value.parse::<f64>().is_ok() || value.chars().all(|c| c.is_ascii_lowercase() || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_says_so_makes_any_value_a_secret() {
        for name in
            ["HF_TOKEN", "API_KEYS", "MYTOKEN", "DB_PASSWORD", "PASSPHRASE", "AUTH_HEADER", "my-secret", "AWS_CREDS"]
        {
            for value in ["correcthorse", "918273645546", "/run/secret", "Correct-Horse9"] {
                assert!(is_secret(name, value), "{name}={value}");
            }
        }
        for (name, value) in [
            ("MAX_TOKENS", "131072"),
            ("TOKENIZERS_PARALLELISM", "enabled"),
            ("TOKENIZER", "/models/x"),
            ("SSL_KEY_FILE", "/etc/ssl/key.pem"),
            ("SSH_AUTH_SOCK", "/tmp/ssh/agent"),
            ("KEYBOARD", "qwertz"),
            ("XAUTHORITY", "/run/user/1000/x"),
            ("USE_AUTH", "disabled"),
            ("HOME", "Correct-Horse9"),
        ] {
            assert!(!is_secret(name, value), "{name}={value}");
        }
    }
}
