//! The meaning of a flag on a command line: the model, an address, or a knob.

use super::{Booleans, Framework, Kind, Leniency};

/// The meaning of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagMeaning {
    /// The model.
    Model,
    /// The model, by a repository or a URL.
    ModelSource,
    /// The model's name at the endpoint.
    ServedName,
    /// The address to bind.
    Host,
    /// The port.
    Port,
    /// A knob, by its name in plans, with dots before members of a map.
    Knob(String),
    /// A knob, switched off.
    KnobOff(String),
}

impl Framework {
    /// The meaning of `flag` (without `=value`); `None` for an unknown one.
    #[must_use]
    pub fn named(&self, flag: &str) -> Option<FlagMeaning> {
        if !flag.starts_with('-') {
            return None;
        }
        if let Some(target) = self.flags.also.get(flag) {
            return if target.starts_with('-') { self.named(target) } else { Some(FlagMeaning::Knob(target.clone())) };
        }
        let is = |own: &String| same(own, flag);
        if self.model_sources.iter().any(is) {
            return Some(FlagMeaning::ModelSource);
        }
        let models = self.model_flag.iter().chain(&self.model_flags);
        if models.chain(self.commands.iter().filter_map(|entry| entry.model_flag.as_ref())).any(is) {
            return Some(FlagMeaning::Model);
        }
        if self.served_name_flag.as_ref().is_some_and(is) {
            return Some(FlagMeaning::ServedName);
        }
        if is(&self.host_flag) {
            return Some(FlagMeaning::Host);
        }
        if is(&self.port_flag) {
            return Some(FlagMeaning::Port);
        }
        let knob = |flag: &str| self.described().find(|(name, _)| same(&self.flag(name), flag));
        if let Some((name, _)) = knob(flag) {
            return Some(FlagMeaning::Knob(name.into()));
        }
        let off = flag.strip_prefix("--no-").filter(|_| self.flags.booleans == Booleans::NoPrefix);
        if let Some((name, _)) = off.and_then(|rest| knob(&format!("--{rest}"))) {
            return Some(FlagMeaning::KnobOff(name.into()));
        }
        let Some((root, members)) = flag.split_once('.').filter(|_| self.flags.dotted) else {
            return self.abbreviated(flag);
        };
        if let Some(knob) = self.flags.also.get(&format!("{root}.")) {
            return Some(FlagMeaning::Knob(format!("{knob}.{members}")));
        }
        let (name, described) = match self.named(root)? {
            FlagMeaning::Knob(name) => self.described().find(|(known, _)| *known == name)?,
            _ => return None,
        };
        let map = matches!(described.kind, Some(Kind::Map | Kind::Any));
        map.then(|| FlagMeaning::Knob(format!("{name}.{members}")))
    }

    /// True if a flag sets this knob.
    #[must_use]
    pub fn sets(&self, flag: &str, knob: &str) -> bool {
        matches!(self.named(flag), Some(FlagMeaning::Knob(name) | FlagMeaning::KnobOff(name)) if name == knob)
    }

    /// True for the flag of a degree of parallelism or of the sequence limit.
    #[must_use]
    pub fn counts(&self, flag: &str) -> bool {
        let (parallel, limit) = (&self.parallelism, self.sequence_limit.as_ref().map(|limit| &limit.knob));
        let degrees = parallel.multiply.iter().chain(&parallel.share).chain(&parallel.tensor).chain(&parallel.nodes);
        degrees.chain(limit).any(|knob| self.sets(flag, knob))
    }

    /// The meaning of the beginning of a flag, up to a dash, if its parser takes that. Only of those flags that every start has or
    /// that the plan counts with: another one may be a whole flag that the definition does not know.
    fn abbreviated(&self, flag: &str) -> Option<FlagMeaning> {
        let accepts = self.flags.lenient.contains(&Leniency::Prefixes) && flag.starts_with("--");
        let beginning = format!("{}-", flag.replace('_', "-"));
        let begins = |own: &str| accepts && own.replace('_', "-").starts_with(&beginning);
        let (parallel, limit) = (&self.parallelism, self.sequence_limit.as_ref().map(|limit| &limit.knob));
        let degrees = parallel.multiply.iter().chain(&parallel.share).chain(&parallel.tensor).chain(&parallel.nodes);
        let counted: Vec<&String> = degrees.chain(limit).collect();
        let knobs = self.described().map(|(name, _)| (self.flag(name), FlagMeaning::Knob(name.into())));
        let own = self.model_flag.iter().map(|flag| (flag.clone(), FlagMeaning::Model));
        let own = own.chain(self.served_name_flag.iter().map(|flag| (flag.clone(), FlagMeaning::ServedName)));
        let mut found = own.chain(knobs).filter(|(own, _)| begins(own)).map(|(_, meaning)| meaning);
        let only = found.next().filter(|_| found.next().is_none())?;
        let safe = !matches!(&only, FlagMeaning::Knob(name) if !counted.contains(&name));
        safe.then_some(only)
    }
}

/// True for the same flag: the engines accept `_` for `-` in long flags.
fn same(own: &str, flag: &str) -> bool {
    own == flag || (flag.starts_with("--") && own.replace('_', "-") == flag.replace('_', "-"))
}
