//! Facts from `/proc`: descendants, and the listeners of a port. A process is identified by pid and start time, because the
//! kernel reuses pids.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The variable in the environment of every process of a sweep; its value is the sweep's folder.
pub const SWEEP_MARK: &str = "BENCH_SWEEP";

/// A process, identified by pid and start time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start: u64,
    /// Process group.
    pub group: i32,
    /// Session.
    pub session: i32,
    parent: i32,
    name: String,
    zombie: bool,
}

/// This process as `HOST:PID:START`, to mark what may outlive it.
#[must_use]
pub fn owner() -> String {
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let start = Process::read(pid).map_or(0, |process| process.start);
    format!("{}:{pid}:{start}", host())
}

/// The name of this node: `BENCH_NODE`, else what Slurm calls it, else the name of the host.
#[must_use]
pub fn node() -> String {
    let named =
        ["BENCH_NODE", "SLURMD_NODENAME"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    named.unwrap_or_else(host).replace(|c: char| c.is_whitespace() || c == '/', "-")
}

/// Gives this process a name of at most 15 bytes, which other processes see.
pub fn set_name(name: &str) {
    // Without /proc nobody would look for it.
    let _ = fs::write("/proc/self/comm", name);
}

/// True when `owner` names a process of this host that no longer runs.
#[must_use]
pub fn is_dead(owner: &str) -> bool {
    let parts: Vec<&str> = owner.split(':').collect();
    let [name, pid, start] = parts[..] else { return false };
    let (Ok(pid), Ok(start)) = (pid.parse(), start.parse::<u64>()) else { return false };
    name == host() && Process::read(pid).is_none_or(|now| now.start != start)
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string()
}

impl Process {
    /// The process with this pid, if it exists.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything, parentheses included.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_string();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let field = |i: usize| fields.get(i).and_then(|f| f.parse::<i64>().ok());
        Some(Self {
            pid,
            start: field(19)?.unsigned_abs(),
            parent: i32::try_from(field(1)?).ok()?,
            group: i32::try_from(field(2)?).ok()?,
            session: i32::try_from(field(3)?).ok()?,
            name,
            zombie: matches!(*fields.first()?, "Z" | "X"),
        })
    }

    /// True while this process runs, zombies excluded.
    #[must_use]
    pub fn lives(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.start == self.start && !now.zombie)
    }

    /// Its current command line, words joined by spaces; empty when it has exited.
    #[must_use]
    pub fn command_line(&self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
    }

    /// Its name, of at most 15 bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `pid name`, for messages.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {}", self.pid, self.name)
    }
}

fn all() -> BTreeMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).map(|process| (process.pid, process)).collect()
}

/// The living descendants of `root`, without `root` itself, and every living process of the session `session`.
#[must_use]
pub fn descendants(root: i32, session: Option<i32>) -> Vec<Process> {
    let all = all();
    let mut family = BTreeSet::from([root]);
    // Parents may have larger pids than their children: repeat until nothing is added.
    loop {
        let before = family.len();
        family.extend(all.values().filter(|p| family.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
        if family.len() == before {
            break;
        }
    }
    let ours = |p: &&Process| p.pid != root && !p.zombie && (family.contains(&p.pid) || session == Some(p.session));
    all.values().filter(ours).cloned().collect()
}

/// The files on the PATH with a program's name, in the order of the PATH; a name with a slash is a path itself.
#[must_use]
pub fn on_path(program: &str) -> Vec<PathBuf> {
    on_path_of(program, None)
}

/// Like [`on_path`], on the PATH `path`; `None`: this process's own.
#[must_use]
pub fn on_path_of(program: &str, path: Option<&str>) -> Vec<PathBuf> {
    let path = path.map_or_else(|| std::env::var_os("PATH").unwrap_or_default(), Into::into);
    let all = match program.contains('/') {
        true => vec![PathBuf::from(program)],
        false => std::env::split_paths(&path).map(|folder| folder.join(program)).collect(),
    };
    all.into_iter().filter(|path| path.is_file()).collect()
}

/// The living processes of this user, without this one, that were started with `name=value` in their environment.
#[must_use]
pub fn with_variable(name: &str, value: &OsStr) -> Vec<Process> {
    let mut wanted = name.as_bytes().to_vec();
    wanted.push(b'=');
    wanted.extend_from_slice(value.as_bytes());
    let this = i32::try_from(std::process::id()).unwrap_or_default();
    let has = |process: &Process| {
        let bytes = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        bytes.split(|byte| *byte == 0).any(|variable| variable == wanted)
    };
    all().into_values().filter(|process| !process.zombie && process.pid != this && has(process)).collect()
}

/// The living processes of a session, without this one.
#[must_use]
pub fn in_session(session: i32) -> Vec<Process> {
    let this = i32::try_from(std::process::id()).unwrap_or_default();
    all().into_values().filter(|process| !process.zombie && process.pid != this && process.session == session).collect()
}

/// The children of `parent`, zombies included.
#[must_use]
pub fn children(parent: i32) -> Vec<Process> {
    all().into_values().filter(|process| process.parent == parent).collect()
}

/// The inodes of the sockets that listen on `port`: of IPv4, or of IPv6 if there are none. The kernel takes some milliseconds
/// per table.
fn listening(port: u16) -> BTreeSet<String> {
    let mut inodes = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if !inodes.is_empty() {
            break;
        }
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { continue };
            // State 0A is LISTEN; the local address ends in the port, in hexadecimal.
            let local_port = local.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
            if state == "0A" && local_port == Some(port) {
                inodes.insert(inode.to_string());
            }
        }
    }
    inodes
}

