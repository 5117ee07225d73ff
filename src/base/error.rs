//! The error type of the crate: what is wrong, where, and why.

use std::fmt;
use std::io::ErrorKind;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong, where, and its cause; printed as one line.
#[derive(Debug)]
pub struct Error {
    what: String,
    place: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    reader_left: bool,
    unwritable: bool,
}

impl Error {
    /// An error with this message, a sentence without a full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, source: None, reader_left: false, unwritable: false }
    }

    /// Adds the place: `stdin:17`, `plan.yaml:3:5`, a path or a URL. A place that is already set stays.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert_with(|| place.into());
        self
    }

    /// The place, and the error without it.
    #[must_use]
    pub fn split_place(mut self) -> (Option<String>, Self) {
        (self.place.take(), self)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The program that reads standard output has ended: stop without a message.
    #[must_use]
    pub fn reader_left() -> Self {
        Self { reader_left: true, ..Self::new("the reader of standard output left") }
    }

    /// True if the disk has no room for a file, or the user may not use more of it.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)) {
                return true;
            }
            next = cause.source();
        }
        false
    }

    /// Rows cannot be written any more: stop, for nothing would be saved.
    #[must_use]
    pub fn unwritable(mut self) -> Self {
        self.unwritable = true;
        self
    }

    /// True if rows cannot be written any more.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        self.unwritable
    }

    /// True if this only means that the reader of standard output has ended.
    #[must_use]
    pub fn is_reader_left(&self) -> bool {
        self.reader_left
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        let mut next = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        let mut printed = self.what.clone();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Libraries often repeat their own cause: print each once.
            if !printed.contains(&text) {
                write!(f, ": {text}")?;
                printed.push_str(&text);
            }
            next = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// Adds context to any error.
pub trait Context<T> {
    /// Wraps the error in one with the message `what`.
    ///
    /// # Errors
    /// The wrapped error, if there was one.
    fn context(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|e| Error::new(what).because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_seen_through_what_was_said_about_it() {
        let full = || std::io::Error::from(ErrorKind::StorageFull);
        assert!(Error::new("cannot write").because(Error::new("a log").because(full())).is_disk_full());
        assert!(!Error::new("cannot write").because(std::io::Error::from(ErrorKind::NotFound)).is_disk_full());
    }

    #[test]
    fn prints_place_what_and_each_cause_once() {
        let inner = Error::new("no such file");
        let outer = Err::<(), _>(inner).context("cannot open the plan").unwrap_err().at("plan.yaml").at("ignored");
        assert_eq!(outer.to_string(), "plan.yaml: cannot open the plan: no such file");
    }
}
