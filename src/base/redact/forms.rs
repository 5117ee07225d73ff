//! The encodings of a value: in JSON, URLs, shells, HTML and Basic authentication.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use regex::{Regex, RegexBuilder};

/// Minimum length of a value to search for, bytes: shorter ones occur in too many words.
pub(super) const SHORTEST: usize = 6;
/// Maximum memory of a compiled pattern, bytes: an environment may have hundreds of keys.
const MEMORY: usize = 256 << 20;

/// Finds known values in all their encodings.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    /// A quick test.
    hint: Regex,
    /// The patterns to replace.
    whole: Regex,
}

impl Finder {
    /// A finder for these values in all their encodings; `None` if there are none.
    pub(super) fn new(values: &[String]) -> Option<Self> {
        let mut plain: Vec<String> = values.iter().flat_map(|value| forms(value)).collect();
        let mut cores: Vec<String> = values.iter().flat_map(|value| cores(value)).collect();
        // The longest first: one value may hold another.
        for list in [&mut plain, &mut cores] {
            list.sort_by_key(|value| (usize::MAX - value.len(), value.clone()));
            list.dedup();
        }
        let escaped = |list: &[String]| list.iter().map(|value| regex::escape(value)).collect::<Vec<_>>();
        let (plain, cores) = (escaped(&plain), escaped(&cores));
        if plain.is_empty() {
            return None;
        }
        let run = "[A-Za-z0-9+/_-]*";
        let coded = cores.iter().map(|core| format!("{run}{core}{run}={{0,2}}"));
        let build = |parts: Vec<String>| {
            let built = RegexBuilder::new(&parts.join("|")).size_limit(MEMORY).build();
            // Stopping is better than writing a secret.
            built.expect("the values of an environment fit into a pattern")
        };
        let hint = build(plain.iter().chain(&cores).cloned().collect());
        let whole = build(plain.iter().cloned().chain(coded).collect());
        Some(Self { hint, whole })
    }

    /// True if `text` contains a value in any encoding.
    pub(super) fn finds(&self, text: &str) -> bool {
        self.hint.is_match(text)
    }

    /// Where the value begins that crosses the byte `at` of `text`.
    pub(super) fn start_across(&self, text: &str, at: usize) -> Option<usize> {
        let found = self.whole.find_iter(text).take_while(|found| found.start() < at);
        found.last().filter(|found| found.end() > at).map(|found| found.start())
    }

    /// `text` with `[REDACTED:value]` instead of each value.
    pub(super) fn replace(&self, text: &str) -> String {
        self.whole.replace_all(text, "[REDACTED:value]").into_owned()
    }
}

/// The secrets in one value: itself, the part after `Bearer `, its lines, the password of `user:password` in Basic
/// authentication.
pub(super) fn parts(value: &str) -> Vec<String> {
    let value = value.trim();
    let mut all = vec![value.to_string()];
    let bare = value.split_once(' ').map_or(value, |(scheme, rest)| {
        let scheme = scheme.to_ascii_lowercase();
        if ["bearer", "basic", "token", "apikey"].contains(&scheme.as_str()) { rest.trim() } else { value }
    });
    all.push(bare.to_string());
    let decoded = STANDARD.decode(bare).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    for pair in decoded.iter().map(String::as_str).chain([bare]) {
        if let Some((user, password)) = pair.split_once(':').filter(|_| pair.chars().all(|c| c.is_ascii_graphic())) {
            let password = if user.is_empty() || password.starts_with("//") { "" } else { password };
            all.extend([pair.to_string(), password.to_string()]);
        }
    }
    all.extend(value.lines().filter(|_| value.contains('\n')).map(|line| line.trim().to_string()));
    all.retain(|part| part.len() >= SHORTEST);
    all.sort();
    all.dedup();
    all
}

/// The encodings of a value.
fn forms(value: &str) -> Vec<String> {
    let json = json(value);
    vec![
        self::json(&json),
        json.replace('/', r"\/"),
        ascii(&json, false),
        ascii(&json, true),
        json,
        percent(value, "-._~", false),
        percent(value, "-._~", true),
        percent(value, "-._~/", false),
        percent(value, "-._*", false).replace("%20", "+"),
        percent(value, "-._*", true).replace("%20", "+"),
        value.replace('\'', r"'\''"),
        html(value, "&#39;", "&quot;"),
        html(value, "&#x27;", "&#34;"),
        value.to_string(),
    ]
}

/// A value in the text of an HTML page, with these for quotes.
fn html(value: &str, quote: &str, double: &str) -> String {
    let plain = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    plain.replace('\'', quote).replace('"', double)
}

/// A value inside a JSON string.
fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_string()
}

/// With `\u` escapes for everything that is not ASCII, as Python writes JSON.
fn ascii(json: &str, upper: bool) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = if upper { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
        }
    }
    out
}

/// Percent-encoded for a URL: everything except letters, digits and `safe` as `%XX`.
fn percent(value: &str, safe: &str, lower: bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || safe.bytes().any(|safe| safe == byte) {
            out.push(char::from(byte));
        } else {
            let _ = if lower { write!(out, "%{byte:02x}") } else { write!(out, "%{byte:02X}") };
        }
    }
    out
}

/// The base64 characters that depend on the value alone, for each position at which it may begin in a text (`user:VALUE`).
fn cores(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    for before in 0..3 {
        let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(value.bytes()).collect();
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        all.extend([STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)].map(|text| text[from..to].to_string()));
    }
    all
}
