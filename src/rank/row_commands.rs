//! The commands of a result row.

/// The commands of a row; each empty if the row does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowCommands<'a> {
    /// Starts the server through its launchers; empty for a server without a launcher.
    pub launch: &'a str,
    /// The server's own command.
    pub server: &'a str,
    /// The client's command.
    pub benchmark: &'a str,
}

impl<'a> RowCommands<'a> {
    /// The command to deploy.
    #[must_use]
    pub fn deploy(&self) -> &'a str {
        if self.launch.is_empty() { self.server } else { self.launch }
    }
}
