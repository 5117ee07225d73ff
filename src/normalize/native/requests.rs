//! Requests one by one, as other clients keep them, to the sample that everything is computed from.

use serde_json::Value;

use super::format::Requests;
use crate::schema::{Request, RequestStatus, TokenSource};
use crate::sla::Limits;
use crate::summary::{Sample, mean, percentile};
use crate::units::Micros;

/// More answers than this share shorter than asked, and lengths do not match.
const SHORT: f64 = 0.01;

/// The sample of a result whose requests are there; `None` where they are not.
pub fn sample(map: &Requests, result: &Value, limits: &Limits) -> Option<Sample> {
    let mut sample = Sample::default();
    match &map.list {
        Some(list) => {
            let records = result.pointer(list)?.as_array().filter(|records| !records.is_empty())?;
            for record in records {
                sample.add(&request(map, &|place| record.pointer(place)), limits);
            }
            let failed = map.failed.as_ref().and_then(|place| result.pointer(place)?.as_array());
            for _ in failed.into_iter().flatten() {
                sample.add(&Request::default(), limits);
            }
        }
        None => {
            let n = result.pointer(&map.ttft)?.as_array()?.len();
            for i in 0..n {
                sample.add(&request(map, &|place| result.pointer(place)?.as_array()?.get(i)), limits);
            }
        }
    }
    sample.close();
    (sample.scheduled > 0).then_some(sample)
}

/// One request on a clock of its own, which begins when it is sent.
fn request<'a>(map: &Requests, get: &dyn Fn(&str) -> Option<&'a Value>) -> Request {
    let number = |place: &Option<String>| place.as_ref().and_then(|place| get(place)?.as_f64());
    let tokens = |place: &String| get(place).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let error = map.error.as_ref().and_then(|place| get(place)?.as_str()).filter(|text| !text.is_empty());
    let ttft = number(&Some(map.ttft.clone())).map(|at| at * map.ttft_seconds.unwrap_or(map.seconds));
    let gaps = map.gaps.as_ref().and_then(|place| get(place)?.as_array());
    let gaps = gaps.map(|gaps| gaps.iter().filter_map(Value::as_f64).sum::<f64>() * map.seconds);
    let whole = number(&map.e2e).map(|at| at * map.seconds);
    let last = ttft.zip(gaps).map(|(ttft, gaps)| ttft + gaps).or(whole);
    let output = tokens(&map.output);
    // Without a first token, or without any, it was none that succeeded, whatever its client thought.
    let ok = error.is_none() && ttft.is_some_and(|ttft| ttft > 0.0) && output != Some(0);
    let at = |seconds: Option<f64>| seconds.map(|s| Micros((s.max(0.0) * 1e6).round() as u64));
    Request {
        sent_us: Some(Micros(0)),
        first_token_us: at(ttft),
        last_token_us: at(last),
        end_us: at(whole.or(last)),
        input_tokens: tokens(&map.input),
        output_tokens: output,
        token_source: Some(TokenSource::Usage),
        status: if ok { RequestStatus::Ok } else { RequestStatus::Aborted },
        ..Request::default()
    }
}

/// Statistics of a latency, by name.
pub fn statistics(sample: &Sample, latency: &str) -> Vec<(&'static str, f64)> {
    let values = sample.values(latency);
    let percentiles = [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0)];
    let all = percentiles.map(|(name, q)| (name, percentile(values, q)));
    let all = std::iter::once(("mean", mean(values))).chain(all);
    all.filter_map(|(name, value)| Some((name, value?))).collect()
}

/// More than a hundredth of the answers are shorter than asked.
pub fn is_short(sample: &Sample, asked: Option<f64>) -> bool {
    let Some(asked) = asked else { return false };
    let short = sample.output.iter().filter(|tokens| **tokens < asked).count();
    short as f64 > SHORT * f64::from(sample.ok())
}
