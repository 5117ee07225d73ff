//! GPUs as listed by `nvidia-smi`: which to use, which are busy, and their samples while a server was leased.

use crate::base::error::{Error, Result};
use crate::rows::kinds::{GpuDevice, GpuSummary};

/// The fields of `--query-gpu`, in the order in which [`parse`] reads them. For GPUs of other vendors, a command of
/// the user prints the same fields.
pub const QUERY: &str = "index,uuid,name,memory.used,memory.total,utilization.gpu,power.draw,clocks.sm,temperature.gpu,\
                         clocks_event_reasons.active,driver_version";

/// Maximum memory in use on a GPU that counts as free, MiB: the driver needs some itself.
pub const FREE_MIB: f64 = 512.0;
/// Throttle reasons that invalidate a measurement (NVML): hardware slowdown, software and hardware thermal, power brake.
const SPOILING: u64 = 0x8 | 0x20 | 0x40 | 0x80;

/// One GPU at one time; `None` for values the tool does not report.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// Index, as in `CUDA_VISIBLE_DEVICES`.
    pub index: u32,
    /// Unique id.
    pub uuid: String,
    /// `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Memory in use, MiB.
    pub used_mib: f64,
    /// Total memory, MiB.
    pub total_mib: Option<f64>,
    /// Utilisation, percent.
    pub utilization: Option<f64>,
    /// Power, W.
    pub power_w: Option<f64>,
    /// SM clock, MHz.
    pub clock_mhz: Option<f64>,
    /// Temperature, degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Throttled because of heat or power supply.
    pub throttled: Option<bool>,
    /// Driver version.
    pub driver: Option<String>,
}

/// Reads `--format=csv,noheader,nounits` of [`QUERY`].
///
/// # Errors
/// A line without these fields, or without memory in use.
pub fn parse(text: &str) -> Result<Vec<Gpu>> {
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

fn line(line: &str) -> Result<Gpu> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let wrong = || Error::new(format!("expected the fields {QUERY}, got {line:?}"));
    let known = |i: usize| fields.get(i).filter(|f| !f.is_empty() && !f.starts_with('[') && **f != "N/A");
    let number = |i: usize| known(i).and_then(|f| f.parse::<f64>().ok());
    let reasons = known(9).and_then(|f| u64::from_str_radix(f.trim_start_matches("0x"), 16).ok());
    Ok(Gpu {
        index: fields.first().and_then(|f| f.parse().ok()).ok_or_else(wrong)?,
        uuid: known(1).ok_or_else(wrong)?.to_string(),
        name: known(2).ok_or_else(wrong)?.to_string(),
        used_mib: number(3).ok_or_else(wrong)?,
        total_mib: number(4),
        utilization: number(5),
        power_w: number(6),
        clock_mhz: number(7),
        temperature_c: number(8),
        throttled: reasons.map(|reasons| reasons & SPOILING != 0),
        driver: known(10).map(ToString::to_string),
    })
}

/// Selects the GPUs of a candidate: by index or id, otherwise the first `count`; never another number.
///
/// # Errors
/// An unknown GPU, or too few of them.
pub fn choose(all: Vec<Gpu>, visible: Option<&str>, count: Option<u32>) -> Result<Vec<Gpu>, String> {
    let available = all.len();
    let chosen: Vec<Gpu> = match visible {
        Some(names) => {
            let named = names.split(',').map(str::trim).filter(|name| !name.is_empty());
            let find = |name: &str| {
                let gpu = all.iter().find(|gpu| gpu.index.to_string() == name || gpu.uuid == name);
                gpu.cloned().ok_or_else(|| format!("GPU {name} not found; this host has {available}"))
            };
            named.map(find).collect::<Result<_, _>>()?
        }
        None => all.into_iter().take(count.map_or(usize::MAX, |n| n as usize)).collect(),
    };
    match count {
        Some(count) if chosen.len() != count as usize => {
            Err(format!("gpu_count is {count}, but {} are available or selected", chosen.len()))
        }
        _ => Ok(chosen),
    }
}

/// Describes the GPUs that are in use: `GPU 0 (H100): 40000 MiB in use`.
#[must_use]
pub fn busy(gpus: &[Gpu]) -> Vec<String> {
    let busy = gpus.iter().filter(|gpu| gpu.used_mib > FREE_MIB);
    busy.map(|gpu| format!("GPU {} ({}): {:.0} MiB in use", gpu.index, gpu.name, gpu.used_mib)).collect()
}

/// One sample of all GPUs of a server.
#[derive(Debug, Clone)]
pub struct GpuSample {
    /// Unix time, ms.
    pub at_ms: u64,
    /// The GPUs, in a fixed order.
    pub gpus: Vec<Gpu>,
}

