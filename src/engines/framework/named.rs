//! What a flag on a command line is: the model, an address, or a knob.

use super::{Booleans, Framework, Kind};

/// What a flag says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Which model is loaded.
    Model,
    /// The model, by a repository or a URL.
    ModelSource,
    /// The model's name at the endpoint.
    ServedName,
    /// The address to bind.
    Host,
    /// The port.
    Port,
    /// A knob, by its name in plans: with members behind dots where it is one of a map.
    Knob(String),
    /// A knob, switched off.
    KnobOff(String),
}

impl Framework {
    /// What `flag` (without `=value`) says; `None` for one that the definition does not know.
    #[must_use]
    pub fn named(&self, flag: &str) -> Option<Named> {
        if !flag.starts_with('-') {
            return None;
        }
        if let Some(target) = self.flags.also.get(flag) {
            return if target.starts_with('-') { self.named(target) } else { Some(Named::Knob(target.clone())) };
        }
        let is = |own: &String| same(own, flag);
        if self.model_sources.iter().any(is) {
            return Some(Named::ModelSource);
        }
        let models = self.model_flag.iter().chain(&self.model_flags);
        if models.chain(self.commands.iter().filter_map(|entry| entry.model_flag.as_ref())).any(is) {
            return Some(Named::Model);
        }
        if self.served_name_flag.as_ref().is_some_and(is) {
            return Some(Named::ServedName);
        }
        if is(&self.host_flag) {
            return Some(Named::Host);
        }
        if is(&self.port_flag) {
            return Some(Named::Port);
        }
        let knob = |flag: &str| self.described().find(|(name, _)| same(&self.flag(name), flag));
        if let Some((name, _)) = knob(flag) {
            return Some(Named::Knob(name.into()));
        }
        let off = flag.strip_prefix("--no-").filter(|_| self.flags.booleans == Booleans::NoPrefix);
        if let Some((name, _)) = off.and_then(|rest| knob(&format!("--{rest}"))) {
            return Some(Named::KnobOff(name.into()));
        }
        let (root, members) = flag.split_once('.').filter(|_| self.flags.dotted)?;
        let (name, described) = match self.named(root)? {
            Named::Knob(name) => self.described().find(|(known, _)| *known == name)?,
            _ => return None,
        };
        let map = matches!(described.kind, Some(Kind::Map | Kind::Any));
        map.then(|| Named::Knob(format!("{name}.{members}")))
    }
}

/// Parsers of the engines take `_` for `-` inside a long flag.
fn same(own: &str, flag: &str) -> bool {
    own == flag || (flag.starts_with("--") && own.replace('_', "-") == flag.replace('_', "-"))
}
