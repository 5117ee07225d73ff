//! The body of a failed answer as one line of text, whatever wrote it: the engine, a gateway, or a proxy with a page of its own.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::base::redact;

/// Maximum size of a decompressed body, bytes.
const MAX_BODY: u64 = 64 << 10;
/// Maximum length of the text, characters.
const MAX_TEXT: usize = 300;

/// The text of a body, compressed in this way, redacted. Of a page it is the words, of a body that cannot be read its size.
#[must_use]
pub fn text(body: &[u8], encoding: Option<&str>) -> String {
    let unpacked = match unpack(body, encoding) {
        Ok(unpacked) => unpacked,
        Err(how) => return format!("({} bytes, compressed: {how})", body.len()),
    };
    let text = String::from_utf8_lossy(&unpacked);
    let text = if is_page(&text) { words(&text) } else { text.into_owned() };
    // Redact before cutting: half a secret would not be recognized.
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = redact::outgoing(&text).chars().map(clean).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "(no body)".into() } else { line.chars().take(MAX_TEXT).collect() }
}

/// The body as it was before its compression; the name of one that is unknown.
fn unpack<'a>(body: &[u8], encoding: Option<&'a str>) -> Result<Vec<u8>, &'a str> {
    let mut unpacked = Vec::new();
    let read = match encoding {
        _ if body.starts_with(&[0x1f, 0x8b]) => MultiGzDecoder::new(body).take(MAX_BODY).read_to_end(&mut unpacked),
        Some(how) if how.eq_ignore_ascii_case("deflate") => {
            ZlibDecoder::new(body).take(MAX_BODY).read_to_end(&mut unpacked)
        }
        Some(how) if !how.eq_ignore_ascii_case("gzip") && std::str::from_utf8(body).is_err() => return Err(how),
        _ => return Ok(body.to_vec()),
    };
    // The beginning of a body that is cut off may be enough.
    match (read, encoding) {
        (Err(_), how) if unpacked.is_empty() => Err(how.unwrap_or("gzip")),
        _ => Ok(unpacked),
    }
}

fn is_page(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(9).collect::<String>().to_ascii_lowercase();
    ["<!doctype", "<html", "<head", "<body", "<title"].iter().any(|tag| start.starts_with(tag))
}

/// The words of a page: what is between its tags, without styles and scripts.
fn words(page: &str) -> String {
    let mut words = String::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        words.push_str(&rest[..at]);
        words.push(' ');
        rest = &rest[at..];
        let name: String =
            rest[1..].chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
        if matches!(name.as_str(), "style" | "script") {
            let end = format!("</{name}");
            rest = rest.to_ascii_lowercase().find(&end).map_or("", |at| &rest[at..]);
        }
        rest = rest.find('>').map_or("", |at| &rest[at + 1..]);
    }
    words + rest
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn any_body_is_one_line_of_text() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(br#"{"error": {"message": "engine dead"}}"#).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(b"engine dead").unwrap();
        let zlib = zlib.finish().unwrap();
        for (body, encoding, wanted) in [
            (&b"Internal Server Error\n"[..], None, "Internal Server Error"),
            (b"{\n  \"error\": \"no\"\n}", None, "{ \"error\": \"no\" }"),
            (b"", None, "(no body)"),
            (b" \n", Some("gzip"), "(no body)"),
            (&gzip, Some("gzip"), "{\"error\": {\"message\": \"engine dead\"}}"),
            (&gzip, None, "{\"error\": {\"message\": \"engine dead\"}}"),
            (&zlib, Some("deflate"), "engine dead"),
            (b"plain", Some("br"), "plain"),
            (b"\xff\xfe\x00", Some("br"), "(3 bytes, compressed: br)"),
            (
                b"<html>\r\n<head><title>502 Bad Gateway</title><style>a { b: <c> }</style></head>\r\n<body><h1>502</h1>nginx</body></html>",
                None,
                "502 Bad Gateway 502 nginx",
            ),
            (b"<!DOCTYPE html><p>Sign in", None, "Sign in"),
            (b"<think> is no page", None, "<think> is no page"),
        ] {
            assert_eq!(text(body, encoding), wanted);
        }
        assert_eq!(text(&[b'x'; 5000], None).len(), MAX_TEXT);
    }
}
