//! Says which commit the programs are built from, in `BENCH_VERSION` and `BENCH_COMMIT`: by the repository, or by what
//! `cargo package` wrote about it. Without either they say the version alone. Packs the plans of the cookbook.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

/// What the programs are made of.
const SOURCES: &[&str] = &[
    "src",
    COOKBOOK,
    "configs/frameworks",
    "configs/launchers",
    "configs/quickstart.yaml",
    "configs/rules",
    "configs/templates",
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
];

/// The plans that bench-validate writes.
const COOKBOOK: &str = "configs/cookbook-llm";

/// Hexadecimal digits of a commit that are shown.
const SHOWN: usize = 7;

fn main() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    for source in SOURCES {
        watch(&root.join(source));
    }
    let commit = packaged(&root).or_else(|| Some((head(&root)?, is_changed(&root))));
    let commit = commit.filter(|(hash, _)| hash.len() >= SHOWN && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    let version = variable("CARGO_PKG_VERSION");
    match commit {
        Some((hash, changed)) => {
            let commit = format!("{}{}", &hash[..SHOWN], if changed { "-dirty" } else { "" });
            tell(&format!("rustc-env=BENCH_COMMIT={commit}"));
            tell(&format!("rustc-env=BENCH_VERSION={version} ({commit})"));
        }
        None => tell(&format!("rustc-env=BENCH_VERSION={version}")),
    }
    let packed = File::create(Path::new(&variable("OUT_DIR")).join("cookbook.gz"))?;
    pack(&root.join(COOKBOOK), packed)
}

/// Packs the plans of a folder: the name and the text of each, all of them ended by NUL.
fn pack(folder: &Path, packed: File) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    paths.sort();
    let mut packed = GzEncoder::new(packed, Compression::best());
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        write!(packed, "{name}\0{}\0", fs::read_to_string(&path)?)?;
    }
    packed.finish().map(drop)
}

/// The commit of a package, and whether files were changed after it.
pub fn packaged(root: &Path) -> Option<(String, bool)> {
    let text = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let hash = text.split_once("\"sha1\"")?.1.split('"').nth(1)?;
    Some((hash.to_string(), text.contains("\"dirty\": true")))
}

/// The commit that is checked out, read from the files of git: the program git may not be there.
pub fn head(root: &Path) -> Option<String> {
    let git = root.join(".git");
    // In a further work tree `.git` is a file that names the folder.
    let folder = match fs::read_to_string(&git) {
        Ok(text) => root.join(text.strip_prefix("gitdir:")?.trim()),
        Err(_) => git,
    };
    let shared = fs::read_to_string(folder.join("commondir")).map(|path| folder.join(path.trim()));
    let shared = shared.unwrap_or_else(|_| folder.clone());
    let file = folder.join("HEAD");
    let text = fs::read_to_string(&file).ok()?;
    watch(&file);
    let Some(name) = text.trim().strip_prefix("ref: ") else { return Some(text.trim().to_string()) };
    let (loose, packed) = (shared.join(name), shared.join("packed-refs"));
    watch(&packed);
    if let Ok(hash) = fs::read_to_string(&loose) {
        watch(&loose);
        return Some(hash.trim().to_string());
    }
    // The next commit makes the loose file.
    watch(loose.parent()?);
    let packed = fs::read_to_string(packed).ok()?;
    packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(String::from))
}

/// Whether what the programs are made of is not what the commit says. Unknown without the program git: no.
fn is_changed(root: &Path) -> bool {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--"]);
    git.args(SOURCES).output().is_ok_and(|status| !status.stdout.is_empty())
}

/// Runs again when this changes. A file that is not there would run it every time.
fn watch(path: &Path) {
    if path.exists() {
        tell(&format!("rerun-if-changed={}", path.display()));
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[allow(clippy::print_stdout, reason = "cargo reads it")]
fn tell(what: &str) {
    println!("cargo:{what}");
}
