//! The beginning of a connection: both sides prove that they know the secret, without sending it.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::wire::{MessageReader, MessageWriter};
use crate::base::error::{Context, Error, Result};
use crate::rows::kinds::Shard;

/// How long the other side may take for its part.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Version of the lines that clients exchange.
const VERSION: u64 = 1;

/// The connection to a client that has proven who it is.
#[derive(Debug)]
pub(super) struct GuestLink {
    /// Which of the clients it is.
    pub index: u32,
    pub read: MessageReader,
    pub write: MessageWriter,
}

/// What a side proves: who it is, in this connection.
struct IdentityClaim<'a> {
    secret: &'a [u8],
    /// `host` or `guest`.
    side: &'a str,
    nonces: [&'a str; 2],
    shard: Shard,
}

impl IdentityClaim<'_> {
    fn mac(&self) -> Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret)
            .map_err(|e| Error::new(format!("cannot use the secret: {e}")))?;
        let [host, guest] = self.nonces;
        mac.update(json!([VERSION, self.side, host, guest, self.shard.index, self.shard.of]).to_string().as_bytes());
        Ok(mac)
    }

    fn proof(&self) -> Result<String> {
        Ok(hex(&self.mac()?.finalize().into_bytes()))
    }

    /// Takes as long for a wrong proof as for the right one.
    fn is_proven(&self, proof: &str) -> bool {
        unhex(proof).is_some_and(|proof| self.mac().is_ok_and(|mac| mac.verify_slice(&proof).is_ok()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let two = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (digits.len().is_multiple_of(2)).then(|| digits.chunks(2).map(two).collect()).flatten()
}

/// Something that nobody can foresee.
pub(super) fn nonce() -> Result<String> {
    let mut bytes = [0; 16];
    let mut source = std::fs::File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    source.read_exact(&mut bytes).context("cannot read /dev/urandom")?;
    Ok(hex(&bytes))
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

/// The first client's side; which of `of` clients the other one is. `may_join` says why it may not be that one.
///
/// # Errors
/// The other side does not know the secret, or may not join.
pub(super) fn welcome(
    stream: &TcpStream,
    secret: &[u8],
    of: u32,
    meeting: &str,
    may_join: impl FnOnce(Shard) -> std::result::Result<(), String>,
) -> Result<GuestLink> {
    stream.set_read_timeout(Some(LIMIT)).context("cannot set a time limit")?;
    stream.set_write_timeout(Some(LIMIT)).context("cannot set a time limit")?;
    let (mut read, write) = halves(stream)?;
    let own = nonce()?;
    write.send(&json!({"meeting": VERSION, "nonce": own})).context("it left")?;
    let line = read.next().ok_or_else(|| Error::new("it did not say who it is"))?;
    let number = |key: &str| line[key].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
    let shard = Shard { index: number("index"), of: number("of") };
    let nonces = [own.as_str(), text(&line, "nonce")];
    if !(IdentityClaim { secret, side: "guest", nonces, shard }).is_proven(text(&line, "proof")) {
        let _ = write.send(&json!({"refused": "it does not know the secret of this meeting"}));
        return Err(Error::new("it does not know the secret"));
    }
    let refusal = match may_join(shard) {
        _ if shard.of != of => Some(format!("this meeting is one of {of} clients, not of {}", shard.of)),
        Err(why) => Some(why),
        Ok(()) => None,
    };
    if let Some(why) = refusal {
        let _ = write.send(&json!({ "refused": why }));
        return Err(Error::new(why));
    }
    let proof = IdentityClaim { secret, side: "host", nonces, shard }.proof()?;
    write.send(&json!({"proof": proof, "id": meeting})).context("it left")?;
    stream.set_read_timeout(None).context("cannot lift a time limit")?;
    Ok(GuestLink { index: shard.index, read, write })
}

/// Any other client's side; the name of the meeting.
///
/// # Errors
/// The first client does not know the secret, or refuses this one.
pub(super) fn introduce(
    stream: &TcpStream,
    secret: &[u8],
    shard: Shard,
) -> Result<(String, MessageReader, MessageWriter)> {
    stream.set_read_timeout(Some(LIMIT)).context("cannot set a time limit")?;
    stream.set_write_timeout(Some(LIMIT)).context("cannot set a time limit")?;
    let (mut read, write) = halves(stream)?;
    let line = read.next().ok_or_else(|| Error::new("nobody there says that it waits for clients"))?;
    if line["meeting"] != VERSION {
        return Err(Error::new("bench-load there is of another version: use the same on all hosts"));
    }
    let own = nonce()?;
    let nonces = [text(&line, "nonce"), own.as_str()];
    let proof = IdentityClaim { secret, side: "guest", nonces, shard }.proof()?;
    let hello = json!({"index": shard.index, "of": shard.of, "nonce": own, "proof": proof});
    write.send(&hello).context("it left")?;
    let line = read.next().ok_or_else(|| Error::new("it left before it answered"))?;
    if let Some(why) = line["refused"].as_str() {
        return Err(Error::new(format!("refused: {why}")));
    }
    if !(IdentityClaim { secret, side: "host", nonces, shard }).is_proven(text(&line, "proof")) {
        return Err(Error::new("what listens there does not know the secret"));
    }
    stream.set_read_timeout(None).context("cannot lift a time limit")?;
    Ok((text(&line, "id").to_string(), read, write))
}

fn halves(stream: &TcpStream) -> Result<(MessageReader, MessageWriter)> {
    let read = MessageReader::new(stream).context("cannot use the connection")?;
    Ok((read, MessageWriter::new(stream).context("cannot use the connection")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_side_of_one_connection() {
        let shard = Shard { index: 1, of: 2 };
        let claim = |secret: &'static str, side, nonces, shard| IdentityClaim {
            secret: secret.as_bytes(),
            side,
            nonces,
            shard,
        };
        let own = claim("secret", "guest", ["a", "b"], shard);
        let proof = own.proof().unwrap();
        assert!(proof.len() == 64 && own.is_proven(&proof));
        for other in [
            claim("secreT", "guest", ["a", "b"], shard),
            claim("secret", "host", ["a", "b"], shard),
            claim("secret", "guest", ["b", "a"], shard),
            claim("secret", "guest", ["a", "c"], shard),
            claim("secret", "guest", ["a", "b"], Shard { index: 1, of: 3 }),
        ] {
            assert!(!other.is_proven(&proof));
        }
        for wrong in ["", "0", "zz", &proof[2..], &format!("{proof}00")] {
            assert!(!own.is_proven(wrong), "{wrong}");
        }
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }
}
