//! Builds a sample from the single requests that other clients record; all metrics are computed from it.

use serde_json::Value;

use super::format::{RequestsMap, is_skipped};
use crate::metrics::sample::Sample;
use crate::metrics::sla::Limits;
use crate::rows::kinds::{Request, RequestStatus, TokenSource};
use crate::rows::units::Micros;
use crate::rows::words::{Latency, Statistic};

/// Share of outputs shorter than requested above which lengths count as mismatched.
const SHORT: f64 = 0.01;

/// The members of one request, by place.
type RequestField<'a> = &'a dyn Fn(&str) -> Option<&'a Value>;

/// Number of listed requests, and of failed ones in a separate list; `None` without a list.
pub fn count(map: &RequestsMap, result: &Value) -> Option<(usize, usize)> {
    let list = |place: &String| result.pointer(place).and_then(Value::as_array).map(Vec::len);
    match &map.list {
        Some(place) => {
            let records = result.pointer(place)?.as_array().filter(|records| !records.is_empty())?;
            let listed = records.iter().filter(|record| !is_skipped(&map.skip, record)).count();
            Some((listed, map.failed.as_ref().and_then(list).unwrap_or_default()))
        }
        None => Some((list(map.ttft.as_ref().or(map.chunks.as_ref())?)?, 0)),
    }
}

/// The sample of a result that lists its requests; otherwise `None`.
pub fn sample(map: &RequestsMap, result: &Value, limits: &Limits) -> Option<Sample> {
    let mut requests: Vec<(Request, Option<f64>)> = Vec::new();
    match &map.list {
        Some(list) => {
            let records = result.pointer(list)?.as_array().filter(|records| !records.is_empty())?;
            for record in records.iter().filter(|record| !is_skipped(&map.skip, record)) {
                requests.push(request(map, &|place| record.pointer(place)));
            }
            let failed = map.failed.as_ref().and_then(|place| result.pointer(place)?.as_array());
            requests.extend(failed.into_iter().flatten().map(|_| (Request::default(), None)));
        }
        None => {
            let first = map.ttft.as_ref().or(map.chunks.as_ref())?;
            let n = result.pointer(first)?.as_array()?.len();
            requests.extend((0..n).map(|i| request(map, &|place| result.pointer(place)?.as_array()?.get(i))));
        }
    }
    // If outputs are counted, a request without a count ended early.
    let counted = requests.iter().any(|(request, _)| request.output_tokens.is_some());
    let begin = requests.iter().filter_map(|(_, start)| *start).fold(f64::INFINITY, f64::min);
    let mut sample = Sample::default();
    for (mut request, start) in requests {
        if counted && request.output_tokens.is_none() && request.status == RequestStatus::Ok {
            request.status = RequestStatus::Truncated;
        }
        sample.add(&at_its_time(request, start.map_or(0.0, |start| start - begin)), limits);
    }
    sample.close();
    (sample.scheduled > 0).then_some(sample)
}

/// One request, on a clock that starts when it is sent; and its send time on some clock, s.
fn request(map: &RequestsMap, get: RequestField) -> (Request, Option<f64>) {
    let number = |place: &Option<String>| place.as_ref().and_then(|place| get(place)?.as_f64());
    let tokens = |place: &String| get(place).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let list = |place: &Option<String>| -> Option<Vec<f64>> {
        Some(get(place.as_ref()?)?.as_array()?.iter().filter_map(Value::as_f64).collect())
    };
    let error = map.error.as_ref().and_then(|place| get(place)?.as_str()).filter(|text| !text.is_empty());
    let start = number(&map.start).map(|at| at * map.start_seconds);
    let chunks = list(&map.chunks).filter(|chunks| !chunks.is_empty()).zip(start);
    let chunk = |pick: fn(&[f64]) -> Option<&f64>| {
        chunks.as_ref().and_then(|(chunks, start)| Some(pick(chunks)? * map.start_seconds - start))
    };
    let ttft = number(&map.ttft).map(|at| at * map.ttft_seconds.unwrap_or(map.seconds)).or(chunk(<[f64]>::first));
    let output = tokens(&map.output);
    // Several tokens without gaps do not have a known end: the client did not see them one by one, or wrote no numbers.
    let gaps = list(&map.gaps).filter(|gaps| !gaps.is_empty() || output.is_none_or(|n| n <= 1));
    let gaps = gaps.map(|gaps| gaps.iter().sum::<f64>() * map.seconds);
    let whole = number(&map.e2e).map(|at| at * map.seconds);
    let last = ttft.zip(gaps).map(|(ttft, gaps)| ttft + gaps).or(chunk(<[f64]>::last)).or(whole);
    // A request without a first token, or without any token, did not succeed, whatever its client reports. A negative time
    // to first token means that the response was not streamed.
    let ok = error.is_none() && ttft.is_some_and(|ttft| ttft != 0.0) && output != Some(0);
    let ttft = ttft.filter(|ttft| *ttft > 0.0);
    let at = |seconds: Option<f64>| seconds.filter(|s| *s > 0.0).map(Micros::from_seconds);
    let request = Request {
        sent_us: Some(Micros(0)),
        first_token_us: at(ttft),
        last_token_us: at(last),
        end_us: at(whole.or(last)),
        input_tokens: tokens(&map.input),
        output_tokens: output,
        token_source: Some(TokenSource::Usage),
        status: if ok { RequestStatus::Ok } else { RequestStatus::Aborted },
        ..Request::default()
    };
    (request, start)
}

/// The same request, shifted by `seconds`.
fn at_its_time(request: Request, seconds: f64) -> Request {
    let later = |at: Option<Micros>| at.map(|at| Micros(at.0.saturating_add(Micros::from_seconds(seconds).0)));
    Request {
        sent_us: later(request.sent_us),
        first_token_us: later(request.first_token_us),
        last_token_us: later(request.last_token_us),
        end_us: later(request.end_us),
        ..request
    }
}

/// Statistics of a latency, ms, without zeros, which no client can measure.
pub fn statistics(sample: &Sample, latency: Latency) -> impl Iterator<Item = (Statistic, f64)> {
    let all = Statistic::ALL.iter().copied();
    let of = move |statistic| sample.statistic(latency, statistic).filter(|ms| *ms > 0.0);
    all.filter_map(move |statistic| Some((statistic, of(statistic)?)))
}

/// True if more than 1 % of the outputs are shorter than requested.
pub fn is_short(sample: &Sample, asked: Option<f64>) -> bool {
    let Some(asked) = asked else { return false };
    let short = sample.output.iter().filter(|tokens| f64::from(**tokens) < asked).count();
    short as f64 > SHORT * f64::from(sample.ok())
}
