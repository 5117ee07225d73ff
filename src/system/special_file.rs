//! Files that are none: reading them may never end.

use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Where the shell and the system name open files: a pipe there has a writer.
const OPEN_FILES: [&str; 3] = ["/dev/fd", "/dev/stdin", "/proc"];

/// True for a device such as `/dev/zero`; not for a terminal, nor for `/dev/null`.
///
/// # Errors
/// The error of the system.
pub fn is_endless(file: &File, path: &Path) -> std::io::Result<bool> {
    let is_device = file.metadata()?.file_type().is_char_device();
    Ok(is_device && !file.is_terminal() && path != Path::new("/dev/null"))
}

/// True for what can be read only once: a pipe, a socket, standard input (`-`) or a device.
#[must_use]
pub fn is_stream(path: &Path) -> bool {
    path == Path::new("-") || std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// True for a named pipe or a socket, which may never have a writer; not for the shell's `<(…)`.
#[must_use]
pub fn is_named_pipe(path: &Path) -> bool {
    let is_pipe =
        std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo() || found.file_type().is_socket());
    is_pipe && !OPEN_FILES.iter().any(|start| path.starts_with(start))
}

/// True for a pipe.
#[must_use]
pub fn is_pipe(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.file_type().is_fifo())
}
