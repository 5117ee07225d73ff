//! Files that hold a key.

use std::path::{Path, PathBuf};

use crate::base::redact;

/// Longer files hold something else, bytes.
const MAX: u64 = 64 << 10;

/// Redacts what is in these files from now on.
pub fn hide(files: &[PathBuf]) {
    redact::hide(files.iter().filter_map(|path| text(path)));
}

/// The text of a file with a key; `None` if there is none, or if it is no regular file.
fn text(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    (found.is_file() && found.len() <= MAX).then(|| std::fs::read_to_string(path).ok()).flatten()
}
