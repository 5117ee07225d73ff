//! A plan file: checked, and expanded if it is valid.

use std::sync::LazyLock;

use serving_bench::base::yaml;
use serving_bench::engines::framework::Frameworks;
use serving_bench::plan::{CheckContext, expand, load};

static FRAMEWORKS: LazyLock<Frameworks> = LazyLock::new(|| Frameworks::load(&[], &[]).unwrap());

/// Panics where the code is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(document) = yaml::load(text, "plan.yaml") else { return };
    let (found, plan) = load(&document.value, &CheckContext::only(&FRAMEWORKS));
    for finding in &found {
        assert!(!finding.message.is_empty());
    }
    if let Some(plan) = plan {
        let _ = expand::expand(&plan, &FRAMEWORKS);
    }
}
