//! Readiness: the endpoint lists the model and streams a token, and the process that listens is the server that was started.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::probe_request::ProbeRequest;
use crate::engines::framework::Framework;
use crate::system::http::HttpClient;
use crate::system::process::proc::{Process, descendants, listeners, listens};

/// How long one response may take while a server is probed.
const RESPONSE_LIMIT: Duration = Duration::from_secs(30);

/// Maximum number of models that a message names.
const MAX_LISTED: usize = 10;

/// The result of a probe.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeResult {
    /// Not ready yet, and why; quoted in the message of a timeout.
    NotYet(String),
    /// It serves another model.
    WrongModel {
        /// The model ids that it lists.
        listed: Vec<String>,
    },
    /// A process that was not started here listens on the port.
    OtherProcess {
        /// The listener, `pid name`.
        owner: String,
    },
    /// Ready.
    Ready {
        /// The model's id as the server lists it.
        model_id: String,
        /// The server reports that it is a simulation.
        simulated: bool,
    },
}

/// Probes once. `guard` is the process from which the server must descend, if the server runs on this host.
pub async fn probe(
    client: &HttpClient,
    framework: &Framework,
    model: &str,
    port: u16,
    guard: Option<i32>,
) -> ProbeResult {
    let (status, body) = match tokio::time::timeout(RESPONSE_LIMIT, client.get(&framework.probe.models_path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) => return ProbeResult::NotYet(format!("{}: {e}", framework.probe.models_path)),
        Err(_) => return ProbeResult::NotYet(format!("{} does not respond", framework.probe.models_path)),
    };
    if let Some(owner) = guard.and_then(|guard| other_listener(port, guard)) {
        return ProbeResult::OtherProcess { owner };
    }
    if status != 200 {
        return ProbeResult::NotYet(format!("{} returned HTTP {status}", framework.probe.models_path));
    }
    // Some servers list their model seconds before they are healthy. A server without a health path is judged by the rest.
    let health = &framework.probe.health_path;
    match tokio::time::timeout(RESPONSE_LIMIT, client.get(health)).await {
        Ok(Ok((status, _))) if status >= 500 => return ProbeResult::NotYet(format!("{health} returned HTTP {status}")),
        Ok(Err(e)) => return ProbeResult::NotYet(format!("{health}: {e}")),
        Err(_) => return ProbeResult::NotYet(format!("{health} does not respond")),
        Ok(Ok(_)) => {}
    }
    let listed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let models = listed["data"].as_array().cloned().unwrap_or_default();
    let Some(ours) = models.iter().find(|entry| entry["id"].as_str().is_some_and(|id| is_name_of(id, model))) else {
        let ids = models.iter().filter_map(|entry| entry["id"].as_str().map(String::from));
        let ids: Vec<String> = ids.take(MAX_LISTED).collect();
        return if ids.is_empty() {
            ProbeResult::NotYet("it lists no model".into())
        } else {
            ProbeResult::WrongModel { listed: ids }
        };
    };
    let simulated = ours["simulated"] == true;
    let model = ours["id"].as_str().unwrap_or(model);
    let request = ProbeRequest { model, tokens: 1, streamed: true };
    match tokio::time::timeout(RESPONSE_LIMIT, request.send(client)).await {
        Ok(Ok(_)) => ProbeResult::Ready { model_id: model.to_string(), simulated },
        Ok(Err(why)) => ProbeResult::NotYet(why),
        Err(_) => ProbeResult::NotYet("the first token did not arrive".into()),
    }
}

/// True for the model itself. Some servers list a local folder by its last name.
fn is_name_of(id: &str, model: &str) -> bool {
    let is_folder = model.starts_with(['/', '.']);
    id == model || (is_folder && Path::new(model).file_name().is_some_and(|name| name == id))
}

/// The process that listens on the port, if it does not descend from `guard`; `None` if this user may not see it.
fn other_listener(port: u16, guard: i32) -> Option<String> {
    // Descendants first: searching every process of the host takes far longer.
    if listens(port, &descendants(guard, Some(guard))) {
        return None;
    }
    listeners(port).first().map(Process::label)
}
