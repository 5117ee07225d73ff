//! Whether a server can be started where its launchers would start it: their programs, its image, its program in there.

use std::time::Duration;

use super::capture::HelpSource;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::shell;
use crate::system::process::{capture, image, proc};

/// Maximum time to find a program where it would be started.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// Exit status of that search if there is no such program.
const NOT_FOUND: i32 = 42;

impl HelpSource<'_> {
    /// The program that serves.
    fn program(&self) -> &str {
        self.head().first().map_or("", String::as_str)
    }

    pub(super) fn is_local(&self) -> bool {
        self.server.launcher.iter().all(|step| step.is_local())
    }

    /// Pulls its images unless they are present.
    ///
    /// # Errors
    /// Its launcher's program is not installed, or an image cannot be pulled: which, why, and what to do.
    pub(super) fn reach(&self, notice: &Notice) -> Result<()> {
        let client = self.short(&["true".into()])?.and_then(|command| command.into_iter().next());
        if let Some(client) = client.filter(|client| !self.is_local() && proc::on_path(client).is_empty()) {
            return Err(Error::new(format!("its launcher needs {client}, which was not found on PATH")));
        }
        let images = self.with(|chain| chain.images())?;
        images.iter().try_for_each(|one| image::ensure(one, notice))
    }

    /// Why its server cannot be started, as far as a look at the place shows; a note where the look itself is not possible.
    ///
    /// # Errors
    /// As [`HelpSource::reach`], or the program is not found there.
    pub fn look(&self, notice: &Notice) -> Result<Option<String>> {
        let program = self.program();
        if self.is_local() {
            let path = self.server.env.get("PATH").and_then(Option::as_deref);
            let where_ = if program.contains('/') { "" } else { " on PATH" };
            return match proc::on_path_of(program, path).is_empty() {
                true => Err(Error::new(format!("{program} not found{where_}"))),
                false => Ok(None),
            };
        }
        self.reach(notice)?;
        let script = format!("command -v \"$0\" >/dev/null || exit {NOT_FOUND}");
        let Some(command) = self.short(&["sh".into(), "-c".into(), script, program.into()])? else { return Ok(None) };
        let place = match &self.server.image {
            Some(image) => format!("in image {image}"),
            None => "there".to_string(),
        };
        let (text, status) = match capture::outcome(&command, &self.environment(), LOOK_LIMIT) {
            Ok(done) => done,
            Err(e) => return Ok(Some(format!("could not check that {program} exists {place}: {e}"))),
        };
        match status.code() {
            Some(0) => Ok(None),
            Some(NOT_FOUND) => Err(Error::new(format!("{program} not found {place}"))),
            // No shell there.
            Some(126 | 127) => Ok(Some(format!("could not check that {program} exists {place}: it has no sh"))),
            _ => {
                let why = format!("{} failed ({status}): {}", shell::join(&command), capture::last_line(&text));
                Err(Error::new(match &self.server.image {
                    Some(_) => {
                        format!("{why} (an image that starts a program of its own needs the option --entrypoint \"\")")
                    }
                    None => why,
                }))
            }
        }
    }
}
