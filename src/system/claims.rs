//! Claims of candidates in a folder that several hosts share, so that each is measured by one of them.
//!
//! The claim of a candidate is a folder `NAME/N`, made with mkdir, which succeeds for one host only, on NFS too. Its owner renews it: the
//! time of the file `owner` in it ([`FileAges`]). `ended` in it says how it ended. A claim
//! that its owner has not renewed for too long, or that ended without a result, is followed by the claim `NAME/N+1`; nothing is ever
//! removed or renamed, so two hosts that find the same dead claim cannot both follow it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file_age::{FileAges, touch};
use super::process::proc::owner;
use crate::base::error::{Error, Result};
use crate::rows::resume::{ATTEMPTS, BAD_NODES, closes};
use crate::rows::row::Row;
use crate::rows::words::{FailureClass, Status};

const OWNER: &str = "owner";
const ENDED: &str = "ended";
/// A candidate that was interrupted so often is left alone: something else is wrong.
const MOST_CLAIMS: usize = 30;
/// A node with so many failures that no other cause explains takes no more candidates.
const BAD_NODE: usize = 2;

/// A folder of claims.
#[derive(Debug)]
pub struct ClaimFolder {
    root: PathBuf,
    /// A claim that is not renewed for this time is dead.
    limit: Duration,
    node: String,
    ages: FileAges,
}

/// A claim of this process.
#[derive(Debug)]
pub struct Claim {
    name: PathBuf,
    number: usize,
}

/// What comes of trying to claim a candidate.
#[derive(Debug)]
pub enum ClaimAnswer {
    /// It is this process's.
    Taken(Claim),
    /// Somebody has it, or may take it later.
    Busy,
    /// It is over.
    Over,
}

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimEnd {
    /// The node that had it.
    pub node: String,
    /// All its units had their turn.
    pub whole: bool,
    /// As in the `server_end` row.
    pub status: Status,
    /// As in the `server_end` row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// The start, if its rows name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_id: Option<String>,
}

impl ClaimEnd {
    /// The attempt was interrupted.
    fn is_cut(&self) -> bool {
        let is_cut = self.failure_class.as_ref().is_some_and(FailureClass::is_cut);
        is_cut || (self.status == Status::Ok && !self.whole)
    }

    /// It failed for a reason that is not the candidate's.
    fn is_transient(&self) -> bool {
        !self.is_cut() && !closes(self.status, self.failure_class.as_ref())
    }
}

