//! Rows of nodes that differ from the others: they are ranked apart.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::Entry;
use super::key::GroupKey;
use crate::metrics::nodes::NodeSpeeds;

/// What the group of the other nodes is called.
const OTHERS: &str = "the others";

/// Where another node measured the same, a row of a node that differs does not count.
pub fn yield_to_others(entries: &mut [Box<Entry>], speeds: &NodeSpeeds) {
    for entry in entries.iter_mut().filter(|entry| speeds.apart_by(&entry.node).is_some()) {
        if let Some(own) = &mut entry.own {
            own.cut = true;
        }
    }
}

/// Moves the rows of nodes that differ into groups of their own.
pub fn set_apart(entries: &mut [Box<Entry>], speeds: &NodeSpeeds) {
    if !entries.iter().any(|entry| speeds.apart_by(&entry.node).is_some()) {
        return;
    }
    let mut keys: HashMap<(*const GroupKey, String), Arc<GroupKey>> = HashMap::new();
    for entry in entries.iter_mut().filter(|entry| !entry.node.is_empty()) {
        let name = if speeds.apart_by(&entry.node).is_some() { entry.node.to_string() } else { OTHERS.into() };
        let make = || Arc::new(entry.group.on_node(&name));
        let key = keys.entry((Arc::as_ptr(&entry.group), name.clone())).or_insert_with(make);
        entry.group = Arc::clone(key);
    }
}
