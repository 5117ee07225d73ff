//! How one server is asked: the body of a request, and what the server takes of it, found out before the warm-up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::schedule::generator;
use super::workload::{PromptContent, PromptPiece, Sizes, WORDS, WorkloadItem, token_ids};
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::redact;
use crate::engines::framework::{MetricMapping, MetricsEndpoint};
use crate::engines::prometheus;
use crate::engines::protocol::event::Event;
use crate::engines::protocol::sse::{Part, Splitter};
use crate::rows::kinds::Members;
use crate::rows::words::Endpoint;
use crate::system::http::HttpClient;

/// How long the server's counters may take to be shown.
const COUNTERS: Duration = Duration::from_secs(5);

/// How prompts are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PromptForm {
    TokenIds,
    Text(Sizes),
}

/// What is to be asked of a server, before it is known what it takes of it.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// Path of the endpoint.
    pub endpoint: Endpoint,
    /// The model's id.
    pub model: String,
    /// Members of every body.
    pub extra: Members,
    /// Members that make answers as long as asked.
    pub exact_length: Members,
    /// It takes token ids as prompt.
    pub ids: bool,
    /// Some prompt is made up, to an exact length.
    pub sized: bool,
    /// Answers come in pieces.
    pub stream: bool,
    /// And every piece says how many tokens there are so far.
    pub continuous: bool,
}

/// How one server is asked.
#[derive(Debug)]
pub struct RequestBuilder {
    /// The client of this server.
    pub client: HttpClient,
    /// What it is asked, without what it refuses.
    pub asking: RequestSpec,
    dialect: Endpoint,
    usage: bool,
    form: PromptForm,
    template: Option<u32>,
    limit: Duration,
    metrics: Option<MetricsEndpoint>,
}

/// The answer to a small request.
struct SmallAnswer {
    status: u16,
    text: String,
    input: Option<u32>,
}

/// A prompt as a body takes it.
enum PromptBody {
    Ids(Vec<u32>),
    Text(String),
    Messages(Vec<Value>),
}

impl RequestBuilder {
    /// The same, which also reads the server's own counters.
    #[must_use]
    pub fn with_metrics(self, metrics: Option<MetricsEndpoint>) -> Self {
        Self { metrics, ..self }
    }

    /// The server's counters now; `None` where it has none to show.
    pub async fn counters(&self) -> Option<BTreeMap<String, f64>> {
        let path = &self.metrics.as_ref()?.path;
        let (status, body) = tokio::time::timeout(COUNTERS, self.client.get(path)).await.ok()?.ok()?;
        (status == 200).then(|| prometheus::parse(&String::from_utf8_lossy(&body)))
    }

    /// What they tell.
    #[must_use]
    pub fn told(&self) -> &[MetricMapping] {
        self.metrics.as_ref().map_or(&[], |metrics| &metrics.mappings)
    }

    /// Empties the server's prefix cache.
    ///
    /// # Errors
    /// A sentence why it is not known to be empty.
    pub async fn reset_cache(&self, path: Option<&str>) -> Result<(), String> {
        let path = path.ok_or("the framework definition has no reset_path: leave out `cache: reset`")?;
        let asking = async {
            let answer = self.client.post(path, Vec::new()).await.map_err(|e| e.why)?;
            if answer.status == 200 { Ok(()) } else { Err(format!("it answers {}", answer.status)) }
        };
        let said = tokio::time::timeout(self.limit, asking).await.unwrap_or_else(|_| Err("it does not answer".into()));
        said.map_err(|why| {
            format!(
                "the cache was not emptied by POST {path}: {why}; vLLM has it only with VLLM_SERVER_DEV_MODE=1 in env"
            )
        })
    }

