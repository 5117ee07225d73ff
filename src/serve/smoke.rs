//! The preflight: does a framework's server list its model, stream a token, answer five requests? A flow check, which
//! measures nothing.

use std::time::{Duration, Instant};

use super::CandidateFailure;
use super::launch::Launch;
use super::leased::LeaseOutcome;
use super::small::ProbeRequest;
use crate::base::error::Result;
use crate::engines::framework::Framework;
use crate::rows::kinds::Smoke;
use crate::rows::words::FailureClass;
use crate::system::http::{ClientOptions, HttpClient};
use crate::system::process::capture::save;

/// How long each answer may take.
const ANSWER: Duration = Duration::from_secs(120);
const REQUESTS: u32 = 5;
const TOKENS: u32 = 8;

/// Checks a ready server; what was found is kept in the start, and what the server said among its artifacts.
pub async fn check(launch: &Launch, framework: &Framework, model: &str, api_key: Option<&str>) -> LeaseOutcome {
    match go(launch, framework, model, api_key).await {
        Ok(found) if found.ok == found.requests => {
            launch.checked_flow(found);
            LeaseOutcome::Done
        }
        Ok(found) => {
            let why = format!(
                "{} of {} small requests failed: {}; what the server said is in flow_check.txt beside its log",
                found.requests - found.ok,
                found.requests,
                found.errors.join("; ")
            );
            launch.checked_flow(found);
            LeaseOutcome::Failed(CandidateFailure::of(FailureClass::NoAnswer, why))
        }
        Err(e) => LeaseOutcome::Failed(CandidateFailure::of(FailureClass::NoAnswer, e.to_string())),
    }
}

async fn go(launch: &Launch, framework: &Framework, model: &str, api_key: Option<&str>) -> Result<Smoke> {
    let client = HttpClient::new(&launch.base_url, &ClientOptions::single(ANSWER, api_key))?;
    let mut said = String::new();
    let listed = match client.get(&framework.probe.models_path).await {
        Ok((status, body)) => format!("{status}\n{}", String::from_utf8_lossy(&body)),
        Err(e) => e.to_string(),
    };
    said.push_str(&format!("GET {}\n{listed}\n\n", framework.probe.models_path));
    let mut found = Smoke { model_id: model.into(), requests: REQUESTS + 1, ..Smoke::default() };
    for i in 0..=REQUESTS {
        let begun = Instant::now();
        // The first is streamed, and says when its first token came; the others come whole.
        let streamed = i == 0;
        let small = ProbeRequest { model, tokens: TOKENS, streamed };
        let answer = tokio::time::timeout(ANSWER, small.ask(&client)).await;
        let answer = answer.unwrap_or_else(|_| Err("it does not end".into()));
        said.push_str(&format!("request {i}, streamed: {streamed}\n"));
        match answer {
            Ok(answer) => {
                found.ok += 1;
                if let Some(at) = answer.first_token {
                    found.first_token_ms = Some((at.duration_since(begun).as_secs_f64() * 1e6).round() / 1e3);
                }
                said.push_str(&answer.text);
            }
            Err(why) => {
                said.push_str(&why);
                found.errors.push(launch.redactor().redact(&why));
            }
        }
        said.push_str("\n\n");
    }
    found.errors.dedup();
    save(&launch.folder().join("flow_check.txt"), &launch.redactor().redact(&said))?;
    Ok(found)
}
