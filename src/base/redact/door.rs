//! The secrets of this process. Code that learns a secret adds it here; code that writes a row, a message or a file redacts
//! it here.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};

use super::forms::parts;
use super::name::{is_common, is_secret, is_secret_place};
use super::{Redactor, is_reference};

/// Where the tools of Hugging Face keep their token, below the home folder.
const HUGGING_FACE_TOKEN: &str = ".cache/huggingface/token";

static DOOR: LazyLock<RwLock<Redactor>> = LazyLock::new(RwLock::default);
/// The number of times that [`DOOR`] changed.
static CHANGES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What this thread knows of [`DOOR`], and after how many changes. Threads that ask for every row do not wait for each other.
    static KNOWN: RefCell<Option<(usize, Rc<Redactor>)>> = const { RefCell::new(None) };
}

/// Redacts these values from now on, whatever they look like.
pub fn hide(values: impl IntoIterator<Item = String>) {
    let new: BTreeSet<String> = values.into_iter().flat_map(|value| parts(&value)).collect();
    let mut door = DOOR.write().unwrap_or_else(PoisonError::into_inner);
    if new.iter().any(|value| !door.knows(value)) {
        *door = door.clone().with_secrets(new.into_iter());
        CHANGES.fetch_add(1, Ordering::Release);
    }
}

/// Redacts the values of environment variables with secret names.
pub fn hide_environment() {
    let values = environment().into_iter().filter(|(name, value)| is_secret(name, value) && !is_reference(value));
    hide(values.map(|(_, value)| value));
}

/// The files with a secret that variables of the environment name (`HF_TOKEN_PATH`), and the one of Hugging Face's tools.
#[must_use]
pub fn files_of_environment() -> Vec<PathBuf> {
    let named =
        environment().into_iter().filter(|(name, _)| is_secret_place(name)).map(|(_, path)| PathBuf::from(path));
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(HUGGING_FACE_TOKEN));
    named.chain(home).collect()
}

/// All variables that are text.
fn environment() -> Vec<(String, String)> {
    // Not `vars`, which panics on a value that is not UTF-8.
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// Redacts the values of the variables that `text`, a plan or a row, names as `${NAME}`.
pub fn hide_named(text: &str) {
    if !text.contains("${") {
        return;
    }
    let names = text.split("${").skip(1).filter_map(|part| Some(part.split_once('}')?.0));
    let plain = |name: &&str| !is_common(name) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    hide(names.filter(plain).filter_map(|name| std::env::var(name).ok()));
}

/// A redactor for all secrets known so far.
#[must_use]
pub fn redactor() -> Rc<Redactor> {
    KNOWN.with_borrow_mut(|known| {
        let changes = CHANGES.load(Ordering::Acquire);
        match known {
            Some((after, redactor)) if *after == changes => Rc::clone(redactor),
            _ => {
                let redactor = Rc::new(DOOR.read().unwrap_or_else(PoisonError::into_inner).clone());
                *known = Some((changes, Rc::clone(&redactor)));
                redactor
            }
        }
    })
}

/// Our own text without known secrets.
#[must_use]
pub fn outgoing(text: &str) -> Cow<'_, str> {
    let redactor = redactor();
    if redactor.finds(text) { Cow::Owned(redactor.without_values(text)) } else { Cow::Borrowed(text) }
}

/// Another program's text without known secrets and without anything that looks like a secret.
#[must_use]
pub fn foreign(text: &str) -> String {
    redactor().redact(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_another_thread_learns_is_known_here() {
        let secret = "a-secret-of-another-thread-4711";
        assert!(!redactor().finds(secret));
        std::thread::spawn(|| hide(["a-secret-of-another-thread-4711".to_string()])).join().unwrap();
        assert!(redactor().finds(secret));
    }
}
