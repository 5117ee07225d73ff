//! Ids from content: SHA-256, whole or its first eight hexadecimal digits.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 of `bytes` as 64 hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    sha256_of(&[bytes])
}

/// SHA-256 of `bytes` in base64, as a Content-Security-Policy has it.
#[must_use]
pub fn sha256_base64(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

/// The digest of several pieces, concatenated.
#[must_use]
pub fn sha256_of(pieces: &[&[u8]]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    let mut hex = String::with_capacity(64);
    for byte in hash.finalize() {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

/// The first eight digits of the SHA-256 of `value` in canonical form: keys sorted, no spaces.
#[must_use]
pub fn short(value: &Value) -> String {
    short_of(&canonical(value))
}

/// The same of a value that is in canonical form already.
#[must_use]
pub fn short_of(canonical: &str) -> String {
    let mut text = sha256(canonical.as_bytes());
    text.truncate(8);
    text
}

/// JSON with sorted keys and no spaces: equal values give equal text, whatever the order of their keys.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = Vec::new();
    write_canonical(value, &mut text);
    in_utf8(text)
}

/// A map with these members in canonical form.
#[must_use]
pub fn canonical_members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let mut text = Vec::new();
    write_members(members, &mut text);
    in_utf8(text)
}

/// A value whose keys are already in order (a string, a list of strings, a `BTreeMap` of them) in canonical form.
#[must_use]
pub fn canonical_of(value: &(impl Serialize + ?Sized)) -> String {
    let mut text = Vec::new();
    write(value, &mut text);
    in_utf8(text)
}

/// A map in canonical form, made of members that are added in the order of their keys.
#[derive(Debug, Default)]
pub struct CanonicalMembers(Vec<u8>);

impl CanonicalMembers {
    /// Adds a value whose keys are already in order.
    pub fn add(&mut self, key: &str, value: &(impl Serialize + ?Sized)) {
        self.key(key);
        write(value, &mut self.0);
    }

    /// Adds a value in canonical form.
    pub fn add_canonical(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        write(key, &mut self.0);
        self.0.push(b':');
    }

    /// The digest of the map.
    #[must_use]
    pub fn sha256(mut self) -> String {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        sha256(&self.0)
    }
}

fn in_utf8(text: Vec<u8>) -> String {
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn write(value: &(impl Serialize + ?Sized), text: &mut Vec<u8>) {
    serde_json::to_writer(text, value).expect("a value with string keys, written into memory");
}

fn write_canonical(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(map) => write_members(map.iter(), text),
        Value::Array(items) => {
            text.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(b',');
                }
                write_canonical(item, text);
            }
            text.push(b']');
        }
        other => write(other, text),
    }
}

fn write_members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>, text: &mut Vec<u8>) {
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    text.push(b'{');
    for (i, (key, value)) in members.into_iter().enumerate() {
        if i > 0 {
            text.push(b',');
        }
        write(key, text);
        text.push(b':');
        write_canonical(value, text);
    }
    text.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_of_keys_does_not_matter() {
        assert_eq!(short(&json!({"a": 1, "b": [{"x": 1, "y": 2}]})), short(&json!({"b": [{"y": 2, "x": 1}], "a": 1})));
        assert_ne!(short(&json!({"a": 1})), short(&json!({"a": "1"})));
    }

    #[test]
    fn canonical_is_sorted_compact_json() {
        let value = json!({"b": [1, -2.5, null, true], "a": {"z": "\u{1}\"\\é", "y": []}});
        assert_eq!(canonical(&value), r#"{"a":{"y":[],"z":"\u0001\"\\é"},"b":[1,-2.5,null,true]}"#);
        for plain in [json!("x\ny"), json!(["b", "a"]), json!({"a": null, "b": "c"}), json!(null)] {
            assert_eq!(canonical_of(&plain), canonical(&plain));
        }
    }

    #[test]
    fn members_in_order_are_a_map() {
        let mut members = CanonicalMembers::default();
        members.add("a", &["x"]);
        members.add_canonical("b", &canonical(&json!({"d": 1, "c": null})));
        assert_eq!(members.sha256(), sha256(br#"{"a":["x"],"b":{"c":null,"d":1}}"#));
        assert_eq!(CanonicalMembers::default().sha256(), sha256(b"{}"));
    }

    #[test]
    fn pieces_are_one_text() {
        assert_eq!(sha256_of(&[b"ab", b"", b"c"]), sha256(b"abc"));
        assert_eq!(short_of(r#"{"a":1}"#), short(&json!({"a": 1})));
    }

    #[test]
    fn sha256_of_nothing() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