    /// Finds out what the server takes: token ids, members for the exact length, usage in the stream.
    ///
    /// # Errors
    /// When it takes no form of request, or the size of a text cannot be told.
    pub async fn find(client: HttpClient, asking: RequestSpec, limit: Duration, notice: &Notice) -> Result<Self> {
        let unsized_text = Sizes { words: vec![1; WORDS.len()], overhead: 0 };
        let dialect = asking.endpoint;
        let ids = asking.ids && asking.sized && dialect != Endpoint::Chat;
        let form = if ids { PromptForm::TokenIds } else { PromptForm::Text(unsized_text.clone()) };
        let mut asker = Self { client, asking, dialect, usage: true, form, template: None, limit, metrics: None };
        loop {
            let prompt = match asker.form {
                PromptForm::TokenIds => PromptBody::Ids(token_ids(4, &mut generator(0, &["probe"])).collect()),
                PromptForm::Text(_) => PromptBody::Text(" time year".into()),
            };
            let small = asker.small(prompt).await?;
            let endpoint = &asker.asking.endpoint;
            if small.status == 200 {
                break;
            }
            if !matches!(small.status, 400 | 422) {
                return Err(Error::new(format!("{endpoint} answers {}: {}", small.status, small.text)));
            }
            let named = asker.asking.exact_length.keys().any(|key| small.text.contains(key.as_str()));
            if asker.asking.continuous && small.text.contains("continuous_usage_stats") {
                notice.warn("the server refuses continuous_usage_stats: it counts tokens only at the end");
                asker.asking.continuous = false;
            } else if asker.usage && small.text.contains("stream_options") {
                notice.warn("the server refuses stream_options: tokens are counted by chunks, and TPOT is not given");
                asker.usage = false;
            } else if named {
                let what = &asker.asking.exact_length;
                notice.warn(format!("the server refuses {what:?}: answers may be shorter than asked"));
                asker.asking.exact_length = Map::new();
            } else if asker.form == PromptForm::TokenIds {
                notice.say("the server takes no token ids as prompt: prompts are text, sized by its own usage");
                asker.form = PromptForm::Text(unsized_text.clone());
            } else {
                return Err(Error::new(format!("{endpoint} answers {}: {}", small.status, small.text)));
            }
        }
        if matches!(asker.form, PromptForm::Text(_)) && asker.asking.sized {
            let sizes = asker.sizes().await?;
            asker.template = Some(sizes.overhead).filter(|_| dialect == Endpoint::Chat);
            asker.form = PromptForm::Text(sizes);
        } else if dialect == Endpoint::Chat {
            let (four, eight) = (asker.count(WORDS[0], 4).await.ok(), asker.count(WORDS[0], 8).await.ok());
            asker.template = four.zip(eight).and_then(|(four, eight)| (2 * four).checked_sub(eight));
        }
        Ok(asker)
    }

