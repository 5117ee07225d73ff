//! Readiness: the endpoint lists the model, streams a token, and the listener is the server that was started.

use std::time::Duration;

use serde_json::Value;

use super::small::ProbeRequest;
use crate::engines::framework::Framework;
use crate::system::http::HttpClient;
use crate::system::process::proc::{Process, descendants, listeners, listens};

/// How long one answer may take while a server is probed.
const ANSWER: Duration = Duration::from_secs(30);

/// What a probe found.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeResult {
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
pub async fn probe(
    client: &HttpClient,
    framework: &Framework,
    model: &str,
    port: u16,
    guard: Option<i32>,
) -> ProbeResult {
    let (status, body) = match tokio::time::timeout(ANSWER, client.get(&framework.probe.models_path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) => return ProbeResult::NotYet(format!("{}: {e}", framework.probe.models_path)),
        Err(_) => return ProbeResult::NotYet(format!("{} does not answer", framework.probe.models_path)),
    };
    if let Some(owner) = guard.and_then(|guard| stranger(port, guard)) {
        return ProbeResult::Stranger { owner };
    }
    if status != 200 {
        return ProbeResult::NotYet(format!("{} answers {status}", framework.probe.models_path));
    }
    // Some list their model seconds before they are healthy. A server without this path is judged by the rest.
    let health = &framework.probe.health_path;
    match tokio::time::timeout(ANSWER, client.get(health)).await {
        Ok(Ok((status, _))) if status >= 500 => return ProbeResult::NotYet(format!("{health} answers {status}")),
        Ok(Err(e)) => return ProbeResult::NotYet(format!("{health}: {e}")),
        Err(_) => return ProbeResult::NotYet(format!("{health} does not answer")),
        Ok(Ok(_)) => {}
    }
    let listed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let models = listed["data"].as_array().cloned().unwrap_or_default();
    let Some(ours) = models.iter().find(|entry| entry["id"] == model) else {
        let ids: Vec<String> = models.iter().filter_map(|entry| entry["id"].as_str().map(String::from)).collect();
        return if ids.is_empty() {
            ProbeResult::NotYet("no model is listed".into())
        } else {
            ProbeResult::WrongModel { listed: ids }
        };
    };
    let simulated = ours["simulated"] == true;
    let small = ProbeRequest { model, tokens: 1, streamed: true };
    match tokio::time::timeout(ANSWER, small.ask(client)).await {
        Ok(Ok(_)) => ProbeResult::Ready { model_id: model.to_string(), simulated },
        Ok(Err(why)) => ProbeResult::NotYet(why),
        Err(_) => ProbeResult::NotYet("the first token does not come".into()),
    }
}

/// Who listens on the port, when it is nobody of ours. A listener that we may not see is not called a stranger.
fn stranger(port: u16, guard: i32) -> Option<String> {
    // The family first: to look at every process of the host takes far longer.
    if listens(port, &descendants(guard, Some(guard))) {
        return None;
    }
    listeners(port).first().map(Process::label)
}
