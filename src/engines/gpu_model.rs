//! What is known about a GPU from its name: memory and compute capability. The table is data: `configs/rules/gpus.yaml`.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::base::yaml;

/// GPUs by the words of their names; the first match is used.
static GPUS: LazyLock<Vec<GpuModel>> = LazyLock::new(|| {
    yaml::typed(include_str!("../../configs/rules/gpus.yaml"), "configs/rules/gpus.yaml")
        .expect("compiled in, and tested")
});

/// One GPU of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuModel {
    /// Words that occur in its name.
    name: String,
    /// Memory, GB.
    pub gb: f64,
    /// CUDA compute capability without its point: 90 is 9.0; `None` for a GPU without CUDA.
    #[serde(default)]
    sm: Option<u32>,
}

impl GpuModel {
    /// The entry for a GPU's name; `None` if the table does not have it.
    #[must_use]
    pub fn named(gpu: &str) -> Option<&'static Self> {
        let words = words(gpu);
        GPUS.iter().find(|gpu| gpu.name.split(' ').all(|part| words.iter().any(|word| word == part)))
    }

    /// The names in the table.
    pub fn names() -> impl Iterator<Item = &'static str> {
        GPUS.iter().map(|gpu| gpu.name.as_str())
    }

    /// The first number of the compute capability: 9 for Hopper.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        self.sm.map(|sm| sm / 10)
    }
}

/// The words of a GPU's name, in upper case.
pub fn words(gpu: &str) -> Vec<String> {
    gpu.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_uppercase).collect()
}

/// Memory of one GPU in GB: from its own name, otherwise from the table.
#[must_use]
pub fn memory_gb(gpu: &str) -> Option<f64> {
    let words = words(gpu);
    let in_name = words.iter().zip(words.iter().skip(1).map(String::as_str).chain([""])).find_map(|(word, next)| {
        let number = word.strip_suffix("GB").unwrap_or(if next == "GB" { word } else { "" });
        number.parse::<f64>().ok()
    });
    in_name.or_else(|| GpuModel::named(gpu).map(|gpu| gpu.gb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_by_a_gpus_name() {
        assert_eq!(memory_gb("NVIDIA H100 80GB HBM3"), Some(80.0));
        assert_eq!(memory_gb("NVIDIA A100-SXM4-40GB"), Some(40.0));
        assert_eq!(memory_gb("H200"), Some(141.0));
        assert_eq!(memory_gb("NVIDIA GeForce RTX 5090"), Some(32.0));
        assert_eq!(memory_gb("Tesla of tomorrow"), None);
    }

    #[test]
    fn capability_by_a_gpus_name() {
        let major = |gpu: &str| GpuModel::named(gpu).map(GpuModel::major);
        assert_eq!(major("NVIDIA H100 80GB HBM3"), Some(Some(9)));
        assert_eq!(major("NVIDIA GB200"), Some(Some(10)));
        assert_eq!(major("NVIDIA L40S"), Some(Some(8)));
        assert_eq!(major("AMD Instinct MI300X"), Some(None));
        assert_eq!(major("Tesla of tomorrow"), None);
    }
}
