//! Builds the bodies of requests for one server, after finding out which members the server accepts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::request::ExpectedAnswer;
use super::workload::{PromptContent, PromptPiece, Sizes, WORDS, WorkloadItem, token_ids};
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::random::generator;
use crate::base::redact;
use crate::engines::framework::{MetricMapping, MetricsEndpoint};
use crate::engines::prometheus::{self, MetricSamples};
use crate::engines::protocol::error_body;
use crate::engines::protocol::event::Event;
use crate::engines::protocol::sse::{Part, Splitter};
use crate::rows::kinds::{MAX_PROMPT_TOKENS, Members};
use crate::rows::words::{Endpoint, PromptForm};
use crate::system::http::HttpClient;

/// Time limit for reading the server's counters.
const COUNTERS: Duration = Duration::from_secs(5);

/// How prompts are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PromptEncoding {
    TokenIds,
    Text(Sizes),
}

/// The requests to build, before it is known which members the server accepts.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// Path of the endpoint.
    pub endpoint: Endpoint,
    /// The model's id.
    pub model: String,
    /// Members of every body.
    pub extra: Members,
    /// Members that force the full output length.
    pub exact_length: Members,
    /// The server accepts token ids as a prompt.
    pub ids: bool,
    /// Some prompts are generated with an exact length.
    pub sized: bool,
    /// Responses are streamed.
    pub stream: bool,
    /// Every chunk has the number of tokens so far.
    pub continuous: bool,
}

/// Bytes of the answer to a small request that are read at most.
const MAX_PROBE: usize = 1 << 20;

/// Builds requests that one server accepts.
#[derive(Debug)]
pub struct RequestBuilder {
    /// The client of this server.
    pub client: HttpClient,
    /// The requests to build, without the members that the server refuses.
    pub spec: RequestSpec,
    dialect: Endpoint,
    usage: bool,
    form: PromptEncoding,
    template: Option<u32>,
    /// The model that answered the small requests, by its own word: gateways and servers have other names for one model.
    answered_by: Option<Arc<str>>,
    limit: Duration,
    metrics: Option<MetricsEndpoint>,
}

/// The response to a probe request.
struct BuilderProbe {
    status: u16,
    text: String,
    input: Option<u32>,
    error: Option<String>,
    /// It has a token, or the end of an answer.
    answered: bool,
    /// The model that it names.
    model: Option<String>,
}

/// A prompt in the form that a body has.
enum PromptBody {
    Ids(Vec<u32>),
    Text(String),
    Messages(Vec<Value>),
}

impl RequestBuilder {
    /// Also reads the server's own counters.
    #[must_use]
    pub fn with_metrics(self, metrics: Option<MetricsEndpoint>) -> Self {
        Self { metrics, ..self }
    }

    /// The server's counters now; `None` if it does not expose any.
    pub async fn counters(&self) -> Option<MetricSamples> {
        let path = &self.metrics.as_ref()?.path;
        let (status, body) = tokio::time::timeout(COUNTERS, self.client.get(path)).await.ok()?.ok()?;
        (status == 200).then(|| prometheus::parse(&String::from_utf8_lossy(&body)))
    }

    /// The mappings of these counters to row metrics.
    #[must_use]
    pub fn metric_mappings(&self) -> &[MetricMapping] {
        self.metrics.as_ref().map_or(&[], |metrics| &metrics.mappings)
    }

    /// Empties the server's prefix cache.
    ///
    /// # Errors
    /// Why the cache may not be empty.
    pub async fn reset_cache(&self, path: Option<&str>) -> Result<(), String> {
        let path =
            path.ok_or("the framework definition has no reset_path: remove `cache: reset` (or --reset-cache)")?;
        let spec = async {
            let answer = self.client.post(path, Vec::new()).await.map_err(|e| e.why)?;
            if answer.status == 200 { Ok(()) } else { Err(format!("it answered {}", answer.status)) }
        };
        let answer = tokio::time::timeout(self.limit, spec).await.unwrap_or_else(|_| Err("it did not answer".into()));
        answer.map_err(|why| {
            format!(
                "POST {path} did not reset the cache: {why}; vLLM supports it only with VLLM_SERVER_DEV_MODE=1 in env"
            )
        })
    }

