//! Pacing: a thread that sleeps until absolute times, and one that notices when this program does not get to run.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const TICK: Duration = Duration::from_millis(20);

/// Priority of the thread that sends what is due, as nice(2) counts, where raising it is permitted: it sleeps nearly all the time.
pub const SENDING: i32 = -15;
/// Priority of the threads that read: what arrives gets its time when it arrives, even if other programs keep the CPUs busy.
pub const READING: i32 = -10;

/// Lets this thread wake up when it asked to.
pub fn wake_in_time(priority: i32) {
    // With the default slack of 50 µs the kernel would merge our wake-ups.
    let _ = nix::sys::prctl::set_timerslack(1);
    // Of the calling thread only; without permission the priority stays as it is.
    let _ = rustix::process::setpriority_process(None, priority);
}

/// Sleeps until `at`, or until the thread is unparked with `over` set.
pub fn sleep_until(at: Instant, over: &AtomicBool) {
    while !over.load(Relaxed) {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// Measures for how long this process, or a task of it, does not get to run.
#[derive(Debug)]
pub struct Heartbeat {
    longest_us: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    begun: Instant,
    cpu_before: f64,
    host_before: Option<HostCpu>,
}

impl Heartbeat {
    /// Starts measuring.
    #[must_use]
    pub fn start() -> Self {
        let (longest_us, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (longest, end) = (longest_us.clone(), over.clone());
        thread::spawn(move || {
            let mut last = Instant::now();
            while !end.load(Relaxed) {
                thread::sleep(TICK);
                let gap = last.elapsed().saturating_sub(TICK);
                longest.fetch_max(u64::try_from(gap.as_micros()).unwrap_or(u64::MAX), Relaxed);
                last = Instant::now();
            }
        });
        Self { longest_us, over, begun: Instant::now(), cpu_before: cpu_seconds(), host_before: HostCpu::now() }
    }

    /// Measures how long a task of the run waits for its turn: a process that runs but has too much to do is late as well.
    pub fn turns(&self) -> impl Future<Output = ()> + use<> {
        let longest = self.longest_us.clone();
        async move {
            loop {
                let due = tokio::time::Instant::now() + TICK;
                tokio::time::sleep_until(due).await;
                let gap = due.elapsed();
                longest.fetch_max(u64::try_from(gap.as_micros()).unwrap_or(u64::MAX), Relaxed);
            }
        }
    }

    /// The longest delay of a tick so far, ms.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 µs")]
    pub fn gap_ms(&self) -> f64 {
        self.longest_us.load(Relaxed) as f64 / 1000.0
    }

    /// CPU seconds of this process per second since the start.
    #[must_use]
    pub fn cpu_share(&self) -> f64 {
        let wall = self.begun.elapsed().as_secs_f64();
        if wall > 0.0 { (cpu_seconds() - self.cpu_before) / wall } else { 0.0 }
    }
}

impl Heartbeat {
    /// Share of this host's CPU time that was busy since the start, from 0 to 1; `None` if /proc/stat does not say.
    #[must_use]
    pub fn host_cpu_share(&self) -> Option<f64> {
        self.host_before?.busy_until(HostCpu::now()?)
    }
}

/// The CPU time of all CPUs of this host since its boot, ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HostCpu {
    all: u64,
    idle: u64,
}

impl HostCpu {
    fn now() -> Option<Self> {
        Self::read(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// From the text of /proc/stat, see proc(5): user nice system idle iowait irq softirq steal; guest is part of user.
    fn read(stat: &str) -> Option<Self> {
        let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>().ok()?;
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(Self { all: ticks.iter().sum(), idle })
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks, far below 2^52")]
    fn busy_until(self, after: Self) -> Option<f64> {
        let all = after.all.checked_sub(self.all).filter(|all| *all > 0)?;
        let idle = after.idle.checked_sub(self.idle)?.min(all);
        Some((all - idle) as f64 / all as f64)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52 µs")]
fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
    })
}

#[cfg(test)]
mod tests {
    use super::HostCpu;

    #[test]
    fn what_is_neither_idle_nor_waiting_for_a_disk_is_busy() {
        let at = |text: &str| HostCpu::read(text);
        let before = at("cpu  100 0 50 800 50 0 0 0 30 0\ncpu0 1 1\n").unwrap();
        let after = at("cpu  160 0 70 815 55 0 0 0 60 0\n").unwrap();
        assert_eq!(before.busy_until(after), Some(0.8));
        assert_eq!(before.busy_until(before), None);
        assert_eq!((at(""), at("intr 1 2 3"), at("cpu  1 2 x")), (None, None, None));
    }
}
