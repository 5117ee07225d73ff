//! Readiness: the endpoint lists the model, streams a token, and the listener is the server that was started.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Event;
use crate::framework::Framework;
use crate::http::Client;
use crate::process::proc::{descendants, listeners};
use crate::sse::Splitter;

/// How long one answer may take while a server is probed.
const ANSWER: Duration = Duration::from_secs(30);

/// What a probe found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Not ready, and why, in words for the time-out's message.
    NotYet(String),
    /// It answers, but with another model.
    WrongModel {
        /// The ids that it lists.
        listed: Vec<String>,
    },
    /// Somebody else answers on the port.
    Stranger {
        /// `pid name` of who listens.
        owner: String,
    },
    /// Ready.
    Ready {
        /// The model's id as listed.
        model_id: String,
        /// The server says that it simulates.
        simulated: bool,
    },
}

/// Probes once. `guard` is the process from which the server must descend, where it runs on this host as a child.
pub async fn probe(client: &Client, framework: &Framework, model: &str, port: u16, guard: Option<i32>) -> Found {
    let (status, body) = match tokio::time::timeout(ANSWER, client.get(&framework.probe.models_path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) => return Found::NotYet(format!("{}: {e}", framework.probe.models_path)),
        Err(_) => return Found::NotYet(format!("{} does not answer", framework.probe.models_path)),
    };
    if let Some(owner) = guard.and_then(|guard| stranger(port, guard)) {
        return Found::Stranger { owner };
    }
    if status != 200 {
        return Found::NotYet(format!("{} answers {status}", framework.probe.models_path));
    }
    let listed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let models = listed["data"].as_array().cloned().unwrap_or_default();
    let Some(ours) = models.iter().find(|entry| entry["id"] == model) else {
        let ids: Vec<String> = models.iter().filter_map(|entry| entry["id"].as_str().map(String::from)).collect();
        return if ids.is_empty() {
            Found::NotYet("no model is listed".into())
        } else {
            Found::WrongModel { listed: ids }
        };
    };
    let simulated = ours["simulated"] == true;
    match tokio::time::timeout(ANSWER, one_token(client, model)).await {
        Ok(Ok(())) => Found::Ready { model_id: model.to_string(), simulated },
        Ok(Err(why)) => Found::NotYet(why),
        Err(_) => Found::NotYet("the first token does not come".into()),
    }
}

/// Who listens on the port, when it is nobody of ours. A listener that we may not see is not called a stranger.
fn stranger(port: u16, guard: i32) -> Option<String> {
    let ours = descendants(guard, Some(guard));
    let listening = listeners(port);
    let all_strange = !listening.is_empty() && !listening.iter().any(|l| ours.iter().any(|p| p.pid == l.pid));
    all_strange.then(|| listening[0].label())
}

async fn one_token(client: &Client, model: &str) -> Result<(), String> {
    let body = json!({"model": model, "prompt": "one two three", "max_tokens": 1, "temperature": 0, "stream": true,
                      "stream_options": {"include_usage": true}});
    let mut answer = client.post("/v1/completions", body.to_string().into_bytes()).await.map_err(|e| e.why)?;
    if answer.status != 200 {
        let body = answer.body().await.unwrap_or_default();
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        return Err(format!("a completion answers {}: {text}", answer.status));
    }
    let mut splitter = Splitter::default();
    let (mut tokens, mut error) = (false, None);
    while let Some(chunk) = answer.chunk().await.map_err(|e| e.why)? {
        splitter.push(chunk.as_ref(), |data| match Event::parse(data) {
            // A first token may be half a character, which some engines hold back: its count is as good.
            Ok(event) => {
                tokens |= event.has_text || event.usage.and_then(|u| u.output).is_some_and(|n| n > 0);
                error = error.take().or(event.error);
            }
            Err(e) => error = Some(e),
        });
    }
    match error {
        Some(error) => Err(format!("a completion ends in an error: {error}")),
        None if tokens => Ok(()),
        None => Err("a completion streams no token".into()),
    }
}
