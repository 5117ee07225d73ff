//! HTTP for probes and load: bytes in, bytes out, with the time at which they came.
//!
//! No proxy, no redirects, no retries: everything that happens to a request is visible. HTTP/1.1 only, as the frameworks
//! serve it. Only `client`, `answer`, `options`, `wire` and `failure` use reqwest.
//!
//! The requests of a load go over [`Wire`], which reads the socket itself, wherever the URL is http://. reqwest and hyper hand on
//! each HTTP chunk by itself, from one task to another, and the time of its read is lost on the way.

mod answer;
mod client;
mod exchange;
mod failure;
mod framing;
mod head;
mod options;
mod pool;
mod stream_client;
mod wire;

pub use self::answer::{HttpAnswer, MAX_BODY};
pub use self::client::HttpClient;
pub use self::exchange::Exchange;
pub use self::failure::HttpFailure;
pub use self::options::ClientOptions;
pub use self::stream_client::{Departure, StreamClient};
pub use self::wire::Wire;
