//! Looks from L1 at what an assigned function can reach, without asking the program under test: the guest's own tables,
//! read from the memory of its VMM and composed with where Linux says that memory lies, must be the tables that Linux
//! shows for the function's IOMMU. The program's own audit is asked as well, and must find as little.

mod audit;
mod guest;
mod host;
mod pages;
mod trace;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use audit::Auditor;
use guest::Guest;
use host::Host;
use pages::{Difference, Pages};
use trace::Trace;

/// How often a look is taken again, with the guest running on in between, before a difference counts: the guest may
/// have changed a table and not yet told the unit.
const AGAIN: u32 = 6;
/// How long the guest runs on in between.
const BETWEEN: Duration = Duration::from_millis(300);
/// The name of the look after which the guest only ends.
const LAST: &str = "quiet";
/// At most so many differences are shown of a look.
const SHOWN: usize = 12;

#[derive(clap::Args)]
pub(crate) struct Witness {
    /// A function: its address in L1, and the one that the guest's tables know it by, as in 0000:00:05.0=01:00.0.
    #[arg(long, required = true, value_name = "L1=GUEST")]
    function: Vec<Function>,
    /// Seconds between looks at a guest that is at work, until it says "@@ look quiet"; without it, looks are taken only
    /// when the guest says "@@ look" and a word.
    #[arg(long)]
    every: Option<u64>,
    /// The control socket that the VMM is told to open.
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    /// The VMM and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// A function that is looked at.
#[derive(Clone)]
struct Function {
    host: String,
    guest: u16,
}

impl std::str::FromStr for Function {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is not like 0000:00:05.0=01:00.0");
        let (host, guest) = text.split_once('=').ok_or_else(wrong)?;
        let (bus, rest) = guest.split_once(':').ok_or_else(wrong)?;
        let (device, function) = rest.split_once('.').ok_or_else(wrong)?;
        let number = |digits: &str| u16::from_str_radix(digits, 16).map_err(|_| wrong());
        let guest = number(bus)? << 8 | number(device)? << 3 | number(function)?;
        Ok(Self { host: host.into(), guest })
    }
}

/// What all looks together came to.
#[derive(Default)]
struct Tally {
    looks: u32,
    at_once: u32,
    most_pages: u64,
    audits: u32,
    differences: usize,
}

/// The VMM, and what it is looked at with.
struct Watched {
    child: Child,
    trace: Trace,
    /// From the first look on.
    auditor: Option<Auditor>,
}

impl Witness {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let trace = Trace::start()?;
        let pinned = host::pinned()?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: one system call, which is safe between fork and exec: the VMM must not outlive us.
        unsafe { command.pre_exec(end_with_parent) };
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.command[0]))?;
        let mut keyboard = child.stdin.take().context("no input")?;
        let lines = lines_of(&mut child)?;
        let mut watched = Watched { child, trace, auditor: None };
        let mut tally = Tally::default();
        let every = self.every.map(Duration::from_secs);
        let mut next = every.map(|every| Instant::now() + every);
        loop {
            let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            match lines.recv_timeout(wait) {
                Ok(line) => {
                    std::io::stdout().write_all(&line)?;
                    let Some(name) = asked(&line) else { continue };
                    self.look(&name, &mut watched, &mut tally)?;
                    // The guest waits for it, unless it has ended.
                    keyboard.write_all(b"\n").ok();
                    if name == LAST {
                        next = None;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if watched.trace.translation_is_on()? {
                        self.look("at work", &mut watched, &mut tally)?;
                    }
                    next = every.map(|every| Instant::now() + every);
                }
            }
        }
        let status = watched.child.wait()?;
        let left = host::pinned()? - pinned;
        println!("@@ witness: {left} more pages are pinned than before the guest");
        let Tally { looks, at_once, most_pages, audits, differences } = tally;
        println!(
            "@@ figure witness: {looks} looks, {at_once} of them equal at once, up to {most_pages} pages, \
             {audits} audits, {differences} differences"
        );
        ensure!(left == 0, "pages stay pinned");
        ensure!(looks > 0 && audits > 0, "there was nothing to look at");
        ensure!(differences == 0, "what the function can reach is not what the guest's tables say");
        ensure!(status.success(), "the VMM ended with {status}");
        println!("@@ witness: the host's tables were the guest's");
        Ok(())
    }

    /// Compares, for every function, and has the program audit itself. Only what is different each time counts.
    fn look(&self, name: &str, watched: &mut Watched, tally: &mut Tally) -> anyhow::Result<()> {
        println!("@@ witness: {name}: locked {} KiB", host::locked(watched.child.id())?);
        for function in &self.function {
            let mut wanted = 0;
            let again = repeatedly(pages::common, || {
                let Some(_stopped) = Stopped::new(&mut watched.child)? else { return Ok(None) };
                let (guest, host) = pages(watched.child.id(), function, &watched.trace)?;
                wanted = guest.count();
                Ok(Some(guest.differences(&host)))
            })?;
            let Some((lasting, attempts)) = again else { return Ok(()) };
            tally.looks += 1;
            tally.at_once += u32::from(attempts == 1);
            tally.most_pages = tally.most_pages.max(wanted);
            tally.differences += lasting.len();
            let what = format!("{name}: {}: {wanted} pages", function.host);
            tell(&what, &lasting, attempts);
        }
        let Some((lasting, attempts)) = self.audit(watched)? else { return Ok(()) };
        tally.audits += 1;
        tally.differences += lasting.len();
        tell(&format!("{name}: audit"), &lasting, attempts);
        Ok(())
    }

    /// What the program finds wrong itself each time that it is asked, and how often that was. Nothing if it has ended.
    fn audit(&self, watched: &mut Watched) -> anyhow::Result<Option<(Vec<audit::Finding>, u32)>> {
        let functions: Vec<_> = self.function.iter().map(|function| function.host.as_str()).collect();
        let auditor = match &mut watched.auditor {
            Some(auditor) => auditor,
            none => none.insert(Auditor::connect(&self.control)?),
        };
        let found = repeatedly(audit::common, || auditor.ask(&functions))?;
        if found.is_none() {
            ensure!(ends(&mut watched.child)?, "the VMM gives no audit any more");
        }
        Ok(found)
    }
}

