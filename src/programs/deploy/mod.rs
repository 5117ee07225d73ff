//! bench-rank --deploy: a candidate as a file that starts it, with what was measured of it as comments.

mod container;
mod manifest;
mod unit;

use self::container::{DeployedContainer, file_name};
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::flags::rank::DeployForm;
use crate::rank::Ranking;
use crate::report::text::BIND;
use crate::report::{deploy, explain};

/// What stands in place of a secret.
const REDACTED: &str = "[REDACTED";

/// The text of the file for a candidate; an empty name is the winner.
///
/// # Errors
/// No such candidate, or several; a row without a command; a form that needs an image where the server had none.
pub fn text(ranking: &Ranking, name: &str, form: DeployForm, notice: &Notice) -> Result<String> {
    let entry = match name {
        "" => deploy::winner(ranking)?,
        name => explain::find(ranking, name, "--deploy")?,
    };
    let command = entry.commands().deploy();
    if command.is_empty() {
        return Err(Error::new(format!("{} has no command: its rows are another tool's", entry.candidate_id)));
    }
    if command.contains(REDACTED) {
        notice.warn("the command has a redacted secret: put a reference to it there");
    }
    let mut lines = deploy::lines(ranking, entry);
    let body = match form {
        DeployForm::Script => {
            lines.push(BIND.into());
            format!("{command}\n")
        }
        DeployForm::Systemd => {
            lines.push(BIND.into());
            unit::unit(&file_name(entry), &format!("{} on {}", entry.group.model(), entry.framework), command)
        }
        DeployForm::Compose | DeployForm::Kubernetes => {
            let container = DeployedContainer::of(entry, form)?;
            lines.extend(container.notes(form));
            if form == DeployForm::Compose { manifest::compose(&container)? } else { manifest::kubernetes(&container)? }
        }
    };
    let first = if form == DeployForm::Script { "#!/bin/sh\n" } else { "" };
    let comments: String = lines.iter().map(|line| format!("# {}\n", line.replace(['\n', '\r'], " "))).collect();
    Ok(format!("{first}{comments}{body}"))
}
