//! Debian packages by `apt-get`, with state folders of our own: no root, and nothing of the system changes.
//!
//! The mirror is the one the machine's own apt is configured with, or `$PORTCULLIS_DEBIAN_MIRROR`. The packages are
//! always those of one Debian release, whatever runs here: they bring their own C library along.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{OVERRIDES, PartError, Result, file_error};
use crate::lock::Lock;

/// The release packages come from.
const RELEASE: &str = "bookworm";
/// Where the newest kernels come from.
const NEWEST: &str = "trixie-backports";
const MIRROR_VARIABLE: &str = "PORTCULLIS_DEBIAN_MIRROR";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names a mirror's folders may have for a Debian release; with other names it is another distribution's mirror.
const DEBIAN_RELEASES: [&str; 10] = [
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
];

/// `apt-get` with a configuration, package lists and archives of our own. One process at a time uses these folders.
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Writes the configuration into the cache. Nothing is fetched yet.
    pub(super) fn new(cache: &Path) -> Result<Self> {
        let folder = cache.join("apt");
        for name in ["lists/partial", "archives/partial", "empty"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).map_err(file_error("cannot create", &path))?;
        }
        let apt = Self { folder };
        let _lock = apt.lock()?;
        // No package counts as installed, so that everything needed is fetched, down to the C library.
        apt.write("status", "")?;
        apt.write("apt.conf", &apt.configuration()?)?;
        apt.write("sources.list", &sources(&mirrors()?))?;
        Ok(apt)
    }

    /// Fetches `packages` alone and unpacks them into `to`. Returns the version of the first.
    pub(super) fn unpack(&self, packages: &[&str], to: &Path) -> Result<String> {
        self.fetch(packages, &["download"], to)
    }

    /// Fetches `packages` from the backports with everything they depend on and unpacks all of it into `to`.
    pub(super) fn unpack_with_dependencies(&self, packages: &[&str], to: &Path) -> Result<String> {
        let backports = format!("{RELEASE}-backports");
        let install = ["install", "--download-only", "--yes", "--no-install-recommends", "-t", &backports];
        self.fetch(packages, &install, to)
    }

    /// The package that the meta-package `name` stands for.
    pub(super) fn behind_meta_package(&self, name: &str) -> Result<String> {
        self.behind(RELEASE, name)
    }

    /// The package that the meta-package `name` stands for where the newest kernels are.
    pub(super) fn newest_behind_meta_package(&self, name: &str) -> Result<String> {
        self.behind(NEWEST, name)
    }

    fn behind(&self, release: &str, name: &str) -> Result<String> {
        let _lock = self.lock()?;
        self.update()?;
        let release = format!("APT::Default-Release={release}");
        let output = self.run("apt-cache", &["-o", &release, "depends", name], &self.folder)?;
        // What it stands for begins as it does; other things it may need too.
        let kind = name.split('-').take(2).collect::<Vec<_>>().join("-");
        output
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|needed| needed.starts_with(&kind))
            .map(str::to_owned)
            .ok_or_else(|| PartError::Unavailable(format!("Debian's package {name} stands for nothing")))
    }

    fn fetch(&self, packages: &[&str], action: &[&str], to: &Path) -> Result<String> {
        let _lock = self.lock()?;
        self.update()?;
        let archives = self.folder.join("archives");
        super::remove_folder(&archives)?;
        std::fs::create_dir_all(archives.join("partial")).map_err(file_error("cannot create", &archives))?;
        let progress = Progress::start(format!("fetching {}", packages.join(", ")), archives.clone());
        self.run("apt-get", &[action, packages].concat(), &archives)?;
        drop(progress);
        let mut version = None;
        for entry in std::fs::read_dir(&archives).map_err(file_error("cannot read", &archives))? {
            let path = entry.map_err(file_error("cannot read", &archives))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|it| it != "deb") {
                continue;
            }
            if let Some(rest) = name.strip_prefix(&format!("{}_", packages[0])) {
                version = rest.split('_').next().map(|text| text.replace("%3a", "_"));
            }
            run(Command::new("dpkg").arg("-x").arg(&path).arg(to))?;
        }
        super::remove_folder(&archives)?;
        version.ok_or_else(|| PartError::Unavailable(format!("apt-get brought no package {}", packages[0])))
    }

    fn lock(&self) -> Result<Lock> {
        Lock::take(&self.folder.join("lock"), "another run is fetching packages")
            .map_err(file_error("cannot lock", &self.folder))
    }

    /// Fetches the package lists, once per hour at most unless there are other sources now.
    fn update(&self) -> Result<()> {
        let stamp = self.folder.join("updated");
        let age = stamp.metadata().and_then(|it| it.modified()).ok().and_then(|time| time.elapsed().ok());
        let sources = std::fs::read_to_string(self.folder.join("sources.list")).unwrap_or_default();
        let same = std::fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == sources);
        if same && age.is_some_and(|age| age < Duration::from_hours(1)) {
            return Ok(());
        }
        let _progress = Progress::start("fetching Debian's package lists".into(), self.folder.join("lists"));
        self.run("apt-get", &["update"], &self.folder)?;
        self.write("updated", &sources)
    }

    /// The machine's own settings for fetching (proxies and the like), then our folders.
    fn configuration(&self) -> Result<String> {
        let own = run(Command::new("apt-config").args(["dump", "Acquire"])).map_err(without_apt)?;
        let mut text = String::new();
        for line in own.lines().filter(|line| line.ends_with("\";")) {
            writeln!(text, "{line}").ok();
        }
        let folder = self.folder.display();
        write!(
            text,
            r#"Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/empty";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{folder}/empty";
Dir::Etc::parts "{folder}/empty";
Dir::Etc::main "/dev/null";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "";
Acquire::Languages "none";
Debug::NoLocking "1";
"#
        )
        .ok();
        Ok(text)
    }

    fn run(&self, program: &str, arguments: &[&str], folder: &Path) -> Result<String> {
        let mut command = Command::new(program);
        command.args(arguments).env("APT_CONFIG", self.folder.join("apt.conf")).current_dir(folder);
        run(&mut command)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).map_err(file_error("cannot write", &path))
    }
}