impl ClaimFolder {
    /// The claims in `root` for the node of this process; a claim that is not renewed for `limit` is dead.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: &Path, limit: Duration, node: &str) -> Result<Self> {
        fs::create_dir_all(root).map_err(|e| at("cannot create the folder", root, e))?;
        let clock = root.join(format!(".clock-{node}-{}", owner().replace(['/', ':'], "-")));
        Ok(Self { root: root.into(), limit, node: node.into(), ages: FileAges::by(clock) })
    }

    /// How often a claim has to be renewed.
    #[must_use]
    pub fn beat(&self) -> Duration {
        self.limit / 8
    }

    /// Claims a candidate. `is_known` says whether the results that this process has read include those of a start: if they do, and
    /// the candidate still has units to run, it may be claimed once more.
    ///
    /// # Errors
    /// What the system reports.
    pub fn take(&self, name: &str, is_known: &dyn Fn(&str) -> bool) -> Result<ClaimAnswer> {
        let folder = self.root.join(name);
        if let Err(e) = fs::create_dir(&folder)
            && e.kind() != ErrorKind::AlreadyExists
        {
            return Err(at("cannot create the folder", &folder, e));
        }
        let last = numbers(&folder)?.into_iter().max().unwrap_or(0);
        if last == 0 {
            return self.make(folder, 1);
        }
        let current = folder.join(last.to_string());
        let Some(end) = ended(&current)? else {
            return if self.age(&current)? > self.limit { self.make(folder, last + 1) } else { Ok(ClaimAnswer::Busy) };
        };
        if last >= MOST_CLAIMS {
            return Ok(ClaimAnswer::Over);
        }
        if end.is_cut() {
            return self.make(folder, last + 1);
        }
        if !end.is_transient() {
            let again = end.server_id.as_deref().is_some_and(is_known);
            return if again { self.make(folder, last + 1) } else { Ok(ClaimAnswer::Over) };
        }
        let mut failed = Vec::new();
        for number in 1..=last {
            failed.extend(ended(&folder.join(number.to_string()))?.filter(ClaimEnd::is_transient).map(|end| end.node));
        }
        let nodes: BTreeSet<&String> = failed.iter().collect();
        if nodes.len() >= BAD_NODES || failed.len() >= ATTEMPTS {
            return Ok(ClaimAnswer::Over);
        }
        // Another node should try it; if there is none, this one does.
        let is_own = nodes.contains(&self.node);
        if is_own && self.age(&current.join(ENDED))? <= self.limit {
            Ok(ClaimAnswer::Busy)
        } else {
            self.make(folder, last + 1)
        }
    }

    fn make(&self, name: PathBuf, number: usize) -> Result<ClaimAnswer> {
        let folder = name.join(number.to_string());
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(ClaimAnswer::Busy),
            Err(e) => return Err(at("cannot create the folder", &folder, e)),
        }
        let path = folder.join(OWNER);
        fs::write(&path, format!("{} {}\n", self.node, owner())).map_err(|e| at("cannot write", &path, e))?;
        Ok(ClaimAnswer::Taken(Claim { name, number }))
    }

    /// Time since a claim was renewed. An owner that died at once has left no file.
    fn age(&self, path: &Path) -> Result<Duration> {
        self.ages.age(&path.join(OWNER), path)
    }

    /// The node's failures that may be its own; the file can be removed to let it work again.
    #[must_use]
    pub fn failures(&self) -> PathBuf {
        self.root.join(format!("failures-{}", self.node))
    }

    /// Notes how a claim ended; true if the node has failed too often to go on.
    ///
    /// # Errors
    /// What the system reports.
    pub fn note(&self, claim: &Claim) -> Result<bool> {
        let path = self.failures();
        if let Some(end) = ended(&claim.folder())?.filter(ClaimEnd::is_transient) {
            let class = end.failure_class.map_or_else(|| end.status.to_string(), |class| class.to_string());
            let file = fs::OpenOptions::new().append(true).create(true).open(&path);
            let line = format!("{} {class}\n", claim.name.file_name().unwrap_or_default().to_string_lossy());
            file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(|e| at("cannot write", &path, e))?;
        }
        self.is_out()
    }

    /// True if the node has failed too often to take another candidate.
    ///
    /// # Errors
    /// What the system reports.
    pub fn is_out(&self) -> Result<bool> {
        let path = self.failures();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().count() >= BAD_NODE),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(at("cannot read", &path, e)),
        }
    }
}

impl Claim {
    /// Its folder, which `candidate` rows name.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.name.join(self.number.to_string())
    }

    /// True once its rows have been written.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.folder().join(ENDED).exists()
    }

    /// Renews it; false if another host has followed it because it was not renewed in time.
    ///
    /// # Errors
    /// What the system reports.
    pub fn renew(&self) -> Result<bool> {
        touch(&self.folder().join(OWNER))?;
        Ok(!self.name.join((self.number + 1).to_string()).exists())
    }
}

/// Ends claims as the rows of their candidates are written: for the program that writes the last rows.
#[derive(Debug, Default)]
pub struct ClaimEnder {
    /// The claim of the server whose end has not passed yet, and its id.
    open: Option<(PathBuf, String)>,
    /// All units of this server had their turn.
    pub whole: bool,
}

