//! The least that a client of a stream can do: read it and parse each event, over sockets or over hyper. One thread,
//! connections kept alive; it knows its server and checks nothing.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// The end of a body in HTTP chunks.
const END: &[u8] = b"\r\n0\r\n\r\n";
struct Floor {
    address: String,
    request: Vec<u8>,
    left: Cell<usize>,
    hyper: bool,
    buffer: RefCell<Vec<u8>>,
    chunks: Cell<usize>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(default, rename = "usage")]
    _usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow, default, rename = "finish_reason")]
    _finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(rename = "completion_tokens")]
    _completion_tokens: u32,
}

/// Arguments: the server's URL, streams, requests, tokens of an answer, `sockets` or `hyper`. Prints what it did as bench-load's rows would say it.
pub fn run(args: &[String]) {
    let [url, streams, requests, tokens, how] = args else { panic!("{args:?}") };
    let ids = (1000..1100).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let body = format!(
        r#"{{"model":"truth","max_tokens":{tokens},"stream":true,"prompt":[{ids}],"stream_options":{{"include_usage":true}}}}"#
    );
    let head = "POST /v1/completions HTTP/1.1\r\nhost: truth\r\ncontent-type: application/json\r\n";
    let (requests, each): (usize, usize) = (requests.parse().unwrap(), tokens.parse().unwrap());
    let floor = Rc::new(Floor {
        address: url.trim_start_matches("http://").into(),
        request: match how.as_str() {
            "hyper" => body.into_bytes(),
            _ => format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes(),
        },
        left: Cell::new(requests),
        hyper: how == "hyper",
        buffer: RefCell::new(vec![0; 1 << 16]),
        chunks: Cell::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let begun = Instant::now();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let streams = (0..streams.parse().unwrap()).map(|_| tokio::task::spawn_local(stream(floor.clone())));
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
    });
    let chunks = floor.chunks.get();
    assert_eq!(chunks, requests * each, "events were lost");
    let line = format!("{{\"chunks\":{chunks},\"duration_s\":{}}}\n", begun.elapsed().as_secs_f64());
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

async fn stream(floor: Rc<Floor>) {
    let stream = TcpStream::connect(&floor.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    if floor.hyper {
        return over_hyper(&floor, stream).await;
    }
    while let Some(left) = floor.left.get().checked_sub(1) {
        floor.left.set(left);
        // A request fits the socket's buffer.
        assert_eq!(stream.try_write(&floor.request).unwrap(), floor.request.len());
        answer(&floor, &stream).await;
    }
}

async fn over_hyper(floor: &Floor, stream: TcpStream) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    let mut line = Vec::new();
    while let Some(left) = floor.left.get().checked_sub(1) {
        floor.left.set(left);
        let request = hyper::Request::post("/v1/completions").header("host", "truth");
        let body = Full::new(Bytes::from(floor.request.clone()));
        let request = request.header("content-type", "application/json").body(body).unwrap();
        sender.ready().await.unwrap();
        let mut answer = sender.send_request(request).await.unwrap();
        while let Some(frame) = answer.frame().await {
            if let Some(data) = frame.unwrap().data_ref() {
                lines(floor, data, &mut line);
            }
        }
    }
}

async fn answer(floor: &Floor, stream: &TcpStream) {
    let (mut tail, mut line) = (Vec::with_capacity(2 * END.len()), Vec::new());
    while tail != END {
        stream.readable().await.unwrap();
        let mut buffer = floor.buffer.borrow_mut();
        let read = match stream.try_read(&mut buffer) {
            Ok(0) => panic!("the stream ended early"),
            Ok(n) => &buffer[..n],
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(e) => panic!("{e}"),
        };
        lines(floor, read, &mut line);
        tail.extend_from_slice(&read[read.len().saturating_sub(END.len())..]);
        tail.drain(..tail.len().saturating_sub(END.len()));
    }
}

/// The lines of the body, its HTTP chunks' frames among them, which are no data.
fn lines(floor: &Floor, mut read: &[u8], begun: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\n', read) {
        if begun.is_empty() {
            event(floor, &read[..at]);
        } else {
            begun.extend_from_slice(&read[..at]);
            event(floor, begun);
            begun.clear();
        }
        read = &read[at + 1..];
    }
    begun.extend_from_slice(read);
}

fn event(floor: &Floor, line: &[u8]) {
    let Some(data) = line.strip_prefix(b"data: ").filter(|data| *data != b"[DONE]") else { return };
    let event: Event = serde_json::from_slice(data).unwrap();
    let tokens = event.choices.iter().filter(|choice| !choice.text.is_empty()).count();
    floor.chunks.set(floor.chunks.get() + tokens);
}