fn holds(pid: i32, inodes: &BTreeSet<String>) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().any(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        target.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']')).is_some_and(|inode| inodes.contains(inode))
    })
}

/// True when one of `processes` listens on `port`.
#[must_use]
pub fn listens(port: u16, processes: &[Process]) -> bool {
    let inodes = listening(port);
    !inodes.is_empty() && processes.iter().any(|process| holds(process.pid, &inodes))
}

/// The processes that listen on `port`, as far as this user may see.
#[must_use]
pub fn listeners(port: u16) -> Vec<Process> {
    let inodes = listening(port);
    if inodes.is_empty() {
        return Vec::new();
    }
    all().into_values().filter(|process| holds(process.pid, &inodes)).collect()
}

/// True when no process listens on `port` of this host.
#[must_use]
pub fn port_is_free(port: u16) -> bool {
    // Sockets in TIME_WAIT do not matter, and do not prevent this bind either.
    let free = |address: (&str, u16)| match TcpListener::bind(address) {
        Ok(_) => true,
        Err(e) => e.kind() != std::io::ErrorKind::AddrInUse,
    };
    free(("0.0.0.0", port)) && free(("::", port))
}

/// Ports of servers: below those that the system gives to connections of clients. A server needs minutes until it listens, and a client
/// of another server beside it could have taken its port by then.
const SERVER_PORTS: Range<u16> = 20_000..32_000;
/// How many of them are tried.
const TRIES: usize = 100;

/// A free port.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> std::io::Result<u16> {
    let random = || RandomState::new().build_hasher().finish();
    let one = |_| {
        let place = u16::try_from(random() % u64::from(SERVER_PORTS.end - SERVER_PORTS.start)).ok()?;
        Some(SERVER_PORTS.start + place).filter(|port| port_is_free(*port))
    };
    match (0..TRIES).find_map(one) {
        Some(port) => Ok(port),
        None => TcpListener::bind(("127.0.0.1", 0))?.local_addr().map(|address| address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_port_is_none_of_those_of_clients() {
        let ports: BTreeSet<u16> = (0..8).map(|_| free_port().unwrap()).collect();
        assert!(ports.len() > 1 && ports.iter().all(|port| SERVER_PORTS.contains(port)), "{ports:?}");
    }

    #[test]
    fn finds_who_listens() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(listeners(port).iter().map(|p| p.pid).collect::<Vec<_>>(), [me]);
        assert!(!port_is_free(port));
        drop(listener);
        assert!(listeners(port).iter().all(|p| p.pid != me));
    }

    #[test]
    fn finds_children_and_tells_the_dead_from_the_living() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let found = descendants(me, None).into_iter().find(|p| p.pid == pid).unwrap();
        assert!(found.lives());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!found.lives());
    }
}
