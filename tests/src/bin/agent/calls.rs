//! Runs a VMM and counts the `ioctl`s it makes while its guest says so.
//!
//! A seccomp filter has the kernel tell of each call before it is made, which works on every kernel and with
//! every VMM. It takes time: what is counted so is not timed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// Requests that change what a device reaches: of VFIO's type 1 (map, unmap) and of iommufd (copy, map,
/// unmap, map of a file).
const MAPPING: [u64; 6] = [0x3b71, 0x3b72, 0x3b83, 0x3b85, 0x3b86, 0x3b8f];
/// KVM's request to run a processor: made as often as it leaves the guest for user space.
const RUN: u64 = 0xae80;
/// A flag of a listener.
const SYNC_WAKE_UP: u64 = 1;

#[derive(clap::Args)]
pub(crate) struct Calls {
    /// The VMM and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// How often each request was made.
type Counts = BTreeMap<u64, u64>;

impl Calls {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let counts = Arc::new(Mutex::new(Counts::new()));
        let mut child = self.start(&counts)?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            io::stdout().write_all(&line)?;
            let text = String::from_utf8_lossy(&line);
            if text.starts_with("@@ count from here") {
                lock(&counts).clear();
            } else if let Some(what) = text.strip_prefix("@@ count to here:") {
                show(what.trim(), &lock(&counts));
            }
            line.clear();
        }
        println!("@@ calls end, {}", child.wait()?);
        Ok(())
    }

    /// Starts the VMM from a thread whose calls are told: those of its children are too.
    fn start(&self, counts: &Arc<Mutex<Counts>>) -> anyhow::Result<Child> {
        let listener = Arc::new(AtomicI32::new(0));
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
        let thread = {
            let listener = listener.clone();
            std::thread::spawn(move || {
                let made = tell_of_calls();
                // Whoever listens is to do so before this thread's next call.
                listener.store(made.as_ref().map_or(-1, |made| *made), Ordering::SeqCst);
                made.and_then(|_| command.spawn())
            })
        };
        let listener = loop {
            match listener.load(Ordering::SeqCst) {
                0 => std::thread::sleep(Duration::from_millis(1)),
                made => break made,
            }
        };
        if listener > 0 {
            // SAFETY: the kernel made this descriptor for us just now; nothing else owns it.
            let listener = unsafe { File::from_raw_fd(listener) };
            // The caller waits for our answer: it may as well come from the caller's processor. Where the kernel does
            // not know that, it only takes longer.
            // SAFETY: two numbers.
            unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
            let counts = counts.clone();
            std::thread::spawn(move || while count_one(&listener, &counts).is_ok() {});
        }
        let started = thread.join().map_err(|_| anyhow!("the thread that starts the VMM is gone"))?;
        started.with_context(|| format!("cannot run {} with its calls told", self.command[0]))
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn show(what: &str, counts: &Counts) {
    let sum = |wanted: &dyn Fn(u64) -> bool| -> u64 {
        counts.iter().filter(|(request, _)| wanted(**request)).map(|(_, count)| count).sum()
    };
    println!("@@ {what}, host calls that map: {}", sum(&|request| MAPPING.contains(&request)));
    println!("@@ {what}, exits: {}", sum(&|request| request == RUN));
    println!("@@ {what}, others: {}", sum(&|request| request != RUN && !MAPPING.contains(&request)));
    for (request, count) in counts {
        println!("{what}: request {request:#x}: {count}");
    }
}

/// Has every `ioctl` of this thread and of what it starts told; gives the descriptor that tells.
fn tell_of_calls() -> io::Result<i32> {
    const fn statement(code: u32, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
    }
    let is_ioctl = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_ioctl as u32);
    let mut filter = [
        // The filter sees `struct seccomp_data`, which begins with the number of the call.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jf: 1, ..is_ioctl },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the program and the filter it points to outlive the call.
    let made =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if made < 0 { Err(io::Error::last_os_error()) } else { Ok(made as i32) }
}

/// Waits for a call, counts it and lets it go on. Fails when nobody is left to make one.
fn count_one(listener: &File, counts: &Mutex<Counts>) -> io::Result<()> {
    let ask = |request: libc::Ioctl, argument: *mut libc::c_void| {
        // SAFETY: both requests want a structure of the size that they name themselves, which outlives the call.
        let result = unsafe { libc::ioctl(listener.as_raw_fd(), request, argument) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: zero is a value of every field; the kernel wants to find nothing else there.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    match ask(libc::SECCOMP_IOCTL_NOTIF_RECV, (&raw mut call).cast()) {
        // The caller was killed meanwhile, or we were interrupted.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) => return Ok(()),
        received => received?,
    }
    *lock(counts).entry(call.data.args[1] & 0xffff_ffff).or_default() += 1;
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let mut answer = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags };
    match ask(libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut answer).cast()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        sent => sent,
    }
}
