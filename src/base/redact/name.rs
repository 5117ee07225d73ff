//! Recognizes names of variables whose value is a secret.

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

/// Words that may be part of a secret's name, for values that look like a secret.
const WIDE: [&str; 7] = ["TOKEN", "KEY", "SECRET", "PASS", "CRED", "AUTH", "COOKIE"];
/// Ends of words that name a secret, whatever the value looks like: `HF_TOKEN` and not `MAX_TOKENS`, `API_KEYS` and not
/// `KEYBOARD`.
const NARROW: [&str; 18] = [
    "TOKEN",
    "KEY",
    "KEYS",
    "SECRET",
    "SECRETS",
    "PASS",
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASSPHRASE",
    "CRED",
    "CREDS",
    "CREDENTIAL",
    "CREDENTIALS",
    "AUTH",
    "AUTHORIZATION",
    "COOKIE",
    "COOKIES",
];

/// True if an environment variable with this name may be a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    WIDE.iter().any(|word| name.contains(word))
}

/// True for a variable whose value is not a secret even if a plan names it.
#[must_use]
pub(super) fn is_common(name: &str) -> bool {
    COMMON.contains(&name)
}

/// True if the value of a variable is a secret: because of its name alone, or because both name and value look like a
/// secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let last = upper.rsplit('_').next().unwrap_or_default();
    let named = says_so(&upper) && !PLACES.contains(&last) && !SETTINGS.contains(&value);
    named || (is_secret_name(name) && !is_plain(value))
}

/// True for a variable whose value is the file of a secret: `HF_TOKEN_PATH`.
#[must_use]
pub(super) fn is_secret_place(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.rsplit_once('_').is_some_and(|(what, last)| ["FILE", "PATH"].contains(&last) && says_so(what))
}

/// True if a word of a name in capitals is that of a secret.
fn says_so(upper: &str) -> bool {
    upper.split(['_', '.', '-']).any(|word| NARROW.iter().any(|end| word.ends_with(end)))
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