    /// Finds out what the server accepts: token ids, members for the exact length, usage in the stream.
    ///
    /// # Errors
    /// When the server refuses every form of request, or the token count of a text cannot be found out.
    pub async fn find(client: HttpClient, spec: RequestSpec, limit: Duration, notice: &Notice) -> Result<Self> {
        let unsized_text = Sizes { words: vec![1; WORDS.len()], overhead: 0 };
        let dialect = spec.endpoint;
        let ids = spec.ids && spec.sized && dialect != Endpoint::Chat;
        let form = if ids { PromptEncoding::TokenIds } else { PromptEncoding::Text(unsized_text.clone()) };
        let mut builder =
            Self { client, spec, dialect, usage: true, form, template: None, answered_by: None, limit, metrics: None };
        loop {
            let prompt = match builder.form {
                PromptEncoding::TokenIds => PromptBody::Ids(token_ids(4, &mut generator(0, &["probe"])).collect()),
                PromptEncoding::Text(_) => PromptBody::Text(" time year".into()),
            };
            let answer = builder.probe(prompt).await?;
            let endpoint = &builder.spec.endpoint;
            if answer.status == 200 {
                builder.answered_by = answer.model.map(Arc::from);
                break;
            }
            if !matches!(answer.status, 400 | 422) {
                return Err(Error::new(format!("{endpoint} answered {}: {}", answer.status, answer.text)));
            }
            let named = builder.spec.exact_length.keys().any(|key| answer.text.contains(key.as_str()));
            if builder.spec.continuous && answer.text.contains("continuous_usage_stats") {
                notice.warn("the server refuses continuous_usage_stats: tokens are counted only at the end");
                builder.spec.continuous = false;
            } else if builder.usage && answer.text.contains("stream_options") {
                notice
                    .warn("the server refuses stream_options: tokens are counted by chunks, and TPOT is not reported");
                builder.usage = false;
            } else if named {
                let what = &builder.spec.exact_length;
                notice.warn(format!("the server refuses {what:?}: outputs may be shorter than requested"));
                builder.spec.exact_length = Map::new();
            } else if builder.form == PromptEncoding::TokenIds {
                notice.say("the server does not accept token ids as a prompt: sending text, sized by the server's own token counts");
                builder.form = PromptEncoding::Text(unsized_text.clone());
            } else {
                return Err(Error::new(format!("{endpoint} answered {}: {}", answer.status, answer.text)));
            }
        }
        if matches!(builder.form, PromptEncoding::Text(_)) && builder.spec.sized {
            let sizes = builder.sizes().await?;
            builder.template = Some(sizes.overhead).filter(|_| dialect == Endpoint::Chat);
            builder.form = PromptEncoding::Text(sizes);
        } else if dialect == Endpoint::Chat {
            let (four, eight) = (builder.count(WORDS[0], 4).await.ok(), builder.count(WORDS[0], 8).await.ok());
            builder.template = four.zip(eight).and_then(|(four, eight)| (2 * four).checked_sub(eight));
        }
        Ok(builder)
    }

    /// Whose answers its requests get.
    #[must_use]
    pub fn expected(&self) -> ExpectedAnswer {
        ExpectedAnswer { model: self.answered_by.clone(), choices: None }
    }

