//! The result of another client: read, and written as result rows.

use serving_bench::normalize::import::ImportOverrides;
use serving_bench::programs::import;
use serving_bench::rows::jsonl::{RowWriter, quote_bare};
use serving_bench::rows::row::parse_document;

/// Panics where the code is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(content) = parse_document(&quote_bare(text)) else { return };
    let overrides = ImportOverrides { name: "x".into(), ..ImportOverrides::default() };
    for result in import::of(&content, &overrides).into_iter().flatten() {
        let mut out = RowWriter::new(Vec::new());
        out.write_typed("result", &result.row).unwrap();
        let line = String::from_utf8(out.into_inner()).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }
}