impl ClaimEnder {
    /// Takes note of a row that has been written to `file`.
    ///
    /// # Errors
    /// When the end cannot be written: the candidate will be measured again.
    pub fn written(&mut self, row: &Row, file: &File) -> Result<()> {
        let own = row.str("claim").map(PathBuf::from);
        let id = row.str("server_id");
        let (folder, whole) = match (row.record(), own, id) {
            (Some("server"), Some(claim), Some(id)) => {
                self.open = Some((claim, id.into()));
                return Ok(());
            }
            // Its server did not start, or it was skipped.
            (Some("server_end"), Some(claim), _) => (claim, true),
            (Some("candidate"), Some(claim), _) if row.get("status").is_some() => (claim, true),
            (Some("server_end"), None, Some(id)) => match self.open.take_if(|(_, open)| open == id) {
                Some((claim, _)) => (claim, self.whole),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let text = |key| row.str(key);
        let end = ClaimEnd {
            node: fs::read_to_string(folder.join(OWNER))
                .ok()
                .and_then(|owner| Some(owner.split_once(' ')?.0.to_string()))
                .unwrap_or_default(),
            whole,
            status: text("status").and_then(|word| word.parse().ok()).unwrap_or(Status::Ok),
            failure_class: text("failure_class").map(FailureClass::from),
            server_id: id.map(String::from),
        };
        // Whoever reads of the end finds the rows, even if this host dies now. A pipe has nothing to save.
        let _ = file.sync_data();
        let (path, part) = (folder.join(ENDED), folder.join("ended.part"));
        fs::write(&part, Row::new("claim_end", &end).line() + "\n")
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|e| at("cannot write the end of a claim", &path, e))
    }
}

fn numbers(folder: &Path) -> Result<Vec<usize>> {
    let entries = fs::read_dir(folder).map_err(|e| at("cannot read the folder", folder, e))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// How a claim ended; `None` if it has not. An end that cannot be read is none.
fn ended(claim: &Path) -> Result<Option<ClaimEnd>> {
    let path = claim.join(ENDED);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Row::parse(text.trim_end()).and_then(|row| row.view()).ok()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at("cannot read", &path, e)),
    }
}

