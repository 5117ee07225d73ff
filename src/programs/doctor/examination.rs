//! The rows of an examination.

use crate::rows::kinds::DoctorRow;
use crate::rows::words::HealthState;

/// The rows of an examination.
#[derive(Debug, Default)]
pub struct Examination {
    /// What was found.
    pub rows: Vec<DoctorRow>,
    /// The plan that is looked at.
    pub plan: Option<String>,
    /// The frameworks that can be started.
    pub runnable: Vec<String>,
}

impl Examination {
    /// Adds a row.
    pub fn put(&mut self, framework: Option<&str>, state: HealthState, text: String, fix: Option<String>) {
        let (plan, framework) = (self.plan.clone(), framework.map(String::from));
        self.rows.push(DoctorRow { plan, framework, state, text, fix });
    }

    /// Adds one about the host.
    pub fn host_is(&mut self, state: HealthState, text: String) {
        self.put(None, state, text, None);
    }

    /// Adds one about the host that says how to mend it.
    pub fn host_needs(&mut self, state: HealthState, text: String, fix: &str) {
        self.put(None, state, text, Some(fix.into()));
    }
}
