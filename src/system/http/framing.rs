//! Where the body of an HTTP/1.1 response ends, and what of its bytes is body (RFC 9112, 6 and 7).

/// Maximum size of the extensions of an HTTP chunk, and of all trailers, bytes.
const MAX_EXTRA: usize = 16 << 10;

/// How the rest of a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// HTTP chunks.
    Chunked(ChunkPlace),
    /// The body ends with the connection.
    Close,
    /// It has ended.
    Over,
}

/// A place between or within HTTP chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPlace {
    /// In the size of a chunk: its value, and its digits so far.
    Size(u64, u8),
    /// In the extension behind the size; its bytes so far.
    Extension(u64, usize),
    /// Before the line feed behind the size.
    SizeEnd(u64),
    /// So many bytes of data are left.
    Data(u64),
    /// Before the carriage return behind the data.
    DataReturn,
    /// Before the line feed behind the data.
    DataEnd,
    /// At the beginning of a trailer, or of the empty line that ends them; the bytes of all trailers so far.
    Trailer(usize),
    /// Within a trailer.
    TrailerLine(usize),
    /// Before the line feed of the empty line.
    End,
}

impl Framing {
    /// The beginning of a body in HTTP chunks.
    pub const CHUNKED: Self = Self::Chunked(ChunkPlace::Size(0, 0));

    /// Moves the body's part of `bytes` to `into`; the number of bytes that are used up: all, unless the body ends before.
    ///
    /// # Errors
    /// What is wrong with the framing.
    pub fn take(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Result<usize, &'static str> {
        match self {
            Self::Over => Ok(0),
            Self::Close => {
                into.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Self::Length(left) => {
                let ours = part(bytes, *left);
                into.extend_from_slice(ours);
                *left -= ours.len() as u64;
                let used = ours.len();
                if *left == 0 {
                    *self = Self::Over;
                }
                Ok(used)
            }
            Self::Chunked(place) => {
                let mut used = 0;
                while used < bytes.len() {
                    match place.step(&bytes[used..], into)? {
                        Some(n) => used += n,
                        None => {
                            *self = Self::Over;
                            return Ok(used + 1);
                        }
                    }
                }
                Ok(used)
            }
        }
    }

    /// What is missing if the connection ends here; `None` if nothing is.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Over | Self::Close | Self::Length(0) => None,
            Self::Length(_) => Some("end of file before message length reached"),
            Self::Chunked(_) => Some("unexpected EOF during chunk size line"),
        }
    }
}

fn part(bytes: &[u8], most: u64) -> &[u8] {
    &bytes[..usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len())]
}

impl ChunkPlace {
    /// Goes on with `bytes`, which are not empty; the number of them that are used up, `None` at the last byte of the body.
    fn step(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Result<Option<usize>, &'static str> {
        let first = bytes[0];
        *self = match *self {
            Self::Data(left) => {
                let ours = part(bytes, left);
                into.extend_from_slice(ours);
                let left = left - ours.len() as u64;
                *self = if left == 0 { Self::DataReturn } else { Self::Data(left) };
                return Ok(Some(ours.len()));
            }
            Self::Size(size, digits) => match (char::from(first).to_digit(16), first) {
                (Some(digit), _) if digits < 16 => Self::Size(size << 4 | u64::from(digit), digits + 1),
                (Some(_), _) => return Err("the size of an HTTP chunk is too large"),
                (None, b'\r') if digits > 0 => Self::SizeEnd(size),
                (None, b';' | b' ' | b'\t') if digits > 0 => Self::Extension(size, 0),
                _ => return Err("Invalid chunk size line"),
            },
            Self::Extension(size, _) if first == b'\r' => Self::SizeEnd(size),
            Self::Extension(_, n) if n >= MAX_EXTRA => return Err("the extension of an HTTP chunk is too large"),
            Self::Extension(_, _) if first == b'\n' => return Err("invalid chunk extension contains newline"),
            Self::Extension(size, n) => Self::Extension(size, n + 1),
            Self::SizeEnd(0) if first == b'\n' => Self::Trailer(0),
            Self::SizeEnd(size) if first == b'\n' => Self::Data(size),
            Self::SizeEnd(_) => return Err("Invalid chunk size LF"),
            Self::DataReturn if first == b'\r' => Self::DataEnd,
            Self::DataReturn => return Err("Invalid chunk body CR"),
            Self::DataEnd if first == b'\n' => Self::Size(0, 0),
            Self::DataEnd => return Err("Invalid chunk body LF"),
            Self::Trailer(_) if first == b'\r' => Self::End,
            Self::Trailer(n) | Self::TrailerLine(n) if n >= MAX_EXTRA => return Err("the trailers are too large"),
            Self::TrailerLine(n) if first == b'\n' => Self::Trailer(n + 1),
            Self::Trailer(n) | Self::TrailerLine(n) => Self::TrailerLine(n + 1),
            Self::End if first == b'\n' => return Ok(None),
            Self::End => return Err("Invalid chunk end LF"),
        };
        Ok(Some(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The body, how much was used up, and the framing after it.
    fn taken(mut framing: Framing, parts: &[&[u8]]) -> Result<(String, usize, Framing), &'static str> {
        let (mut body, mut used) = (Vec::new(), 0);
        for part in parts {
            used += framing.take(part, &mut body)?;
        }
        Ok((String::from_utf8_lossy(&body).into_owned(), used, framing))
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for (framing, text, body, left) in [
            (Framing::Length(3), "abcd", "abc", 1),
            (Framing::Close, "abcd", "abcd", 0),
            (Framing::CHUNKED, "3\r\nabc\r\n0\r\n\r\nHTTP", "abc", 4),
            (Framing::CHUNKED, "A;name=value\r\n0123456789\r\n00 \r\n\r\n", "0123456789", 0),
            (Framing::CHUNKED, "1\r\na\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n", "a", 0),
        ] {
            let (got, used, after) = taken(framing, &[text.as_bytes()]).unwrap();
            assert_eq!((got.as_str(), text.len() - used), (body, left), "{text:?}");
            assert_eq!(after.missing(), None, "{text:?}");
            assert_eq!(after == Framing::Over, framing != Framing::Close, "{text:?}");
        }
    }

    #[test]
    fn what_is_cut_off_is_missing_and_what_is_malformed_is_an_error() {
        for text in ["", "3", "3\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n", "0\r\n\r"] {
            let (_, _, after) = taken(Framing::CHUNKED, &[text.as_bytes()]).unwrap();
            assert!(after.missing().is_some(), "{text:?}");
        }
        assert!(taken(Framing::Length(5), &[b"ab"]).unwrap().2.missing().is_some());
        let long = format!("1;{}", "x".repeat(MAX_EXTRA + 2));
        for text in ["x", "\r\n", "3\nabc", "3\r\nabcd", "3\r\nabc\rx", "11111111111111111", long.as_str()] {
            assert!(taken(Framing::CHUNKED, &[text.as_bytes()]).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn cut_anywhere_it_is_the_same(bodies in proptest::collection::vec("[a-z\r\n]{1,20}", 0..6), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let mut text: String = bodies.iter().map(|body| format!("{:x}\r\n{body}\r\n", body.len())).collect();
            text.push_str("0\r\n\r\n");
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let parts: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let whole = Ok((bodies.concat(), bytes.len(), Framing::Over));
            prop_assert_eq!(taken(Framing::CHUNKED, &parts), whole.clone());
            prop_assert_eq!(taken(Framing::CHUNKED, &bytes.chunks(1).collect::<Vec<_>>()), whole);
        }
    }
}
