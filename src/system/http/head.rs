//! The head of an HTTP/1.1 response.

use super::framing::Framing;

/// Maximum size of a head, bytes.
const MAX_HEAD: usize = 256 << 10;
/// Maximum number of headers.
const MAX_HEADERS: usize = 100;

/// What the head of a response says.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// How the body is framed.
    pub framing: Framing,
    /// The connection takes a further request after the body.
    pub keeps: bool,
    /// `content-encoding`, unless it is `identity`.
    pub encoding: Option<String>,
    /// Its size, bytes.
    pub size: usize,
}

impl Head {
    /// The head at the beginning of `bytes`; `None` while it is incomplete. Interim responses (1xx) are heads, too.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let size = match response.parse(bytes).map_err(|e| wrong(e).to_string())? {
            httparse::Status::Complete(size) => size,
            httparse::Status::Partial if bytes.len() > MAX_HEAD => return Err("message head is too large".into()),
            httparse::Status::Partial => return Ok(None),
        };
        let status = response.code.unwrap_or_default();
        let mut keeps = response.version == Some(1);
        let (mut length, mut chunked, mut coded, mut encoding) = (None, false, false, None);
        for header in response.headers.iter() {
            let value = || std::str::from_utf8(header.value).unwrap_or_default().trim();
            let words = || value().split(',').map(str::trim);
            if header.name.eq_ignore_ascii_case("content-length") {
                for word in words() {
                    let n = word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse::<u64>().ok()).flatten();
                    let n = n.ok_or("invalid content-length parsed")?;
                    if length.replace(n).is_some_and(|before| before != n) {
                        return Err("invalid content-length parsed".into());
                    }
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                coded = true;
                chunked = words().next_back().is_some_and(|word| word.eq_ignore_ascii_case("chunked"));
            } else if header.name.eq_ignore_ascii_case("connection") {
                for word in words() {
                    keeps = match () {
                        () if word.eq_ignore_ascii_case("close") => false,
                        () if word.eq_ignore_ascii_case("keep-alive") => true,
                        () => keeps,
                    };
                }
            } else if header.name.eq_ignore_ascii_case("content-encoding") {
                let value = std::str::from_utf8(header.value).unwrap_or("unknown");
                encoding = (value != "identity").then(|| value.to_string());
            }
        }
        let framing = match (status, length) {
            (100..=199 | 204 | 304, _) => Framing::Over,
            _ if chunked => Framing::CHUNKED,
            _ if coded => Framing::Close,
            (_, Some(0)) => Framing::Over,
            (_, Some(length)) => Framing::Length(length),
            (_, None) => Framing::Close,
        };
        Ok(Some(Self { status, framing, keeps: keeps && framing != Framing::Close, encoding, size }))
    }
}

/// In the words that hyper uses.
fn wrong(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::Version => "invalid HTTP version parsed",
        httparse::Error::Status => "invalid HTTP status-code parsed",
        httparse::Error::TooManyHeaders => "message head is too large",
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Token => "invalid HTTP header parsed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_its_body_ends() {
        for (text, status, framing, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n", 200, Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 200, Framing::CHUNKED, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 200, Framing::CHUNKED, true),
            ("HTTP/1.1 500 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 500, Framing::Over, false),
            ("HTTP/1.0 200 OK\r\n\r\n", 200, Framing::Close, false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", 200, Framing::Length(1), true),
            ("HTTP/1.1 200 OK\r\n\r\n", 200, Framing::Close, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, Framing::Over, true),
            ("HTTP/1.1 100 Continue\r\n\r\n", 100, Framing::Over, true),
        ] {
            let head = Head::read(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.status, head.framing, head.keeps), (status, framing, keeps), "{text}");
            assert_eq!((head.size, head.encoding), (text.len(), None), "{text}");
            assert_eq!(Head::read(&text.as_bytes()[..text.len() - 1]), Ok(None), "{text}");
        }
        let gzip = Head::read(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n").unwrap().unwrap();
        assert_eq!(gzip.encoding.as_deref(), Some("gzip"));
    }

    #[test]
    fn what_is_no_head_says_why() {
        for (text, why) in [
            ("GARBAGE\r\n\r\n", "invalid HTTP"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "content-length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "content-length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content-length"),
            ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "header"),
        ] {
            let said = Head::read(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        assert!(Head::read(endless.as_bytes()).unwrap_err().contains("too large"));
    }
}
