//! Whether candidates may run at the same time: measured once, before any of them.

use super::{Sweep, folder, steps};
use crate::base::error::Result;
use crate::metrics::slots::{in_words, refused};
use crate::system::process::proc;

impl Sweep<'_> {
    /// Measures how much servers in the slots disturb each other, unless that is known, and decides whether the sweep uses them; true if
    /// the rows have been folded since.
    pub(super) fn check_slots(&mut self, resumes: bool) -> Result<bool> {
        let Some(slots) = &self.args.slots else { return Ok(false) };
        self.run_pipe(&steps::slot_check(self.args, &self.folder, slots, resumes))?;
        let raw = self.folder.raw_files();
        let folded = !raw.is_empty() && self.fold(&raw)? == Some(0);
        if self.runner.signal().is_some() || self.is_asked_to_stop() {
            return Ok(folded);
        }
        let results = self.folder.path("results.jsonl");
        let nodes = if folded { folder::nodes(&results, self.notice)? } else { Vec::new() };
        let own = nodes.iter().filter(|row| row.node == proc::node()).flat_map(|row| &row.slots);
        let checks: Vec<_> = own.filter(|check| check.slots == slots.to_string()).collect();
        for check in &checks {
            let n = slots.slots().len();
            let beside = if n == 2 { "another server".to_string() } else { format!("{} others", n - 1) };
            self.notice.say(format!("slots {slots}: the baseline of {} beside {beside}:", check.framework));
            for (metric, change) in &check.metrics {
                self.notice.plain_note(format!("  {}", in_words(metric, change)));
            }
            check.failure.iter().for_each(|why| self.notice.plain_note(format!("  {why}")));
        }
        match refused(&slots.to_string(), &checks) {
            Some(why) => self.notice.warn(format!("continuing without --slots: {why}")),
            None => self.slots = Some(slots.clone()),
        }
        Ok(folded)
    }
}
