//! The door of a program: which values are secrets in all that it writes. Whoever learns of one says so here; whoever writes
//! a row, a message or a file asks here.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::forms::parts;
use super::name::{is_common, is_secret};
use super::{Redactor, is_reference};

static DOOR: LazyLock<RwLock<Arc<Redactor>>> = LazyLock::new(RwLock::default);

/// These values are secrets from now on, whatever they look like.
pub fn hide(values: impl IntoIterator<Item = String>) {
    let new: BTreeSet<String> = values.into_iter().flat_map(|value| parts(&value)).collect();
    let mut door = DOOR.write().unwrap_or_else(PoisonError::into_inner);
    if new.iter().any(|value| !door.knows(value)) {
        *door = Arc::new(Redactor::clone(&door).with_secrets(new.into_iter()));
    }
}

/// The environment's secrets: the values of variables whose names say so.
pub fn hide_environment() {
    // Not `vars`, which panics at a value that is no text.
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    hide(all.filter(|(name, value)| is_secret(name, value) && !is_reference(value)).map(|(_, value)| value));
}

/// The values of the variables that `text`, a plan or a row, names as `${NAME}`.
pub fn hide_named(text: &str) {
    if !text.contains("${") {
        return;
    }
    let names = text.split("${").skip(1).filter_map(|part| Some(part.split_once('}')?.0));
    let plain = |name: &&str| !is_common(name) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    hide(names.filter(plain).filter_map(|name| std::env::var(name).ok()));
}

/// What takes out all secrets that are known by now.
#[must_use]
pub fn redactor() -> Arc<Redactor> {
    DOOR.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A text that is about to be written, without the values that are known to be secrets.
#[must_use]
pub fn outgoing(text: &str) -> Cow<'_, str> {
    let redactor = redactor();
    if redactor.finds(text) { Cow::Owned(redactor.without_values(text)) } else { Cow::Borrowed(text) }
}

/// A text that somebody else wrote: without what has the shape of a secret either.
#[must_use]
pub fn foreign(text: &str) -> String {
    redactor().redact(text)
}
