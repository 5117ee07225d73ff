//! Rows that were measured beside other servers: they are not ranked where these disturb each other.

use std::sync::OnceLock;

use super::entry::Entry;
use crate::metrics::slots::{in_words, refusal, worst};
use crate::rows::kinds::{NodeRow, Status};
use crate::rows::row::Row;
use crate::rows::words::FailureClass;

/// Takes the rows out of the ranking that were measured beside servers which disturb each other by too much, or nobody knows by how
/// much. Each says why.
pub fn refuse(entries: &mut [Box<Entry>], nodes: &[NodeRow]) {
    for entry in entries.iter_mut().filter(|entry| entry.ok) {
        let why = entry.slot.as_ref().and_then(|slot| refusal(nodes, &entry.node, slot));
        // Reading a row is slow, and most are of no slot.
        let Some((why, mut row)) = why.and_then(|why| Some((why, Row::parse(&entry.line).ok()?))) else { continue };
        row.set("status", Status::Skipped.as_str());
        row.set("failure_class", FailureClass::SlotInterference.as_str());
        row.set("failure_reason", why);
        (entry.line, entry.read) = (row.line().into(), OnceLock::new());
        (entry.ok, entry.passed, entry.unconfirmed) = (false, None, false);
    }
}

/// What the checks of slots found in which one of these rows was measured beside others, a sentence each.
#[must_use]
pub fn notes(entries: &[Box<Entry>], nodes: &[NodeRow]) -> Vec<String> {
    let mut notes = Vec::new();
    for node in nodes {
        for check in &node.slots {
            let uses = |entry: &Entry| {
                entry.ok
                    && *entry.node == *node.node
                    && entry.slot.as_ref().is_some_and(|slot| !slot.alone && slot.slots == check.slots)
            };
            let Some((metric, change)) = worst(check).filter(|_| entries.iter().any(|entry| uses(entry))) else {
                continue;
            };
            notes.push(format!(
                "candidates ran beside each other in slots {}: a baseline of {} had {} there than alone.",
                check.slots,
                check.framework,
                in_words(metric, change)
            ));
        }
    }
    notes
}
