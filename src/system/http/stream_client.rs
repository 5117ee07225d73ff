//! How one thread of a load sends requests and reads streams.

use std::sync::Arc;

use super::answer::HttpAnswer;
use super::client::HttpClient;
use super::exchange::Exchange;
use super::failure::HttpFailure;
use super::wire::Wire;

/// The client of one thread, with connections of its own.
#[derive(Debug, Clone)]
pub enum StreamClient {
    /// Plain HTTP, and the number of the thread.
    Wire(Arc<Wire>, usize),
    /// https.
    Reqwest(HttpClient),
}

/// A request that left, or is about to.
#[derive(Debug)]
pub enum Departure {
    /// It was written.
    Wire(Exchange),
    /// Sending it and waiting for its head is one step.
    Reqwest(HttpClient, String, Vec<u8>),
}

impl StreamClient {
    /// Sends a request, as far as the way to the server allows without waiting for the answer.
    ///
    /// # Errors
    /// When no connection can be made.
    pub async fn depart(&self, path: &str, body: Vec<u8>) -> Result<Departure, HttpFailure> {
        match self {
            Self::Wire(wire, home) => Ok(Departure::Wire(wire.connect(*home, path, &body).await?)),
            Self::Reqwest(client) => Ok(Departure::Reqwest(client.clone(), path.to_string(), body)),
        }
    }
}

impl Departure {
    /// Waits for the head of the response.
    ///
    /// # Errors
    /// When no head arrived.
    pub async fn answer(self) -> Result<HttpAnswer, HttpFailure> {
        match self {
            Self::Wire(exchange) => Ok(HttpAnswer::of_wire(exchange.head().await?)),
            Self::Reqwest(client, path, body) => client.post(&path, body).await,
        }
    }
}
