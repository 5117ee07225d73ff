//! How one server is asked: the body of a request, and what the server takes of it, found out before the warm-up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::answer::Event;
use crate::error::{Error, Result};
use crate::exposition;
use crate::framework::{Metrics, Told};
use crate::http::Client;
use crate::notice::Notice;
use crate::schedule::generator;
use crate::schema::Members;
use crate::sse::Splitter;
use crate::workload::{Purpose, Sizes, WORDS, prompt_generator, token_ids};

/// How long the server's counters may take to be shown.
const COUNTERS: Duration = Duration::from_secs(5);

/// How prompts are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    TokenIds,
    Text(Sizes),
}

/// How one server is asked.
#[derive(Debug)]
pub struct Asker {
    /// The client of this server.
    pub client: Client,
    /// Path of the endpoint.
    pub endpoint: String,
    model: String,
    extra: Members,
    exact_length: Members,
    usage: bool,
    form: Form,
    limit: Duration,
    metrics: Option<Metrics>,
}

/// The answer to a small request.
struct Small {
    status: u16,
    text: String,
    input: Option<u32>,
}

impl Asker {
    /// The same, which also reads the server's own counters.
    #[must_use]
    pub fn with_metrics(self, metrics: Option<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// The server's counters now; `None` where it has none to show.
    pub async fn counters(&self) -> Option<BTreeMap<String, f64>> {
        let path = &self.metrics.as_ref()?.path;
        let (status, body) = tokio::time::timeout(COUNTERS, self.client.get(path)).await.ok()?.ok()?;
        (status == 200).then(|| exposition::parse(&String::from_utf8_lossy(&body)))
    }

    /// What they tell.
    #[must_use]
    pub fn told(&self) -> &[Told] {
        self.metrics.as_ref().map_or(&[], |metrics| &metrics.told)
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
    pub async fn find(
        client: Client,
        endpoint: &str,
        model: &str,
        extra: &Members,
        (exact_length, ids): (Members, bool),
        limit: Duration,
        notice: &Notice,
    ) -> Result<Self> {
        let unsized_text = Sizes { words: vec![1; WORDS.len()], overhead: 0 };
        let form = if ids && !endpoint.contains("chat") { Form::TokenIds } else { Form::Text(unsized_text.clone()) };
        let mut asker = Self {
            client,
            endpoint: endpoint.into(),
            model: model.into(),
            extra: extra.clone(),
            exact_length,
            usage: true,
            form,
            limit,
            metrics: None,
        };
        loop {
            let prompt = match asker.form {
                Form::TokenIds => token_ids(4, &mut generator(0, &["probe"])),
                Form::Text(_) => " time year".into(),
            };
            let small = asker.small(&prompt).await?;
            if small.status == 200 {
                break;
            }
            if !matches!(small.status, 400 | 422) {
                return Err(Error::new(format!("{endpoint} answers {}: {}", small.status, small.text)));
            }
            let named = asker.exact_length.keys().any(|key| small.text.contains(key.as_str()));
            if asker.usage && small.text.contains("stream_options") {
                notice.warn("the server refuses stream_options: tokens are counted by chunks, and TPOT is not given");
                asker.usage = false;
            } else if named {
                notice.warn(format!("the server refuses {:?}: answers may be shorter than asked", asker.exact_length));
                asker.exact_length = Map::new();
            } else if asker.form == Form::TokenIds {
                notice.say("the server takes no token ids as prompt: prompts are text, sized by its own usage");
                asker.form = Form::Text(unsized_text.clone());
            } else {
                return Err(Error::new(format!("{endpoint} answers {}: {}", small.status, small.text)));
            }
        }
        if matches!(asker.form, Form::Text(_)) {
            asker.form = Form::Text(asker.sizes().await?);
        }
        Ok(asker)
    }

    /// `token_ids` or `text`.
    #[must_use]
    pub fn prompt_form(&self) -> &'static str {
        if self.form == Form::TokenIds { "token_ids" } else { "text" }
    }

    /// The body of the `i`-th request of a purpose.
    ///
    /// # Errors
    /// When no prompt of that length is possible.
    pub fn body(&self, seed: u64, purpose: &Purpose, i: u32, input: u32, output: u32) -> Result<Vec<u8>> {
        let mut rng = prompt_generator(seed, purpose, i);
        let prompt = match &self.form {
            Form::TokenIds => token_ids(input, &mut rng),
            Form::Text(sizes) => sizes.text(input, &mut rng).map_err(Error::new)?.into(),
        };
        Ok(self.request(&prompt, output).to_string().into_bytes())
    }

    fn request(&self, prompt: &Value, output: u32) -> Value {
        let mut body = json!({"model": self.model, "max_tokens": output, "stream": true});
        if self.endpoint.contains("chat") {
            body["messages"] = json!([{"role": "user", "content": prompt}]);
        } else {
            body["prompt"] = prompt.clone();
        }
        if self.usage {
            body["stream_options"] = json!({"include_usage": true});
        }
        for (key, value) in self.exact_length.iter().chain(&self.extra) {
            body[key] = value.clone();
        }
        body
    }

    async fn small(&self, prompt: &Value) -> Result<Small> {
        let lost = |e: crate::http::Failure| {
            Error::new("the server does not answer").because(e).at(self.client.base().to_string())
        };
        let body = self.request(prompt, 1).to_string().into_bytes();
        let asked = async {
            let mut answer = self.client.post(&self.endpoint, body).await.map_err(lost)?;
            let body = answer.body().await.map_err(lost)?;
            Ok((answer, body))
        };
        let (answer, body) = tokio::time::timeout(self.limit, asked).await.map_err(|_| {
            let why =
                format!("{} does not answer a small request within {} s", self.endpoint, self.limit.as_secs_f64());
            Error::new(why).at(self.client.base().to_string())
        })??;
        let mut input = None;
        Splitter::default().push(&body, |data| {
            if let Ok(event) = Event::parse(data) {
                input = event.usage.and_then(|usage| usage.input).or(input);
            }
        });
        let text = String::from_utf8_lossy(&body).chars().take(300).collect();
        Ok(Small { status: answer.status, text, input })
    }

    async fn count(&self, word: &str, times: usize) -> Result<u32> {
        let small = self.small(&format!(" {word}").repeat(times).into()).await?;
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
        let text = sizes.text(asked, &mut generator(0, &["check"])).map_err(Error::new)?;
        let got = self.small(&text.into()).await?.input.unwrap_or(0);
        // A word may be counted otherwise beside others: then the length is only nearly what was asked, and rows say so.
        if got.abs_diff(asked) * 20 > asked {
            return Err(Error::new(format!("a text sized for {asked} tokens has {got} by the server's usage")));
        }
        Ok(sizes)
    }
}
