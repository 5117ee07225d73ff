//! SLA limits: their names, and whether a run keeps them.

/// Statistics that a limit may name.
pub const STATISTICS: [&str; 5] = ["mean", "p50", "p90", "p95", "p99"];
/// Latencies that a limit may name.
pub const LATENCIES: [&str; 4] = ["ttft", "tpot", "itl", "e2e"];

/// One kind of limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// `max_STATISTIC_LATENCY_ms`.
    Latency {
        /// `mean` or a percentile.
        statistic: &'static str,
        /// `ttft`, `tpot`, `itl` or `e2e`.
        latency: &'static str,
    },
    /// `min_success_rate`.
    SuccessRate,
    /// `min_slo_attainment`.
    Attainment,
}

impl Limit {
    /// Understands a limit's key.
    ///
    /// # Errors
    /// What is wrong with it; a latency must name its statistic, for nobody can know which one was meant.
    pub fn parse(key: &str) -> Result<Self, String> {
        match key {
            "min_success_rate" => return Ok(Self::SuccessRate),
            "min_slo_attainment" => return Ok(Self::Attainment),
            _ => {}
        }
        for latency in LATENCIES {
            for statistic in STATISTICS {
                if key == format!("max_{statistic}_{latency}_ms") {
                    return Ok(Self::Latency { statistic, latency });
                }
            }
            if key == format!("max_{latency}_ms") {
                return Err(format!(
                    "{key} does not say of which statistic: write max_p99_{latency}_ms or max_mean_{latency}_ms"
                ));
            }
        }
        let known = || LATENCIES.iter().flat_map(|l| STATISTICS.iter().map(move |s| format!("max_{s}_{l}_ms")));
        let known = known().chain(["min_success_rate".into(), "min_slo_attainment".into()]);
        let near = known.max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
        Err(format!("{key} is no SLA limit; did you mean {}?", near.unwrap_or_default()))
    }
}