/// Summary of the samples; `None` without any.
#[must_use]
pub fn summary(samples: &[GpuSample]) -> Option<GpuSummary> {
    let first = samples.first()?;
    let device = |i: usize| {
        let all = || samples.iter().filter_map(move |sample| sample.gpus.get(i));
        let of = |value: fn(&Gpu) -> Option<f64>| all().filter_map(value).collect::<Vec<f64>>();
        let max = |values: Vec<f64>| values.into_iter().max_by(f64::total_cmp);
        let throttled: Vec<f64> = of(|gpu| gpu.throttled.map(f64::from));
        let gpu = &first.gpus[i];
        GpuDevice {
            uuid: gpu.uuid.clone(),
            name: gpu.name.clone(),
            memory_used_max_mib: max(of(|gpu| Some(gpu.used_mib))),
            memory_total_mib: gpu.total_mib,
            utilization_mean: mean(&of(|gpu| gpu.utilization)),
            power_mean_w: mean(&of(|gpu| gpu.power_w)),
            clock_first_mhz: of(|gpu| gpu.clock_mhz).first().copied(),
            clock_last_mhz: of(|gpu| gpu.clock_mhz).last().copied(),
            clock_min_mhz: of(|gpu| gpu.clock_mhz).into_iter().min_by(f64::total_cmp),
            temperature_max_c: max(of(|gpu| gpu.temperature_c)),
            throttled_share: mean(&throttled),
        }
    };
    let power = samples.iter().filter_map(|sample| {
        let watts: Option<f64> = sample.gpus.iter().map(|gpu| gpu.power_w).sum();
        Some((sample.at_ms, watts?))
    });
    Some(GpuSummary {
        samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        devices: (0..first.gpus.len()).map(device).collect(),
        power: power.collect(),
    })
}

#[allow(clippy::cast_precision_loss, reason = "one sample a second")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Energy between two times (Unix ms), J: the power of each sample until the next. `None` unless samples cover both ends
/// to within three seconds.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "ms since 1970 are far below 2^52")]
pub fn energy(power: &[(u64, f64)], from_ms: u64, to_ms: u64) -> Option<f64> {
    let (first, last) = (power.first()?.0, power.last()?.0);
    if first > from_ms + 3000 || last + 3000 < to_ms || to_ms <= from_ms {
        return None;
    }
    let ends = power.iter().skip(1).map(|(at, _)| *at).chain([last.max(to_ms)]);
    let spans = power.iter().zip(ends).map(|((begin, watts), end)| {
        let span = end.min(to_ms).saturating_sub((*begin).max(from_ms));
        watts * span as f64 / 1000.0
    });
    // The time before the first sample counts with its power.
    let before = first.saturating_sub(from_ms) as f64 / 1000.0 * power[0].1;
    Some(before + spans.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "0, GPU-a, NVIDIA H100 80GB HBM3, 4, 81559, 0, 71.2, 345, 30, 0x0000000000000001, 570.1\n\
                       1, GPU-b, NVIDIA H100 80GB HBM3, 40000, 81559, 97, 650.0, 1980, 70, 0x0000000000000024, 570.1\n";

    #[test]
    fn reads_what_nvidia_smi_prints() {
        let gpus = parse(TWO).unwrap();
        assert_eq!((gpus[1].index, gpus[1].used_mib, gpus[1].power_w), (1, 40000.0, Some(650.0)));
        assert_eq!((gpus[0].throttled, gpus[1].throttled), (Some(false), Some(true)));
        assert_eq!(busy(&gpus), ["GPU 1 (NVIDIA H100 80GB HBM3): 40000 MiB in use"]);
        let some = parse("0, GPU-a, MI300X, 10, [N/A], [N/A], , , , ,\n").unwrap();
        assert_eq!((some[0].power_w, some[0].throttled), (None, None));
        assert!(parse("No devices were found\n").is_err());
    }

    #[test]
    fn never_another_number_than_asked() {
        let gpus = || parse(TWO).unwrap();
        assert_eq!(choose(gpus(), None, Some(1)).unwrap()[0].index, 0);
        assert_eq!(choose(gpus(), Some("GPU-b"), Some(1)).unwrap()[0].index, 1);
        assert!(choose(gpus(), None, Some(4)).unwrap_err().contains("gpu_count is 4"));
        assert!(choose(gpus(), Some("0,1"), Some(1)).is_err());
        assert!(choose(gpus(), Some("7"), None).unwrap_err().contains("GPU 7 not found"));
    }

    #[test]
    fn energy_is_power_over_time() {
        let power = [(1000, 100.0), (2000, 200.0), (3000, 300.0)];
        assert_eq!(energy(&power, 1000, 3000), Some(300.0));
        assert_eq!(energy(&power, 1500, 2500), Some(150.0));
        assert_eq!(energy(&power, 500, 1000), Some(50.0));
        assert_eq!(energy(&power, 1000, 4000), Some(600.0));
        assert_eq!(energy(&power, 1000, 9000), None);
        assert_eq!(energy(&[], 0, 1), None);
    }
}