    /// Number of choices that a request asks for; `None` if that cannot be read.
    #[must_use]
    pub fn choices(&self, item: &WorkloadItem) -> Option<u32> {
        match item.extra.get("n").or(self.spec.extra.get("n")) {
            Some(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
            None => Some(1),
        }
    }

    /// How prompts are sent.
    #[must_use]
    pub fn prompt_form(&self) -> PromptForm {
        match self.form {
            PromptEncoding::TokenIds => PromptForm::TokenIds,
            PromptEncoding::Text(_) => PromptForm::Text,
        }
    }

    /// Number of tokens that the chat template adds to one message, as counted by the server; `None` without a template.
    #[must_use]
    pub fn template_tokens(&self) -> Option<u32> {
        self.template
    }

    /// The body of a request.
    ///
    /// # Errors
    /// When no prompt of that length is possible, or the endpoint does not accept prompts of that kind.
    pub fn body(&self, item: &WorkloadItem) -> Result<Vec<u8>> {
        let prompt = match &item.ask {
            PromptContent::Text(text) => PromptBody::Text(text.clone()),
            PromptContent::Messages(messages) if self.dialect == Endpoint::Chat => {
                PromptBody::Messages(messages.clone())
            }
            PromptContent::Messages(_) => {
                let why =
                    "has a row with a list of messages, which only a chat endpoint accepts: use /v1/chat/completions";
                return Err(Error::new(format!("the dataset {why}")));
            }
            PromptContent::Generated(pieces)
                if pieces.iter().map(|piece| u64::from(piece.tokens)).sum::<u64>() > u64::from(MAX_PROMPT_TOKENS) =>
            {
                return Err(Error::new(format!("a prompt has more than {MAX_PROMPT_TOKENS} tokens")));
            }
            PromptContent::Generated(pieces) => match &self.form {
                PromptEncoding::TokenIds => PromptBody::Ids(
                    pieces.iter().flat_map(|p| token_ids(p.tokens, &mut p.rng.clone()).collect::<Vec<_>>()).collect(),
                ),
                PromptEncoding::Text(sizes) => PromptBody::Messages(messages_of(pieces, sizes).map_err(Error::new)?),
            },
        };
        Ok(self.request(prompt, item.output, &item.extra).to_string().into_bytes())
    }

    fn request(&self, prompt: PromptBody, output: u32, own: &Members) -> Value {
        let spec = &self.spec;
        let members = || spec.exact_length.iter().chain(&spec.extra).chain(own);
        // Without a chat endpoint earlier turns are part of the text.
        let joined = |messages: Vec<Value>| messages.iter().filter_map(|m| m["content"].as_str()).collect::<String>();
        if self.dialect == Endpoint::Generate {
            let mut sampling = json!({"max_new_tokens": output});
            for (key, value) in members() {
                sampling[key] = value.clone();
            }
            let (key, value) = match prompt {
                PromptBody::Ids(ids) => ("input_ids", json!(ids)),
                PromptBody::Text(text) => ("text", json!(text)),
                PromptBody::Messages(messages) => ("text", json!(joined(messages))),
            };
            return json!({key: value, "sampling_params": sampling, "stream": spec.stream});
        }
        let mut body = json!({"model": spec.model, "max_tokens": output, "stream": spec.stream});
        let chat = self.dialect == Endpoint::Chat;
        match prompt {
            PromptBody::Ids(ids) => body["prompt"] = json!(ids),
            PromptBody::Text(text) if chat => body["messages"] = json!([{"role": "user", "content": text}]),
            PromptBody::Text(text) => body["prompt"] = json!(text),
            PromptBody::Messages(messages) if chat => body["messages"] = json!(messages),
            PromptBody::Messages(messages) => body["prompt"] = json!(joined(messages)),
        }
        if self.usage && spec.stream {
            body["stream_options"] = json!({"include_usage": true});
            if spec.continuous {
                body["stream_options"]["continuous_usage_stats"] = true.into();
            }
        }
        for (key, value) in members() {
            body[key] = value.clone();
        }
        body
    }

    async fn probe(&self, prompt: PromptBody) -> Result<BuilderProbe> {
        let lost = |e: crate::system::http::HttpFailure| {
            Error::new("the server did not answer").because(e).at(self.client.base().to_string())
        };
        let body = self.request(prompt, 1, &Members::new()).to_string().into_bytes();
        let endpoint = self.spec.endpoint.as_str();
        let exchange = async {
            let mut answer = self.client.post(endpoint, body).await.map_err(lost)?;
            let mut body = Vec::new();
            // The beginning of an answer that is cut off shows whether the server accepts the request.
            loop {
                match answer.read(&mut body).await {
                    // A server that does not end a small answer is found out by the requests that count.
                    Ok(Some(_)) if body.len() < MAX_PROBE => {}
                    Ok(_) => break,
                    Err(_) if !body.is_empty() => break,
                    Err(failure) => return Err(lost(failure)),
                }
            }
            Ok((answer, body))
        };
        let (answer, body) = tokio::time::timeout(self.limit, exchange).await.map_err(|_| {
            let why = format!("{endpoint} did not answer a small request within {} s", self.limit.as_secs_f64());
            Error::new(why).at(self.client.base().to_string())
        })??;
        let (mut input, mut error, mut failed, mut answered, mut model) = (None, None, None, false, None);
        let mut look = |data: &[u8]| {
            if let Ok(event) = Event::parse(data) {
                model = model.take().or(event.model);
                answered |= event.has_text || event.finish_reason.is_some();
                error = error.take().or(event.error);
                input = event.usage.and_then(|usage| usage.input).or(input);
            }
        };
        if self.spec.stream {
            let mut splitter = Splitter::default();
            let mut read = |part: Part<'_>| match part {
                Part::Data(data) | Part::Body(data) => look(data),
                Part::Error(words) => failed = Some(String::from_utf8_lossy(words).into_owned()),
            };
            splitter.push(&body, &mut read);
            splitter.end(&mut read);
        } else {
            look(&body)
        }
        let text = error_body::text(&body, answer.compressed.as_deref());
        // Redact before cutting: half a secret would not be recognized.
        let error = failed.or(error).map(|why| redact::outgoing(&why).chars().take(300).collect());
        Ok(BuilderProbe { status: answer.status, text, input, error, answered, model })
    }

