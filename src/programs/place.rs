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

    /// The program of its outermost launcher, if this host lacks it.
    fn missing_client(&self) -> Result<Option<String>> {
        let client = self.short(&["true".into()])?.and_then(|command| command.into_iter().next());
        Ok(client.filter(|client| !self.is_local() && proc::on_path(client).is_empty()))
    }

    /// What to do about a server that cannot be started: about its launcher or its image, if it is for their sake, else how to get its
    /// framework. `None` if its definition does not say. What [`HelpSource::look`] has told as an error is not told again.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        if let Ok(Some(client)) = self.missing_client() {
            return Some(format!("install {client}, or start the server without it: see launcher in bench-plan(5)"));
        }
        let images = if self.is_local() { Vec::new() } else { self.with(|chain| chain.images()).unwrap_or_default() };
        let missing = images.iter().find(|image| image::is_present(image).is_ok_and(|is_present| !is_present));
        let install = || Some(self.framework.install.join("; ")).filter(|install| !install.is_empty());
        missing.map(|image| shell::join(&image.pull)).or_else(install)
    }

    /// Pulls its images unless they are present; with `pull` false, a missing image is an error.
    ///
    /// # Errors
    /// Its launcher's program is not installed, or an image cannot be pulled: which, why, and what to do.
    pub(super) fn reach(&self, pull: bool, notice: &Notice) -> Result<()> {
        if let Some(client) = self.missing_client()? {
            return Err(Error::new(format!("its launcher needs {client}, which was not found on PATH")));
        }
        let images = self.with(|chain| chain.images())?;
        images.iter().try_for_each(|one| match pull || image::is_present(one)? {
            true => image::ensure(one, notice),
            false => Err(Error::new(format!("image {} is not here: {}", one.image, shell::join(&one.pull)))),
        })
    }

    /// Why its server cannot be started, as far as a look at the place shows; a note where the look itself is not possible.
    ///
    /// # Errors
    /// As [`HelpSource::reach`], or the program is not found there.
    pub fn look(&self, pull: bool, notice: &Notice) -> Result<Option<String>> {
        let program = self.program();
        if self.is_local() {
            let path = self.server.env.get("PATH").and_then(Option::as_deref);
            let where_ = if program.contains('/') { "" } else { " on PATH" };
            return match proc::on_path_of(program, path).is_empty() {
                true => Err(Error::new(format!("{program} not found{where_}"))),
                false => self.module(),
            };
        }
        self.reach(pull, notice)?;
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

    /// As [`HelpSource::look`], for a server that is a module of Python: whether Python on this host has it.
    fn module(&self) -> Result<Option<String>> {
        let [python, option, module, ..] = self.head() else { return Ok(None) };
        if option != "-m" {
            return Ok(None);
        }
        let script = format!(
            "import importlib.util, sys; found = importlib.util.find_spec({:?}); sys.exit({NOT_FOUND} if found is None else 0)",
            module.split('.').next().unwrap_or_default()
        );
        let command = [python.clone(), "-c".into(), script];
        match capture::outcome(&command, &self.environment(), LOOK_LIMIT) {
            Ok((_, status)) if status.code() == Some(NOT_FOUND) => {
                Err(Error::new(format!("{python} was found, but not its module {module}")))
            }
            Ok(_) => Ok(None),
            Err(e) => Ok(Some(format!("could not check that {python} has {module}: {e}"))),
        }
    }
}
