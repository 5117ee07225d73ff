//! The arrival process of an open loop: a word in a plan, a row or on the command line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The arrival process of an open loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// A Poisson process: exponentially distributed gaps.
    Poisson,
    /// Equal gaps.
    Constant,
    /// Gamma-distributed gaps with this shape: below 1 burstier than Poisson, above 1 more regular (vLLM's
    /// `burstiness`).
    Gamma(f64),
    /// A Poisson process whose rate changes linearly from this one to the requested one.
    Linear(f64),
    /// A Poisson process whose rate changes exponentially from this one to the requested one.
    Exponential(f64),
    /// The timestamps of the dataset, stretched to the requested rate.
    Trace,
}

impl FromStr for Arrivals {
    type Err = String;

    /// Reads `poisson`, `constant`, `gamma:SHAPE`, `linear:FROM`, `exponential:FROM`, `trace`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "unknown arrival process {text:?}; known: poisson, constant, gamma:SHAPE, linear:FROM, exponential:FROM \
                 (numbers above 0), trace"
            )
        };
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse::<f64>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        match (name, number.filter(|n| n.is_finite() && *n > 0.0), number) {
            ("poisson", None, None) => Ok(Self::Poisson),
            ("constant", None, None) => Ok(Self::Constant),
            ("trace", None, None) => Ok(Self::Trace),
            ("gamma", Some(shape), _) => Ok(Self::Gamma(shape)),
            ("linear", Some(from), _) => Ok(Self::Linear(from)),
            ("exponential", Some(from), _) => Ok(Self::Exponential(from)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Poisson => f.write_str("poisson"),
            Self::Constant => f.write_str("constant"),
            Self::Gamma(shape) => write!(f, "gamma:{shape}"),
            Self::Linear(from) => write!(f, "linear:{from}"),
            Self::Exponential(from) => write!(f, "exponential:{from}"),
            Self::Trace => f.write_str("trace"),
        }
    }
}

impl Serialize for Arrivals {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Arrivals {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Arrivals {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Arrivals".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^(poisson|constant|trace|(gamma|linear|exponential):.+)$"})
    }
    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_it_was_or_refused() {
        for text in ["poisson", "constant", "trace", "gamma:0.25", "linear:4", "exponential:0.5"] {
            assert_eq!(text.parse::<Arrivals>().unwrap().to_string(), text);
        }
        for wrong in ["gama:0.1", "gamma", "gamma:0", "linear:-1", "constant:2", "even", "exponential:x", "", "Poisson"]
        {
            assert!(wrong.parse::<Arrivals>().unwrap_err().contains("gamma:SHAPE"), "{wrong}");
        }
    }
}
