//! Counts the tokens of a text with a model's own tokenizer.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::base::error::{Error, Result};

/// Counts the tokens of a text.
pub type Counter = dyn Fn(&str) -> u32;

/// Reads a `tokenizer.json`.
///
/// # Errors
/// When it cannot be read.
pub fn load(path: &Path) -> Result<Box<Counter>> {
    let tokenizer = Tokenizer::from_file(path)
        .map_err(|e| Error::new("cannot read the tokenizer").because(e).at(path.display().to_string()))?;
    // If it cannot encode a text, the tokens are estimated.
    let count = move |text: &str| match tokenizer.encode(text, false) {
        Ok(encoded) => u32::try_from(encoded.len()).unwrap_or(u32::MAX),
        Err(_) => crate::load::dataset::estimate(text),
    };
    Ok(Box::new(count))
}