    /// `token_ids` or `text`.
    #[must_use]
    pub fn prompt_form(&self) -> &'static str {
        if self.form == PromptForm::TokenIds { "token_ids" } else { "text" }
    }

    /// Tokens that the chat template adds to one message, as the server counts; `None` without a template.
    #[must_use]
    pub fn template_tokens(&self) -> Option<u32> {
        self.template
    }

    /// The body of a request.
    ///
    /// # Errors
    /// When no prompt of that length is possible, or the endpoint takes no prompt of that kind.
    pub fn body(&self, item: &WorkloadItem) -> Result<Vec<u8>> {
        let prompt = match &item.ask {
            PromptContent::Text(text) => PromptBody::Text(text.clone()),
            PromptContent::Messages(messages) if self.dialect == Endpoint::Chat => {
                PromptBody::Messages(messages.clone())
            }
            PromptContent::Messages(_) => {
                let why =
                    "has a row with a list of messages, which only a chat endpoint takes: ask /v1/chat/completions";
                return Err(Error::new(format!("the data set {why}")));
            }
            PromptContent::Made(pieces) => match &self.form {
                PromptForm::TokenIds => PromptBody::Ids(
                    pieces.iter().flat_map(|p| token_ids(p.tokens, &mut p.rng.clone()).collect::<Vec<_>>()).collect(),
                ),
                PromptForm::Text(sizes) => PromptBody::Messages(spoken(pieces, sizes).map_err(Error::new)?),
            },
        };
        Ok(self.request(prompt, item.output, &item.extra).to_string().into_bytes())
    }

    fn request(&self, prompt: PromptBody, output: u32, own: &Members) -> Value {
        let asking = &self.asking;
        let members = || asking.exact_length.iter().chain(&asking.extra).chain(own);
        // Where there is no chat, what was said before is a part of the text.
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
            return json!({key: value, "sampling_params": sampling, "stream": asking.stream});
        }
        let mut body = json!({"model": asking.model, "max_tokens": output, "stream": asking.stream});
        let chat = self.dialect == Endpoint::Chat;
        match prompt {
            PromptBody::Ids(ids) => body["prompt"] = json!(ids),
            PromptBody::Text(text) if chat => body["messages"] = json!([{"role": "user", "content": text}]),
            PromptBody::Text(text) => body["prompt"] = json!(text),
            PromptBody::Messages(messages) if chat => body["messages"] = json!(messages),
            PromptBody::Messages(messages) => body["prompt"] = json!(joined(messages)),
        }
        if self.usage && asking.stream {
            body["stream_options"] = json!({"include_usage": true});
            if asking.continuous {
                body["stream_options"]["continuous_usage_stats"] = true.into();
            }
        }
        for (key, value) in members() {
            body[key] = value.clone();
        }
        body
    }

    async fn small(&self, prompt: PromptBody) -> Result<SmallAnswer> {
        let lost = |e: crate::system::http::HttpFailure| {
            Error::new("the server does not answer").because(e).at(self.client.base().to_string())
        };
        let body = self.request(prompt, 1, &Members::new()).to_string().into_bytes();
        let endpoint = self.asking.endpoint.as_str();
        let asked = async {
            let mut answer = self.client.post(endpoint, body).await.map_err(lost)?;
            let body = answer.body().await.map_err(lost)?;
            Ok((answer, body))
        };
        let (answer, body) = tokio::time::timeout(self.limit, asked).await.map_err(|_| {
            let why = format!("{endpoint} does not answer a small request within {} s", self.limit.as_secs_f64());
            Error::new(why).at(self.client.base().to_string())
        })??;
        let mut input = None;
        let mut look = |data: &[u8]| {
            if let Ok(event) = Event::parse(data) {
                input = event.usage.and_then(|usage| usage.input).or(input);
            }
        };
        if self.asking.stream {
            // Who fails here has counted nothing.
            Splitter::default().push(&body, |part| match part {
                Part::Data(data) => look(data),
                Part::Error(_) => {}
            });
        } else {
            look(&body)
        }
        // Before it is cut: half a secret is found by nobody.
        let text = redact::outgoing(&String::from_utf8_lossy(&body)).chars().take(300).collect();
        Ok(SmallAnswer { status: answer.status, text, input })
    }

    async fn count(&self, word: &str, times: usize) -> Result<u32> {
        let small = self.small(PromptBody::Text(format!(" {word}").repeat(times))).await?;
        small
            .input
            .ok_or_else(|| Error::new("the server counts no prompt tokens, so a text cannot be given an exact length"))
    }

    /// Asks for the size of each word by the difference between four and eight of them, and checks what follows from it.
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
        let got = self.small(PromptBody::Text(text)).await?.input.unwrap_or(0);
        // A word may be counted otherwise beside others: then the length is only nearly what was asked, and rows say so.
        if got.abs_diff(asked) * 20 > asked {
            return Err(Error::new(format!("a text sized for {asked} tokens has {got} by the server's usage")));
        }
        Ok(sizes)
    }
}

/// Made-up pieces as messages: what one side says in a row is one. The template's own tokens are taken off the end.
fn spoken(pieces: &[PromptPiece], sizes: &Sizes) -> Result<Vec<Value>, String> {
    let mut tokens: Vec<u32> = pieces.iter().map(|piece| piece.tokens).collect();
    let mut over = sizes.overhead;
    for left in tokens.iter_mut().rev() {
        let off = over.min(*left);
        *left -= off;
        over -= off;
    }
    let whole: u32 = pieces.iter().map(|piece| piece.tokens).sum();
    if whole <= sizes.overhead {
        let why = format!("a prompt of {whole} tokens is not possible: the chat template alone has {}", sizes.overhead);
        return Err(why);
    }
    let mut messages: Vec<Value> = Vec::new();
    for (piece, tokens) in pieces.iter().zip(tokens) {
        let text = sizes.text(tokens, &mut piece.rng.clone())?;
        let role = if piece.answer { "assistant" } else { "user" };
        match messages.last_mut().filter(|last| last["role"] == role) {
            Some(Value::Object(last)) => {
                if let Some(Value::String(said)) = last.get_mut("content") {
                    said.push_str(&text);
                }
            }
            _ => messages.push(json!({"role": role, "content": text})),
        }
    }
    Ok(messages)
}