/// Where Debian's packages and their security updates are.
#[derive(Debug, PartialEq)]
struct Mirrors {
    main: String,
    security: String,
}

fn mirrors() -> Result<Mirrors> {
    if let Ok(main) = std::env::var(MIRROR_VARIABLE) {
        let main = main.trim_end_matches('/').to_owned();
        return Ok(Mirrors { security: format!("{main}-security"), main });
    }
    let uris = run(Command::new("apt-get").args(["update", "--print-uris"])).map_err(without_apt)?;
    mirrors_among(&uris).ok_or_else(|| {
        PartError::Unavailable(format!(
            "apt-get on this system knows no Debian mirror. Name one in {MIRROR_VARIABLE} (the folder that holds \
             `dists` and `pool`), or bring the parts yourself:\n{}",
            list_of_overrides()
        ))
    })
}

/// Finds the mirrors in what `apt-get update --print-uris` prints: `'URI/dists/SUITE/InRelease' FILE SIZE`.
fn mirrors_among(uris: &str) -> Option<Mirrors> {
    let suites: Vec<(&str, &str)> = uris
        .lines()
        .filter_map(|line| line.strip_prefix('\'')?.split('\'').next())
        .filter_map(|uri| uri.split_once("/dists/"))
        .map(|(mirror, rest)| (mirror, rest.split('/').next().unwrap_or_default()))
        .collect();
    let (main, _) = suites.iter().find(|(_, suite)| DEBIAN_RELEASES.contains(suite))?;
    let security = suites
        .iter()
        .find(|(_, suite)| suite.strip_suffix("-security").is_some_and(|it| DEBIAN_RELEASES.contains(&it)));
    Some(Mirrors {
        main: (*main).to_owned(),
        security: security.map_or_else(|| format!("{main}-security"), |(mirror, _)| (*mirror).to_owned()),
    })
}

fn sources(mirrors: &Mirrors) -> String {
    let signed = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    let Mirrors { main, security } = mirrors;
    format!(
        "deb {signed}{main} {RELEASE} main\ndeb {signed}{main} {RELEASE}-backports main\n\
         deb {signed}{security} {RELEASE}-security main\ndeb {signed}{main} {NEWEST} main\n"
    )
}

/// Turns "no such program" into advice.
fn without_apt(error: PartError) -> PartError {
    match error {
        PartError::File(_, source) if source.kind() == std::io::ErrorKind::NotFound => {
            PartError::Unavailable(format!(
                "this system has no apt-get to fetch the rig's parts with. Bring them yourself:\n{}",
                list_of_overrides()
            ))
        }
        other => other,
    }
}

fn list_of_overrides() -> String {
    OVERRIDES.iter().fold(String::new(), |mut text, it| {
        writeln!(text, "  {}={}", it.variable, it.meaning).ok();
        text
    })
}

/// Runs a program to its end; its output, or the end of it as an error.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| PartError::File(format!("cannot run {program}"), error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let all = text + &String::from_utf8_lossy(&output.stderr);
    let mut last: Vec<_> = all.lines().rev().take(12).collect();
    last.reverse();
    Err(PartError::Program { program, output: last.join("\n") })
}

/// A line on standard error that grows with what is fetched.
pub(super) struct Progress {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    pub(super) fn start(what: String, folder: PathBuf) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let live = std::io::stderr().is_terminal();
            if !live {
                eprintln!("rig: {what}");
            }
            while stopped.recv_timeout(Duration::from_millis(200))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                if live {
                    eprint!("\rrig: {what}: {} MB ", folder_size(&folder) / 1_000_000);
                    std::io::stderr().flush().ok();
                }
            }
            if live {
                eprintln!("\rrig: {what}: {} MB, done", folder_size(&folder) / 1_000_000);
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(it) if it.is_dir() => folder_size(&entry.path()),
            Ok(it) => it.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests;
