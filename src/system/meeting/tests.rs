//! Meetings on the loopback interface.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::rows::kinds::Shard;
use crate::system::process::proc::free_port;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn settings(folder: &Path, name: &str, secret: &str, address: &str, shard: (u32, u32)) -> MeetingSettings {
    let path = folder.join(name);
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let shard = Shard { index: shard.0, of: shard.1 };
    MeetingSettings { address: address.into(), secret: path, limit: Duration::from_secs(3), shard }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port().unwrap())
}

fn notice() -> Notice {
    Notice::new("bench-load", true)
}

/// All places of a meeting of so many.
fn meeting(of: u32) -> Vec<Meeting> {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let all: Vec<MeetingSettings> =
        (0..of).map(|i| settings(folder.path(), &i.to_string(), SECRET, &address, (i, of))).collect();
    std::thread::scope(|scope| {
        let joining: Vec<_> = all.iter().map(|own| scope.spawn(|| Meeting::join(own, &notice()).unwrap())).collect();
        joining.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn all_begin_at_one_time() {
    let all = meeting(3);
    let [host, one, two] = &all[..] else { panic!("three") };
    assert!(host.id == one.id && one.id == two.id && !host.id.is_empty());
    block_on(async {
        assert_eq!(host.compare_clocks().await, Ok(None));
        let clock = one.compare_clocks().await.unwrap().unwrap();
        two.compare_clocks().await.unwrap();
        // One clock: the offset is nothing but the error, which is within its bound.
        assert!(clock.offset_ms.abs() <= clock.uncertainty_ms + 1e-6 && clock.uncertainty_ms < 1000.0, "{clock:?}");
        for run in ["s/0", "s/1"] {
            let (a, b, c) = tokio::join!(host.meet(run), one.meet(run), two.meet(run));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert!(a.abs_diff(b) as f64 <= clock.uncertainty_ms * 1e6 + 1.0 && c.is_ok(), "{a} {b}");
        }
        let (a, b, c) = tokio::join!(host.done("s"), one.done("s"), two.done("s"));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        // One that is ahead waits for the others.
        let ahead = async {
            let done = one.done("t").await;
            (done, one.meet("u/0").await.is_ok())
        };
        let (done, other, met) = tokio::join!(ahead, async { (two.done("t").await, two.meet("u/0").await) }, async {
            (host.done("t").await, host.meet("u/0").await)
        });
        assert!(done.0.is_ok() && done.1 && other.0.is_ok() && other.1.is_ok() && met.0.is_ok() && met.1.is_ok());
    });
}

#[test]
fn a_client_that_leaves_ends_the_run_of_all() {
    let mut all = meeting(3);
    let leaver = all.pop().unwrap();
    let [host, one] = &all[..] else { panic!("two") };
    block_on(async {
        let leaving = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(leaver);
        };
        let (met, guest, ()) = tokio::join!(host.meet("s/0"), one.meet("s/0"), leaving);
        let why = format!("{met:?}");
        assert!(why.contains("client 2 of 3 (127.0.0.1) has left"), "{why}");
        assert_eq!(met, guest, "all others are told");
        assert!(host.broken().await.contains("client 2 of 3"));
        // It stays so.
        assert!(host.meet("s/1").await.is_err() && host.done("s").await.is_err());
    });
    drop(all.remove(0));
    block_on(async {
        assert!(all[0].broken().await.contains("the first client"));
        assert!(all[0].compare_clocks().await.is_err());
    });
}

#[test]
fn clients_with_other_rows_are_told_apart() {
    let all = meeting(2);
    block_on(async {
        let (host, guest) = tokio::join!(all[0].meet("s/0"), all[1].meet("r/0"));
        let MeetingFailure::Missing(why) = host.unwrap_err() else { panic!("a reason") };
        assert!(why.contains("client 1 of 2 (127.0.0.1) is at r/0, the first client at s/0"), "{why}");
        assert_eq!(guest, Err(MeetingFailure::Missing(why)));
    });
    let all = meeting(2);
    block_on(async {
        // The guest has no further run on this server.
        let (host, guest) = tokio::join!(all[0].meet("s/1"), all[1].done("s"));
        assert!(
            format!("{host:?}").contains("is at the end of s, the first client at s/1") && guest.is_err(),
            "{host:?}"
        );
    });
}

#[test]
fn a_client_that_is_not_ready_in_time_is_missing() {
    let all = meeting(2);
    block_on(async {
        let begun = std::time::Instant::now();
        let why = format!("{:?}", all[0].meet("s/0").await.unwrap_err());
        assert!(why.contains("not all of the 2 clients were ready for s/0 within 3 s"), "{why}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(all[1].meet("s/0").await.is_err());
    });
}

#[test]
fn only_those_who_know_the_secret_may_join() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let own = |name: &str, secret: &str, shard| settings(folder.path(), name, secret, &address, shard);
    let host = own("host", SECRET, (0, 2));
    let join = |settings: MeetingSettings| Meeting::join(&settings, &notice()).map(|_| ()).map_err(|e| e.to_string());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| join(host.clone()));
        let wrong = join(own("wrong", "another secret of enough length", (1, 2))).unwrap_err();
        assert!(wrong.contains("refused: it does not know the secret of this meeting"), "{wrong}");
        // Whoever says nothing, or nonsense, does not keep the others out.
        let mute = TcpStream::connect(&address).unwrap();
        let mut loud = TcpStream::connect(&address).unwrap();
        loud.write_all(&[b'x'; 20_000]).unwrap();
        for (shard, why) in [((1, 3), "one of 2 clients, not of 3"), ((2, 2), "no client 2 of 2 to join")] {
            let refused = join(own("odd", SECRET, shard)).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let guest = own("guest", SECRET, (1, 2));
        let joined = Meeting::join(&guest, &notice()).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(()));
        drop((joined, mute, loud));
    });
    // Nobody comes; nobody is there.
    let why = join(host).unwrap_err();
    assert!(why.contains("no client with --shard 1/2 came within 3 s"), "{why}");
    let why = join(own("guest", SECRET, (1, 2))).unwrap_err();
    assert!(why.contains("the first client (--shard 0/2) does not listen there after 3 s"), "{why}");
    // What listens there may not be a client that knows the secret.
    let other = TcpListener::bind(&address).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = other.accept().unwrap();
            stream.write_all(b"{\"meeting\": 1, \"nonce\": \"00\"}\n").unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(b"{\"proof\": \"00\", \"id\": \"x\"}\n").unwrap();
        });
        let why = join(own("guest", SECRET, (1, 2))).unwrap_err();
        assert!(why.contains("what listens there does not know the secret"), "{why}");
    });
}

#[test]
fn a_secret_is_long_and_its_own_users() {
    let folder = tempfile::tempdir().unwrap();
    let own = settings(folder.path(), "s", "short", "127.0.0.1:1", (0, 2));
    let why = Meeting::join(&own, &notice()).unwrap_err().to_string();
    assert!(why.contains("at least 16 characters"), "{why}");
    let own = settings(folder.path(), "s", SECRET, "127.0.0.1:1", (0, 2));
    std::fs::set_permissions(&own.secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let why = Meeting::join(&own, &notice()).unwrap_err().to_string();
    assert!(why.contains("chmod 600"), "{why}");
    let why = Meeting::join(&MeetingSettings { secret: "/none".into(), ..own }, &notice()).unwrap_err().to_string();
    assert!(why.contains("cannot read the secret"), "{why}");
}
