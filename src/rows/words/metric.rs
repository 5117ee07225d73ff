//! Latencies and statistics: all metric keys, limits, columns and import maps derive from these two lists.

use super::words;

words! {
    /// A latency of requests.
    pub enum Latency, "latency" {
        /// Time to first token.
        Ttft = "ttft",
        /// Time to the first token of the answer itself, after reasoning.
        Ttfat = "ttfat",
        /// Time per output token after the first.
        Tpot = "tpot",
        /// Gap between two tokens; every gap is a value.
        Itl = "itl",
        /// From due (closed loop: sent) to the end.
        E2e = "e2e",
    }
}

words! {
    /// A statistic of many values.
    pub enum Statistic, "statistic" {
        /// Arithmetic mean.
        Mean = "mean",
        /// Median.
        P50 = "p50",
        /// 90th percentile.
        P90 = "p90",
        /// 95th percentile.
        P95 = "p95",
        /// 99th percentile.
        P99 = "p99",
        /// 99.9th percentile.
        P999 = "p999",
    }
}

impl Statistic {
    /// Its quantile, in (0, 1); `None` for the mean.
    #[must_use]
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::Mean => None,
            Self::P50 => Some(0.50),
            Self::P90 => Some(0.90),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            Self::P999 => Some(0.999),
        }
    }

    /// Its name for people: `mean`, `p99`, `p99.9`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::P999 => "p99.9",
            Self::Mean | Self::P50 | Self::P90 | Self::P95 | Self::P99 => self.as_str(),
        }
    }

    /// The statistic that other tools call `title`: `p99`, `p99.9`, `99.9`, `median`.
    #[must_use]
    pub fn of(title: &str) -> Option<Self> {
        let title = title.to_ascii_lowercase();
        let same = |statistic: &Self| {
            let own = statistic.title();
            own == title || statistic.as_str() == title || own.strip_prefix('p') == Some(&title)
        };
        if title == "median" { Some(Self::P50) } else { Self::ALL.iter().copied().find(same) }
    }
}

impl Latency {
    /// Its name for people: `TTFT`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Ttfat => "TTFAT",
            Self::Tpot => "TPOT",
            Self::Itl => "ITL",
            Self::E2e => "E2E",
        }
    }

    /// The key of its maximum in `metrics`, ms.
    #[must_use]
    pub const fn max_key(self) -> &'static str {
        match self {
            Self::Ttft => "max_ttft_ms",
            Self::Ttfat => "max_ttfat_ms",
            Self::Tpot => "max_tpot_ms",
            Self::Itl => "max_itl_ms",
            Self::E2e => "max_e2e_ms",
        }
    }

    /// The key of one of its statistics in `metrics`, ms: `p99_ttft_ms`.
    #[must_use]
    pub fn key(self, statistic: Statistic) -> &'static str {
        &self.limit_key(statistic)["max_".len()..]
    }

    /// The key of the limit on one of its statistics, ms: `max_p99_ttft_ms`.
    #[must_use]
    pub const fn limit_key(self, statistic: Statistic) -> &'static str {
        macro_rules! keys {
            ($($variant:ident = $statistic:literal),+) => {
                match (self, statistic) {
                    $(
                        (Self::Ttft, Statistic::$variant) => concat!("max_", $statistic, "_ttft_ms"),
                        (Self::Ttfat, Statistic::$variant) => concat!("max_", $statistic, "_ttfat_ms"),
                        (Self::Tpot, Statistic::$variant) => concat!("max_", $statistic, "_tpot_ms"),
                        (Self::Itl, Statistic::$variant) => concat!("max_", $statistic, "_itl_ms"),
                        (Self::E2e, Statistic::$variant) => concat!("max_", $statistic, "_e2e_ms"),
                    )+
                }
            };
        }
        keys!(Mean = "mean", P50 = "p50", P90 = "p90", P95 = "p95", P99 = "p99", P999 = "p999")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_of_the_words() {
        for latency in Latency::ALL {
            for statistic in Statistic::ALL {
                assert_eq!(latency.key(*statistic), format!("{statistic}_{latency}_ms"));
                assert_eq!(latency.limit_key(*statistic), format!("max_{statistic}_{latency}_ms"));
            }
        }
    }

    #[test]
    fn a_percentile_is_told_from_its_digits_not_from_its_number() {
        let of = ["p99", "P99.9", "p999", "99.9", "median", "mean", "p75"].map(Statistic::of);
        let [p99, p999] = [Some(Statistic::P99), Some(Statistic::P999)];
        assert_eq!(of, [p99, p999, p999, p999, Some(Statistic::P50), Some(Statistic::Mean), None]);
    }
}