fn at(what: &'static str, path: &Path, e: std::io::Error) -> Error {
    Error::new(what).because(e).at(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::file_age::age_by;
    use crate::system::stopwatch::Stopwatch;
    use serde_json::json;

    const LIMIT: Duration = Duration::from_secs(60);

    fn taken(answer: ClaimAnswer) -> Claim {
        match answer {
            ClaimAnswer::Taken(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn take(folder: &ClaimFolder) -> ClaimAnswer {
        folder.take("c", &|_| false).unwrap()
    }

    fn end(claim: &Claim, whole: bool, row: serde_json::Value) {
        let mut ender = ClaimEnder { whole, open: None };
        let file = tempfile::tempfile().unwrap();
        let claim = claim.folder();
        ender.written(&Row::new("server", &json!({"server_id": "s", "claim": claim})), &file).unwrap();
        ender.written(&Row::new("server_end", &json!({"server_id": "other", "status": "ok"})), &file).unwrap();
        assert!(!claim.join(ENDED).exists());
        ender.written(&Row::new("server_end", &row), &file).unwrap();
    }

    #[test]
    fn one_of_many_gets_it() {
        let root = tempfile::tempdir().unwrap();
        let one = |i: usize| {
            let folder = ClaimFolder::open(root.path(), LIMIT, &format!("n{i}")).unwrap();
            matches!(take(&folder), ClaimAnswer::Taken(_))
        };
        let got = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|i| scope.spawn(move || one(i))).collect();
            all.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(got, 1);
    }

    #[test]
    fn a_claim_that_is_renewed_stays_and_a_dead_one_is_followed_once() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|node| ClaimFolder::open(root.path(), LIMIT, node).unwrap());
        let first = taken(take(&a));
        age_by(&first.folder().join(OWNER), 50);
        assert!(matches!(take(&b), ClaimAnswer::Busy));
        age_by(&first.folder().join(OWNER), 50);
        assert!(first.renew().unwrap());
        assert!(matches!(take(&b), ClaimAnswer::Busy));
        age_by(&first.folder().join(OWNER), 70);
        let second = taken(take(&b));
        assert!(second.folder().ends_with("c/2"));
        assert!(matches!(take(&c), ClaimAnswer::Busy));
        assert!(!first.renew().unwrap(), "the first owner learns that it lost it");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_dead_claim_alive() {
        let root = tempfile::tempdir().unwrap();
        let limit = Duration::from_millis(300);
        let [a, b] = ["a", "b"].map(|node| ClaimFolder::open(root.path(), limit, node).unwrap());
        let first = taken(take(&a));
        // Set back by an hour after its owner had renewed it for the last time.
        age_by(&first.folder().join(OWNER), -3600);
        assert!(matches!(take(&b), ClaimAnswer::Busy));
        let begun = Stopwatch::start();
        let second = loop {
            match take(&b) {
                ClaimAnswer::Taken(claim) => break claim,
                _ => assert!(begun.elapsed() < Duration::from_secs(20), "it lives for an hour"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(begun.elapsed() >= limit / 2 && second.folder().ends_with("c/2"));
    }

    #[test]
    fn an_end_decides_whether_it_is_claimed_again() {
        let row =
            |status: &str, class: Option<&str>| json!({"server_id": "s", "status": status, "failure_class": class});
        for (whole, status, class, again) in [
            (true, "ok", None, false),
            (false, "ok", None, true),
            (true, "oom", Some("cuda_oom_at_load"), false),
            (false, "failed", Some("interrupted"), true),
            (true, "skipped", Some("budget"), true),
            (true, "failed", Some("port_in_use"), true),
        ] {
            let root = tempfile::tempdir().unwrap();
            let [a, b] = ["a", "b"].map(|node| ClaimFolder::open(root.path(), LIMIT, node).unwrap());
            end(&taken(take(&a)), whole, row(status, class));
            match (take(&b), again) {
                (ClaimAnswer::Taken(_), true) | (ClaimAnswer::Over, false) => {}
                (other, _) => panic!("{status} {class:?}: {other:?}"),
            }
        }
        // Its results are known, and some of its units are still to run.
        let root = tempfile::tempdir().unwrap();
        let a = ClaimFolder::open(root.path(), LIMIT, "a").unwrap();
        end(&taken(take(&a)), true, row("ok", None));
        assert!(matches!(a.take("c", &|id| id == "s").unwrap(), ClaimAnswer::Taken(_)));
    }

    #[test]
    fn a_candidate_is_bad_once_it_failed_on_two_nodes_and_a_node_once_two_failed_on_it() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|node| ClaimFolder::open(root.path(), LIMIT, node).unwrap());
        let failed = json!({"server_id": "s", "status": "failed", "failure_class": "not_ready"});
        let first = taken(take(&a));
        end(&first, true, failed.clone());
        assert!(!a.note(&first).unwrap());
        assert!(matches!(take(&a), ClaimAnswer::Busy), "another node should try it");
        let second = taken(take(&b));
        end(&second, true, failed.clone());
        assert!(matches!(take(&c), ClaimAnswer::Over));
        let other = taken(a.take("d", &|_| false).unwrap());
        end(&other, true, failed);
        assert!(a.note(&other).unwrap() && a.is_out().unwrap() && !b.is_out().unwrap());
    }

    #[test]
    fn without_another_node_the_same_one_tries_again_later() {
        let root = tempfile::tempdir().unwrap();
        let a = ClaimFolder::open(root.path(), LIMIT, "a").unwrap();
        for _ in 0..ATTEMPTS {
            let claim = taken(take(&a));
            end(&claim, true, json!({"server_id": "s", "status": "failed", "failure_class": "not_ready"}));
            age_by(&claim.folder().join(ENDED), 70);
        }
        assert!(matches!(take(&a), ClaimAnswer::Over));
    }
}
