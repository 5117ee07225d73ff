//! The smoke test: the server lists its model, streams a token and completes five requests. It measures nothing.

use std::time::{Duration, Instant};

use super::failure::{CandidateFailure, LeaseOutcome};
use super::launch::Launch;
use super::probe_request::ProbeRequest;
use crate::base::error::Result;
use crate::engines::framework::Framework;
use crate::rows::kinds::Smoke;
use crate::rows::words::FailureClass;
use crate::system::http::{ClientOptions, HttpClient};
use crate::system::process::capture::save;

/// How long each response may take.
const RESPONSE_LIMIT: Duration = Duration::from_secs(120);
const REQUESTS: u32 = 5;
const TOKENS: u32 = 8;

/// Tests a ready server; records the result in `launch`, and the responses among its artifacts.
pub async fn check(launch: &Launch, framework: &Framework, model: &str, api_key: Option<&str>) -> LeaseOutcome {
    match run(launch, framework, model, api_key).await {
        Ok(result) if result.ok == result.requests => {
            launch.set_smoke(result);
            LeaseOutcome::Done
        }
        Ok(result) => {
            let why = format!(
                "{} of {} test requests failed: {}; the responses are in flow_check.txt beside the server log",
                result.requests - result.ok,
                result.requests,
                result.errors.join("; ")
            );
            launch.set_smoke(result);
            LeaseOutcome::Failed(CandidateFailure::new(FailureClass::NoAnswer, why))
        }
        Err(e) => LeaseOutcome::Failed(CandidateFailure::new(FailureClass::NoAnswer, e.to_string())),
    }
}

async fn run(launch: &Launch, framework: &Framework, model: &str, api_key: Option<&str>) -> Result<Smoke> {
    let client = HttpClient::new(launch.base_url(), &ClientOptions::single(RESPONSE_LIMIT, api_key))?;
    let mut transcript = String::new();
    let listed = match client.get(&framework.probe.models_path).await {
        Ok((status, body)) => format!("{status}\n{}", String::from_utf8_lossy(&body)),
        Err(e) => e.to_string(),
    };
    transcript.push_str(&format!("GET {}\n{listed}\n\n", framework.probe.models_path));
    let mut result = Smoke { model_id: model.into(), requests: REQUESTS + 1, ..Smoke::default() };
    for i in 0..=REQUESTS {
        let begun = Instant::now();
        // Only the first is streamed, for the time of its first token.
        let streamed = i == 0;
        let request = ProbeRequest { model, tokens: TOKENS, streamed };
        let answer = tokio::time::timeout(RESPONSE_LIMIT, request.send(&client)).await;
        let answer = answer.unwrap_or_else(|_| Err("no complete response in time".into()));
        transcript.push_str(&format!("request {i}, streamed: {streamed}\n"));
        match answer {
            Ok(answer) => {
                result.ok += 1;
                if let Some(at) = answer.first_token {
                    result.first_token_ms = Some((at.duration_since(begun).as_secs_f64() * 1e6).round() / 1e3);
                }
                transcript.push_str(&answer.text);
            }
            Err(why) => {
                transcript.push_str(&why);
                result.errors.push(launch.redactor().redact(&why));
            }
        }
        transcript.push_str("\n\n");
    }
    result.errors.dedup();
    save(&launch.folder().join("flow_check.txt"), &launch.redactor().redact(&transcript))?;
    Ok(result)
}
