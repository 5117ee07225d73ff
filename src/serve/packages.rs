//! The Python packages beside a framework's program, read from their metadata folders: starting an interpreter costs
//! seconds.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engines::framework::Framework;
use crate::rows::kinds::CandidateServer;
use crate::system::process::proc::on_path_of;

/// The version of a framework's Python package beside a server's program on this host; `None` without such a package.
#[must_use]
pub fn package_version(framework: &Framework, server: &CandidateServer) -> Option<String> {
    packages(framework, server).get(&normalized(framework.version.package.as_ref()?)).cloned()
}

/// The versions of the packages beside the framework's program, by normalized name.
pub(super) fn packages(framework: &Framework, server: &CandidateServer) -> BTreeMap<String, String> {
    let program = framework.find(&server.argv).and_then(|found| server.argv.get(found.program));
    let path = server.env.get("PATH").and_then(Option::as_deref);
    let program = program.and_then(|program| on_path_of(program, path).into_iter().next());
    program.as_deref().and_then(beside).unwrap_or_default()
}

/// A package's name as its metadata folder spells it, in lower case.
pub(super) fn normalized(package: &str) -> String {
    package.replace('-', "_").to_ascii_lowercase()
}

fn beside(program: &Path) -> Option<BTreeMap<String, String>> {
    // A virtual environment has `lib` next to the folder of the programs.
    let root = program.parent()?.parent()?;
    let libraries = std::fs::read_dir(root.join("lib")).ok()?.flatten();
    let folders = libraries.flat_map(|library| {
        ["site-packages", "dist-packages"].map(|packages| std::fs::read_dir(library.path().join(packages)))
    });
    let entries = folders.flatten().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (package, version) = name.strip_suffix(".dist-info")?.split_once('-')?;
        Some((normalized(package), version.to_string()))
    });
    Some(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_beside_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("lib/python3.11/site-packages");
        std::fs::create_dir_all(packages.join("Some_engine-1.2.3.dist-info")).unwrap();
        std::fs::create_dir_all(packages.join("nvidia_nccl_cu13-2.28.9.dist-info")).unwrap();
        let found = beside(&folder.path().join("bin/engine")).unwrap();
        assert_eq!(found.get(&normalized("some-engine")).map(String::as_str), Some("1.2.3"));
        assert_eq!(found.get("nvidia_nccl_cu13").map(String::as_str), Some("2.28.9"));
        assert_eq!(found.get("engine"), None);
    }
}
