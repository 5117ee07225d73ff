//! The threads that send requests and read answers, each with an event loop and connections of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};

use super::count::{CountMark, LiveCount};
use super::pace::{READING, wake_in_time};
use super::request::{FollowSettings, Outgoing, RequestOutcome, send};
use crate::base::error::{Context, Error, Result};
use crate::rows::kinds::Request;
use crate::system::http::{ClientOptions, Exchange, HttpClient, StreamClient, Wire};

type Task = Box<dyn FnOnce(StreamClient) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What a thread is to do.
enum ThreadCommand {
    Run(Task),
    /// Drop every task, and say so.
    Clear(oneshot::Sender<()>),
}

struct WorkerThread {
    /// `None` once the thread is to end.
    commands: Option<UnboundedSender<ThreadCommand>>,
    /// Number of sessions that it follows.
    busy: LiveCount,
    thread: Option<JoinHandle<()>>,
}

/// The threads of one server's load.
pub struct WorkerThreads {
    each: Vec<WorkerThread>,
    /// `None` for https.
    wire: Option<Arc<Wire>>,
}

impl WorkerThreads {
    /// Starts so many threads for the server at `base`.
    ///
    /// # Errors
    /// As [`HttpClient::new`], or when a thread cannot start.
    pub fn start(threads: usize, base: &str, options: &ClientOptions) -> Result<Self> {
        let wire = Wire::new(base, options, threads)?.map(Arc::new);
        let mut each = Vec::new();
        let (say, ready) = std::sync::mpsc::channel();
        for home in 0..threads {
            let (commands, receiver) = unbounded_channel();
            let runtime = Builder::new_current_thread().enable_all().build().context("cannot start")?;
            let (wire, base, options, say) = (wire.clone(), base.to_string(), options.clone(), say.clone());
            let run = move || {
                wake_in_time(READING);
                let client = match wire {
                    Some(wire) => Ok(StreamClient::Wire(wire, home)),
                    None => HttpClient::new(&base, &options).map(StreamClient::Reqwest),
                };
                // Who started this thread waits for it.
                let _ = say.send(client.as_ref().map(|_| ()).map_err(ToString::to_string));
                if let Ok(client) = client {
                    LocalSet::new().block_on(&runtime, follow(receiver, client));
                }
                runtime.shutdown_background();
            };
            let named = std::thread::Builder::new().name(format!("worker-{home}"));
            let thread = Some(named.spawn(run).context("cannot start a thread")?);
            each.push(WorkerThread { commands: Some(commands), busy: LiveCount::default(), thread });
        }
        ready.iter().take(threads).collect::<Result<Vec<()>, String>>().map_err(Error::new)?;
        Ok(Self { each, wire })
    }

    /// Number of threads.
    pub fn len(&self) -> usize {
        self.each.len()
    }

    /// Runs a task on a thread, until it ends or the tasks are cleared.
    pub fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        thread: usize,
        task: impl FnOnce(StreamClient) -> F + Send + 'static,
    ) {
        if let Some(commands) = &self.each[thread].commands {
            // A thread that has ended drops the task, and whoever waits for it is told so.
            let _ = commands.send(ThreadCommand::Run(Box::new(|client| Box::pin(task(client)))));
        }
    }

    /// Sends one request on a thread, and waits for its outcome; `None` if its tasks are cleared before.
    pub async fn send(
        &self,
        thread: usize,
        request: Outgoing<()>,
        row: Request,
        how: FollowSettings,
    ) -> Option<RequestOutcome> {
        let (say, outcome) = oneshot::channel();
        self.spawn(thread, move |client| async move {
            // Who no longer waits needs no outcome.
            let _ = say.send(send(&client, request, row, how).await);
        });
        outcome.await.ok()
    }

    /// Counts a session as one that a thread follows.
    pub fn mark(&self, thread: usize) -> CountMark {
        self.each[thread].busy.mark()
    }

    /// Writes a request on a connection that waits for one, if there is one; and the thread that is to follow it. The one that
    /// follows the fewest sessions comes first.
    pub fn depart(&self, path: &str, body: &[u8]) -> (usize, Option<Exchange>) {
        let mut order: Vec<usize> = (0..self.each.len()).collect();
        // Each count is read once: threads change them meanwhile.
        order.sort_by_cached_key(|thread| self.each[*thread].busy.get());
        let left =
            |wire: &Arc<Wire>| order.iter().find_map(|thread| Some((*thread, Some(wire.depart(*thread, path, body)?))));
        self.wire.as_ref().and_then(left).unwrap_or((order[0], None))
    }

    /// Drops every task, and with it its connection; returns when that is done.
    pub async fn clear(&self) {
        for worker in &self.each {
            let (say, done) = oneshot::channel();
            if let Some(commands) = &worker.commands
                && commands.send(ThreadCommand::Clear(say)).is_ok()
            {
                let _ = done.await;
            }
        }
    }
}

impl Drop for WorkerThreads {
    fn drop(&mut self) {
        for worker in &mut self.each {
            worker.commands = None;
        }
        for worker in &mut self.each {
            let _ = worker.thread.take().map(JoinHandle::join);
        }
    }
}

/// Does what is asked until nobody can ask any more.
async fn follow(mut commands: UnboundedReceiver<ThreadCommand>, client: StreamClient) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => return,
                Some(ThreadCommand::Run(task)) => drop(tasks.spawn_local(task(client.clone()))),
                Some(ThreadCommand::Clear(say)) => {
                    tasks.shutdown().await;
                    let _ = say.send(());
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}