/// Has `find` find differences until there are none that were there each time, and says how often that was. Nothing as
/// soon as there is nothing to be looked at any more.
fn repeatedly<T>(
    common: fn(&[T], &[T]) -> Vec<T>,
    mut find: impl FnMut() -> anyhow::Result<Option<Vec<T>>>,
) -> anyhow::Result<Option<(Vec<T>, u32)>> {
    let Some(mut lasting) = find()? else { return Ok(None) };
    let mut attempts = 1;
    while !lasting.is_empty() && attempts < AGAIN {
        std::thread::sleep(BETWEEN);
        let Some(found) = find()? else { return Ok(None) };
        lasting = common(&lasting, &found);
        attempts += 1;
    }
    Ok(Some((lasting, attempts)))
}

/// Prints what came of it.
fn tell(what: &str, lasting: &[impl std::fmt::Display], attempts: u32) {
    println!("@@ witness: {what}, {} differences, seen {attempts} times", lasting.len());
    for difference in lasting.iter().take(SHOWN) {
        println!("@@ witness: {difference}");
    }
}

/// Whether a process that has hung up has ended, or does so soon.
fn ends(child: &mut Child) -> anyhow::Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// What the guest's tables allow a function, in the host's addresses, and what the host's tables allow it.
fn pages(process: u32, function: &Function, trace: &Trace) -> anyhow::Result<(Pages, Pages)> {
    let guest = Guest::of(process)?;
    let unit = trace.unit()?;
    let wanted = guest.reachable(&unit, function.guest)?;
    Ok((wanted, Host::reachable(&function.host)?))
}

/// Has this process killed when the one that started it ends.
fn end_with_parent() -> std::io::Result<()> {
    // SAFETY: two numbers.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The name of the look that a line of the guest's asks for.
fn asked(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    text.trim_end().strip_prefix("@@ look ").map(str::to_owned)
}

/// The lines that a VMM prints, from a thread of their own.
fn lines_of(child: &mut Child) -> anyhow::Result<Receiver<Vec<u8>>> {
    let mut lines = BufReader::new(child.stdout.take().context("no output")?);
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            if !matches!(lines.read_until(b'\n', &mut line), Ok(1..)) || sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// A process none of whose threads runs until this is dropped.
struct Stopped(u32);

impl Stopped {
    /// Stops a process; none if it has ended.
    fn new(child: &mut Child) -> anyhow::Result<Option<Self>> {
        let stopped = Self(child.id());
        stopped.send(libc::SIGSTOP);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if child.try_wait()?.is_some() {
                return Ok(None);
            }
            if stopped.is_complete() {
                return Ok(Some(stopped));
            }
            ensure!(Instant::now() < deadline, "the VMM does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn send(&self, signal: i32) {
        // SAFETY: two numbers; the process is our child and has not been waited for.
        unsafe { libc::kill(self.0.cast_signed(), signal) };
    }

    /// Whether all threads stand still: those that work for the kernel alone never do, and touch nothing of ours.
    fn is_complete(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.0)) else { return false };
        threads.flatten().all(|thread| {
            let state = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
        })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.send(libc::SIGCONT);
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { iova, wanted, found } = self;
        let say = |page: &Option<pages::Page>| page.map_or("nothing".into(), |page| page.to_string());
        write!(f, "at {iova:#x} the guest's tables give {}, the host's {}", say(wanted), say(found))
    }
}