    async fn count(&self, word: &str, times: usize) -> Result<u32> {
        let answer = self.probe(PromptBody::Text(format!(" {word}").repeat(times))).await?;
        let BuilderProbe { text, error, answered, .. } = answer;
        answer.input.ok_or_else(|| match error {
            Some(why) => Error::new(format!("the server answers small requests with an error: {why}")),
            None if !answered => Error::new(format!("the server answers small requests without a token: {text}")),
            None => Error::new(
                "the server does not report prompt tokens, so the length of a text cannot be set exactly: use a data set, or token ids (/v1/completions)",
            ),
        })
    }

    /// Finds the token count of each word from the difference between four and eight of them, and checks the result with a text.
    async fn sizes(&self) -> Result<Sizes> {
        let mut sizes = Sizes { words: Vec::new(), overhead: 0 };
        let mut overheads = Vec::new();
        for word in WORDS {
            let (four, eight) = (self.count(word, 4).await?, self.count(word, 8).await?);
            let each = eight.checked_sub(four).filter(|d| *d > 0 && d % 4 == 0).map_or(0, |d| d / 4);
            sizes.words.push(each);
            if each > 0 {
                overheads.push(four.saturating_sub(4 * each));
            }
        }
        overheads.sort_unstable();
        sizes.overhead = overheads.get(overheads.len() / 2).copied().unwrap_or(0);
        let asked = sizes.overhead + 60;
        let text = sizes.text(60, &mut generator(0, &["check"])).map_err(Error::new)?;
        let got = self.probe(PromptBody::Text(text)).await?.input.unwrap_or(0);
        // Words may have other counts next to other words: a length that is nearly right is accepted, and rows show it.
        if got.abs_diff(asked) * 20 > asked {
            return Err(Error::new(format!("a text sized for {asked} tokens has {got} tokens by the server's count")));
        }
        Ok(sizes)
    }
}

/// Generated pieces as messages, with consecutive pieces of one role joined. The tokens of the template are subtracted from the end.
fn messages_of(pieces: &[PromptPiece], sizes: &Sizes) -> Result<Vec<Value>, String> {
    let mut tokens: Vec<u32> = pieces.iter().map(|piece| piece.tokens).collect();
    let mut over = sizes.overhead;
    for left in tokens.iter_mut().rev() {
        let off = over.min(*left);
        *left -= off;
        over -= off;
    }
    let whole: u32 = pieces.iter().map(|piece| piece.tokens).sum();
    if whole <= sizes.overhead {
        let why = format!(
            "a prompt of {whole} tokens is not possible: the chat template alone has {} tokens",
            sizes.overhead
        );
        return Err(why);
    }
    let mut messages: Vec<Value> = Vec::new();
    for (piece, tokens) in pieces.iter().zip(tokens) {
        let text = sizes.text(tokens, &mut piece.rng.clone())?;
        let role = if piece.answer { "assistant" } else { "user" };
        match messages.last_mut().filter(|last| last["role"] == role) {
            Some(Value::Object(last)) => {
                if let Some(Value::String(content)) = last.get_mut("content") {
                    content.push_str(&text);
                }
            }
            _ => messages.push(json!({"role": role, "content": text})),
        }
    }
    Ok(messages)
}
