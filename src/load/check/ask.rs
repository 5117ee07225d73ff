//! Asking one question: the request, and the answer as a whole text.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::load_answer::LoadAnswer;
use crate::base::redact;
use crate::rows::kinds::Members;
use crate::rows::words::Endpoint;
use crate::system::http::HttpClient;

/// Members of the user's requests that would make an answer another one than the greedy, change its length or its form, or put another
/// question.
const NOT_GREEDY: &[&str] = &[
    "model",
    "messages",
    "prompt",
    "n",
    "best_of",
    "use_beam_search",
    "length_penalty",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "ignore_eos",
    "min_tokens",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "stop_token_ids",
    "bad_words",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "echo",
    "response_format",
    "structured_outputs",
    "stream_options",
];

/// How questions are put to a server.
#[derive(Debug, Clone)]
pub struct Asker {
    client: HttpClient,
    /// Chat, where the server has it.
    pub endpoint: Endpoint,
    model: String,
    extra: Members,
    limit: Duration,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerAnswer {
    /// Its text, without reasoning that the server keeps apart.
    pub text: String,
    /// The model ended it.
    pub ended: bool,
    /// The token limit cut it.
    pub cut: bool,
    /// Tokens by the server's count.
    pub tokens: Option<u32>,
    /// It has bytes or characters that are not text.
    pub invalid_utf8: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MissingAnswer {
    /// The status, if the server said something.
    status: Option<u16>,
    why: String,
}

impl MissingAnswer {
    fn of(why: impl ToString) -> Self {
        Self { status: None, why: why.to_string() }
    }

    /// True if the endpoint may be missing; a server that is busy or does not answer has it.
    fn may_be_missing(&self) -> bool {
        self.status.is_some_and(|status| !matches!(status, 408 | 429 | 502..=504))
    }
}

/// The members of the user's requests that a question has too.
fn asked_too(extra: &Members) -> Members {
    let kept = extra.iter().filter(|(key, _)| !NOT_GREEDY.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl Asker {
    /// Finds the endpoint that answers: chat, otherwise completions. A check and its reference need the same one, so a busy server is no
    /// reason to ask at the other.
    ///
    /// # Errors
    /// What the server said if neither does.
    pub async fn find(client: HttpClient, model: &str, extra: &Members, limit: Duration) -> Result<Self, String> {
        let mut asker = Self { client, endpoint: Endpoint::Chat, model: model.into(), extra: asked_too(extra), limit };
        let Err(chat) = asker.exchange("Say yes.", 4).await else { return Ok(asker) };
        if !chat.may_be_missing() {
            return Err(format!("{}: {}", Endpoint::Chat, chat.why));
        }
        asker.endpoint = Endpoint::Completions;
        match asker.ask("Say yes.", 4).await {
            Ok(_) => Ok(asker),
            Err(why) => Err(format!("{}: {}; {}: {why}", Endpoint::Chat, chat.why, Endpoint::Completions)),
        }
    }

    fn body(&self, prompt: &str, max_tokens: u32) -> Vec<u8> {
        let mut body = json!({"model": self.model});
        match self.endpoint {
            Endpoint::Chat => body["messages"] = json!([{"role": "user", "content": prompt}]),
            // A base model goes on where an answer begins.
            Endpoint::Completions | Endpoint::Generate => body["prompt"] = json!(format!("{prompt}\nAnswer:")),
        }
        for (key, value) in &self.extra {
            body[key] = value.clone();
        }
        body["max_tokens"] = json!(max_tokens);
        body["temperature"] = json!(0);
        body["stream"] = json!(false);
        body.to_string().into_bytes()
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// Why there is no answer, without secrets.
    pub async fn ask(&self, prompt: &str, max_tokens: u32) -> Result<ServerAnswer, String> {
        self.exchange(prompt, max_tokens).await.map_err(|missing| missing.why)
    }

    async fn exchange(&self, prompt: &str, max_tokens: u32) -> Result<ServerAnswer, MissingAnswer> {
        let exchange = async {
            let body = self.body(prompt, max_tokens);
            let mut answer =
                self.client.post(self.endpoint.as_str(), body).await.map_err(|e| MissingAnswer::of(e.why))?;
            let status = answer.status;
            let body = answer.body().await.map_err(|e| MissingAnswer::of(e.why))?;
            let read = match status {
                200 => ServerAnswer::read(&body),
                _ => Err(format!("status {status}: {}", String::from_utf8_lossy(&body))),
            };
            read.map_err(|why| MissingAnswer { status: Some(status), why })
        };
        let read = timeout(self.limit, exchange).await.unwrap_or_else(|_| Err(MissingAnswer::of("no answer in time")));
        read.map_err(|missing| {
            let why = redact::outgoing(&missing.why).chars().take(200).collect();
            MissingAnswer { why, ..missing }
        })
    }

    /// Sends a request of the running load; its text, as far as it came. What else becomes of it is measured elsewhere.
    pub async fn load(client: HttpClient, endpoint: Endpoint, body: Vec<u8>, limit: Duration) -> String {
        let mut text = LoadAnswer::default();
        let exchange = async {
            if let Ok(mut answer) = client.post(endpoint.as_str(), body).await {
                let mut bytes = Vec::new();
                while matches!(answer.read(&mut bytes).await, Ok(Some(_))) {
                    text.push(&bytes);
                    bytes.clear();
                }
            }
        };
        let _ = timeout(limit, exchange).await;
        text.text()
    }

    /// Its client.
    pub fn client(&self) -> HttpClient {
        self.client.clone()
    }
}

impl ServerAnswer {
    /// Reads a whole answer.
    ///
    /// # Errors
    /// A body that is none.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(body);
        let json: Value = serde_json::from_str(&text).map_err(|e| format!("not an answer: {e}: {text}"))?;
        let choice = &json["choices"][0];
        if !choice.is_object() {
            return Err(format!("not an answer: {json}"));
        }
        let said = [&choice["message"]["content"], &choice["text"]].into_iter().find_map(Value::as_str);
        let said = said.unwrap_or_default().to_string();
        let finish = choice["finish_reason"].as_str().unwrap_or_default();
        let tokens = json["usage"]["completion_tokens"].as_u64().and_then(|n| u32::try_from(n).ok());
        let invalid_utf8 = std::str::from_utf8(body).is_err() || said.contains(char::REPLACEMENT_CHARACTER);
        Ok(Self { cut: finish == "length", ended: finish == "stop", text: said, tokens, invalid_utf8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_short_greedy_and_its_own_whatever_the_user_asks_for() {
        let extra = json!({"logprobs": true, "top_logprobs": 5, "echo": true, "stop_token_ids": [1], "top_p": 0.9,
                           "messages": [], "chat_template_kwargs": {"enable_thinking": false}});
        let kept = asked_too(&serde_json::from_value(extra).unwrap());
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["chat_template_kwargs"]);
    }

    #[test]
    fn only_a_missing_endpoint_is_a_reason_for_the_other_one() {
        let may = |status| MissingAnswer { status, why: String::new() }.may_be_missing();
        assert!([400, 404, 405, 422, 500, 501].map(Some).into_iter().all(may));
        assert!(![None, Some(408), Some(429), Some(503), Some(504)].into_iter().any(may));
    }

    #[test]
    fn answers_of_both_endpoints() {
        let chat =
            br#"{"choices":[{"message":{"content":"42"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}"#;
        let wanted = ServerAnswer { text: "42".into(), ended: true, tokens: Some(2), ..ServerAnswer::default() };
        assert_eq!(ServerAnswer::read(chat), Ok(wanted));
        let cut = ServerAnswer::read(br#"{"choices":[{"text":"4","finish_reason":"length"}]}"#).unwrap();
        assert!(cut.cut && !cut.ended && cut.tokens.is_none());
        let thought =
            br#"{"choices":[{"message":{"content":null,"reasoning_content":"hm"},"finish_reason":"length"}]}"#;
        assert_eq!(ServerAnswer::read(thought).unwrap().text, "");
        let odd = ServerAnswer::read(b"{\"choices\":[{\"text\":\"\xff\",\"finish_reason\":\"stop\"}]}").unwrap();
        assert!(odd.invalid_utf8);
        assert!(ServerAnswer::read(br#"{"error":"no"}"#).is_err() && ServerAnswer::read(b"<html>").is_err());
    }
}
