//! Numbers of GPUs, and numbers that a file has as text.

use serde::Deserialize;
use serde_json::Value;

/// A finite number, which may be written as text.
pub fn amount(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|n: &f64| n.is_finite())
}

/// A number of GPUs: the product of the values at some places (1 if missing), or their sum.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuCount {
    /// A list: the products of its items are added up. An item without the first factor has no GPU.
    pub list: Option<String>,
    /// Factors, such as tensor parallelism.
    pub product: Vec<String>,
    /// Summands, such as prefill and decode.
    pub sum: Vec<String>,
}

impl GpuCount {
    /// The number in a result; `None` if all places are missing.
    #[must_use]
    pub fn of(&self, result: &Value) -> Option<f64> {
        if let Some(list) = &self.list {
            let items = result.pointer(list)?.as_array()?.iter();
            let has = |item: &&Value| self.product.first().is_some_and(|first| item.pointer(first).is_some());
            let one = |item: &Value| Self { list: None, product: self.product.clone(), sum: Vec::new() }.of(item);
            let counts: Vec<f64> = items.filter(has).filter_map(one).collect();
            return (!counts.is_empty()).then(|| counts.iter().sum());
        }
        let number = |place: &String| result.pointer(place).and_then(amount);
        let factors: Vec<f64> = self.product.iter().filter_map(number).filter(|n| *n > 0.0).collect();
        let parts: Vec<f64> = self.sum.iter().filter_map(number).collect();
        match (factors.is_empty(), parts.is_empty()) {
            (false, _) => Some(factors.iter().product()),
            (true, false) => Some(parts.iter().sum()),
            (true, true) => None,
        }
    }
}
