//! bench-sim: an OpenAI-compatible engine that simulates continuous batching on one GPU.

pub mod batch;
pub mod drafting;
pub mod engine;
pub mod http;
pub mod openai;
pub mod step;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

use self::batch::{EngineLimits, StepTokens};
use self::drafting::{AcceptanceLaw, DraftCounts, Drafting};
use self::engine::Engine;
use self::http::{Connection, HttpRequest, IncomingRequest};
use self::openai::{Completion, EndpointLimits};
use self::step::StepTime;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::system::process::signals::Signals;

/// How the simulated engine is set up.
#[derive(Debug, Clone)]
pub struct SimSetup {
    /// Address to bind.
    pub address: String,
    /// Port; 0 for a free one.
    pub port: u16,
    /// The model and its limits.
    pub served: EndpointLimits,
    /// The scheduler's limits.
    pub limits: EngineLimits,
    /// The cost of a step.
    pub time: StepTime,
    /// Time to load the model.
    pub load: Duration,
    /// Tokens that a sequence drafts per step, and by what law they are accepted; `None` without speculative decoding.
    pub drafts: Option<(u64, AcceptanceLaw)>,
}

#[derive(Clone)]
struct SimServer {
    engine: Engine,
    served: Rc<EndpointLimits>,
    loaded: Rc<Cell<bool>>,
}

/// Serves until a signal arrives.
///
/// # Errors
/// When the memory cannot hold one sequence, or the port cannot be bound.
pub fn serve(setup: &SimSetup, notice: &Notice) -> Result<()> {
    if setup.limits.kv_capacity < setup.served.max_model_len {
        return Err(Error::new(format!(
            "error: out of memory: KV cache of {} tokens cannot hold one sequence of max_model_len {}; lower max_num_seqs, \
             max_num_batched_tokens or max_model_len",
            setup.limits.kv_capacity, setup.served.max_model_len
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&runtime, run(setup, notice));
    runtime.shutdown_background();
    served
}

async fn run(setup: &SimSetup, notice: &Notice) -> Result<()> {
    let mut signals = Signals::listen()?;
    let at = (setup.address.as_str(), setup.port);
    let bound = TcpListener::bind(at).await;
    let listener = bound.map_err(|e| Error::new(format!("cannot listen on {}:{}", at.0, at.1)).because(e))?;
    let address: SocketAddr = listener.local_addr().context("cannot read the bound address")?;
    let drafting = setup.drafts.map(|(tokens, law)| Drafting::new(tokens, law, setup.served.seed));
    let server = SimServer {
        engine: Engine::start(setup.limits, setup.time, drafting),
        served: Rc::new(setup.served.clone()),
        loaded: Rc::new(Cell::new(false)),
    };
    notice.say(format!(
        "simulating {} on http://{address}: {} sequences, {} tokens per step, KV cache of {} tokens",
        setup.served.model, setup.limits.max_num_seqs, setup.limits.max_num_batched_tokens, setup.limits.kv_capacity
    ));
    let (loaded, load) = (server.loaded.clone(), setup.load);
    tokio::task::spawn_local(async move {
        tokio::time::sleep(load).await;
        loaded.set(true);
    });
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(()),
            accepted = listener.accept() => {
                // Out of file descriptors: the open connections continue, and a later accept may succeed.
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let server = server.clone();
                tokio::task::spawn_local(async move {
                    if let Ok(connection) = Connection::new(stream) {
                        // A client may disconnect at any time.
                        let _ = server.serve_connection(connection).await;
                    }
                });
            }
        }
    }
}

impl SimServer {
    async fn serve_connection(&self, mut connection: Connection) -> std::io::Result<()> {
        loop {
            let request = match connection.request().await? {
                IncomingRequest::Request(request) => request,
                IncomingRequest::Closed => return Ok(()),
                IncomingRequest::Bad(status, why) => return connection.error(status, why).await,
            };
            self.answer(&mut connection, &request).await?;
            if request.close {
                return Ok(());
            }
        }
    }

    async fn answer(&self, connection: &mut Connection, request: &HttpRequest) -> std::io::Result<()> {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/version") => connection.json(200, &json!({"version": env!("CARGO_PKG_VERSION")})).await,
            ("GET", "/metrics") => connection.answer(200, "text/plain; version=0.0.4", self.metrics().as_bytes()).await,
            ("GET" | "POST", path) if !self.loaded.get() && known(path) => {
                connection.error(503, "the model is loading").await
            }
            ("GET", "/health") => connection.answer(200, "text/plain", b"").await,
            ("GET", "/v1/models") => {
                let served = &self.served;
                let entry = json!({"id": served.model, "object": "model", "owned_by": "bench-sim",
                                   "max_model_len": served.max_model_len, "simulated": true});
                connection.json(200, &json!({"object": "list", "data": [entry]})).await
            }
            ("POST", "/v1/completions") => self.complete(connection, &request.body, false).await,
            ("POST", "/v1/chat/completions") => self.complete(connection, &request.body, true).await,
            (_, path) if known(path) => connection.error(405, "Method Not Allowed").await,
            _ => connection.error(404, "Not Found").await,
        }
    }

    async fn complete(&self, connection: &mut Connection, body: &[u8], chat: bool) -> std::io::Result<()> {
        let completion = match Completion::parse(body, chat, &self.served) {
            Ok(completion) => completion,
            Err((status, why)) => return connection.error(status, &why).await,
        };
        let Some(mut tokens) = self.engine.queue(completion.size) else {
            return connection
                .error(400, "the prompt is longer than max_num_batched_tokens; enable chunked prefill")
                .await;
        };
        if !completion.stream {
            while let Some(StepTokens { last, .. }) = tokens.next().await {
                if last {
                    break;
                }
            }
            return connection.json(200, &completion.whole()).await;
        }
        connection.begin_events().await?;
        if let Some(opening) = completion.opening() {
            connection.event(&opening).await?;
        }
        let mut n = 0;
        loop {
            let token = tokio::select! {
                biased;
                token = tokens.next() => token,
                // Dropping the tokens cancels the request.
                () = connection.disconnected() => return Ok(()),
            };
            let Some(StepTokens { count, last, .. }) = token else { return Ok(()) };
            connection.event(&completion.tokens(n + 1, n + count)).await?;
            n += count;
            if last {
                break;
            }
        }
        if completion.include_usage {
            connection.event(&completion.usage_event()).await?;
        }
        connection.event("[DONE]").await?;
        connection.end_events().await
    }

    fn metrics(&self) -> String {
        let (waiting, running, kv) = self.engine.load();
        let drafts = self.engine.drafts().map_or(String::new(), |DraftCounts { drafts, drafted, accepted }| {
            format!(
                "# TYPE bench_sim_spec_drafts_total counter\nbench_sim_spec_drafts_total {drafts}\n\
                 # TYPE bench_sim_spec_draft_tokens_total counter\nbench_sim_spec_draft_tokens_total {drafted}\n\
                 # TYPE bench_sim_spec_accepted_tokens_total counter\nbench_sim_spec_accepted_tokens_total {accepted}\n"
            )
        });
        format!(
            "# TYPE bench_sim_requests_running gauge\nbench_sim_requests_running {running}\n\
             # TYPE bench_sim_requests_waiting gauge\nbench_sim_requests_waiting {waiting}\n\
             # TYPE bench_sim_kv_tokens gauge\nbench_sim_kv_tokens {kv}\n{drafts}"
        )
    }
}

fn known(path: &str) -> bool {
    ["/health", "/v1/models", "/v1/completions", "/v1/chat/completions"].contains(&path)
}
