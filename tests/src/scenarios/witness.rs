//! What assigned functions can reach, by witnesses that are not ours: the guest's tables, composed with where Linux
//! says that the guest's memory lies, are the tables that Linux shows for the function's IOMMU. The program's own
//! audit, asked at the same moments, finds nothing either.

use super::{NVME, SOAK_MINUTES, kexec, order};
use crate::guest::{Backend, Guest};
use crate::level1::Device;
use crate::parts::Kernel;
use crate::scenario::{Evidence, Scenario, Session, number_after};

/// Where the second drive stands in L1.
const SECOND: &str = "0000:01:00.0";
/// Runs the VMM and looks: every second, and whenever the guest asks.
const LOOKING: &str = "agent witness --every 1 --control /run/control";
/// The option that has the VMM answer it.
const CONTROL: &str = "--control /run/control";
/// The options that name a function to it.
const FIRST_DRIVE: &str = "--function 0000:00:05.0=01:00.0";
const SECOND_DRIVE: &str = "--function 0000:01:00.0=02:00.0";

/// What guests' scripts use: `look NAME` asks for a look and waits until it is over. The guest stands still while it is
/// looked at, on a busy machine for long: what its kernel takes for a lockup must last for minutes.
const LIBRARY: &str = "\
echo 60 >/proc/sys/kernel/watchdog_thresh
echo 120 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
look() { echo \"@@ look $1\"; read -r _ </dev/console; }
await_drive() { for try in 1 2 3 4 5 6 7 8 9; do [ -b /dev/nvme0n1 ] && return; sleep 1; done; }
";

/// Reads and writes by two processes, looked at while they work and when they have ended.
const WORK: &str = "\
look boot
sha256sum /dev/nvme0n1
dd if=/dev/zero of=/dev/nvme0n1 bs=128k seek=64 count=32 conv=notrunc,fsync 2>/dev/null &
agent reads /dev/nvme0n1 500 4096
agent reads /dev/nvme0n1 100 131072
wait
look quiet
";

/// The drive goes to a driver in the guest's user space and back.
const THERE_AND_BACK: &str = "\
look kernel
bind_vfio 0000:01:00.0
look bound
agent nvme-read 0000:01:00.0
look closed
unbind_vfio 0000:01:00.0
await_drive
sha256sum /dev/nvme0n1
look quiet
";

pub(super) fn session() -> Session {
    let scenarios = vec![
        witnessed("strict", guest(WORK)),
        witnessed("user-space", guest(THERE_AND_BACK))
            .appears("@@ 0000:01:00.0 block 0: *")
            .appears("@@ 0000:01:00.0 as a whole: {nvme-before.sha256}"),
        soak("random", 10),
    ];
    session_of("witness", scenarios)
}

/// The same with two drives, in other modes of the unit, by the host's other interface, and after a second kernel has
/// taken over.
pub(super) fn modes() -> Session {
    let pass_through = guest("sha256sum /dev/nvme0n1\nlook quiet\n").cmdline("intel_iommu=on iommu=pt");
    let scenarios = vec![
        witnessed("second-stage", guest(WORK).profile("second-stage")),
        witnessed("pass-through", pass_through),
        two_drives("one-domain", ""),
        two_drives("two-domains", "--apart"),
        order::unmap_before_entry(),
        witnessed("type1", guest(WORK).backend(Backend::Type1)),
        soak_of("type1-random", 10, |guest| guest.backend(Backend::Type1)),
        after_kexec("crash", kexec::crash)
            .tolerates("Kernel panic")
            .tolerates("Call Trace")
            .appears("Copied translation tables from previous kernel for dmar0"),
        after_kexec("orderly", kexec::orderly),
    ];
    session_of("witness_modes", scenarios).nightly()
}

/// An hour of what `witness/random` does for seconds.
pub(super) fn soaks() -> Session {
    let minutes: u64 = std::env::var(SOAK_MINUTES).ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    session_of("soak", vec![soak("random", minutes * 60)]).on_one_processor().nightly()
}

/// Thousands of mappings while L1 has hardly any memory left.
pub(super) fn pressure() -> Session {
    let scarce = |scenario: Scenario| {
        scenario
            .before("agent hog --leave 24 >/run/least 2>&1 &\necho $! >/run/hog")
            .after(
                "kill $(cat /run/hog) && echo '@@ the hog was there until the end'\n\
                 echo \"@@ figure memory: $(tail -n 1 /run/least) MiB were left at the least\"",
            )
            .level1_appears("@@ the hog was there until the end")
            .check(memory_was_scarce)
    };
    let scenarios = vec![
        scarce(soak("scarce", 20)),
        // What is locked comes and goes with each mapping here.
        scarce(soak_of("scarce-type1", 20, |guest| guest.backend(Backend::Type1))),
    ];
    session_of("pressure", scenarios).memory(2048).nightly()
}

fn session_of(name: &'static str, scenarios: Vec<Scenario>) -> Session {
    Session::new(name, "Linux's own tables show what the guest's allow, no more and no less", scenarios)
        .kernel(Kernel::Iommufd)
        .devices(&[Device::Nvme, Device::NvmeBehindPort])
}

/// Maps and unmaps at random for so many seconds, also while the drive is sent where nothing is mapped any more.
fn soak(name: &'static str, seconds: u64) -> Scenario {
    soak_of(name, seconds, |guest| guest)
}

/// The same by a guest that is changed before.
fn soak_of(name: &'static str, seconds: u64, change: fn(Guest) -> Guest) -> Scenario {
    let script = format!(
        "bind_vfio 0000:01:00.0\nlook before\n\
         agent nvme-soak --seconds {seconds} --stray 0000:01:00.0\nlook quiet\n"
    );
    witnessed(name, change(guest(&script).cpus(2)))
        .appears("@@ soak: every read came, and nothing else")
        .tolerates("DRHD: handling fault")
        .check(what_was_locked_is_given_back)
        .check(nothing_stays_mapped)
        .within(seconds + seconds / 10 + 75)
}

/// Two drives, read by one program through one container or through two.
fn two_drives(name: &'static str, option: &str) -> Scenario {
    let script = format!(
        "bind_vfio 0000:01:00.0 0000:02:00.0\nlook bound\n\
         agent nvme-read {option} 0000:01:00.0 0000:02:00.0\nlook quiet\n"
    );
    let guest = guest(&script).assign(SECOND).under(&format!("{LOOKING} {FIRST_DRIVE} {SECOND_DRIVE} --"));
    witnessed(name, guest)
        .appears("@@ 0000:01:00.0 as a whole: {nvme.sha256}")
        .appears("@@ 0000:02:00.0 as a whole: {nvme-port.sha256}")
}

/// A drive that is read under one kernel and under the next, looked at all the time.
fn after_kexec(name: &'static str, guest: fn(&str, &str) -> Guest) -> Scenario {
    let read = "agent reads /dev/nvme0n1 500 4096\n";
    let first = format!("{LIBRARY}{read}look first\n");
    let second = format!("{LIBRARY}look second\n{read}sha256sum /dev/nvme0n1\nlook quiet\n");
    witnessed(name, looked_at(guest(&first, &second)))
        .appears("@@ witness: first: * pages, 0 differences*")
        .appears("@@ witness: second: * pages, 0 differences*")
        .appears("{nvme.sha256}")
        .within(150)
}

/// A guest with the first drive that is looked at.
fn guest(script: &str) -> Guest {
    looked_at(Guest::new(format!("{LIBRARY}{script}")).assign(NVME))
}

fn looked_at(guest: Guest) -> Guest {
    guest.option(CONTROL).under(&format!("{LOOKING} {FIRST_DRIVE} --"))
}

fn witnessed(name: &'static str, guest: Guest) -> Scenario {
    Scenario::new(name, guest)
        .appears("@@ witness: quiet: * pages, 0 differences*")
        .appears("@@ witness: quiet: audit, 0 differences*")
        .appears("@@ witness: the host's tables were the guest's")
        .within(90)
}

/// Memory really was short, however much there was before.
fn memory_was_scarce(evidence: &Evidence) -> Result<(), String> {
    let least = number_after(&evidence.level1, "@@ figure memory:")?;
    if least <= 24.0 { Ok(()) } else { Err(format!("{least} MiB were left all the time")) }
}

/// The drive reaches nothing when all is unmapped.
fn nothing_stays_mapped(evidence: &Evidence) -> Result<(), String> {
    let pages = number_after(&evidence.guest, &format!("@@ witness: quiet: {NVME}:"))?;
    if pages == 0.0 { Ok(()) } else { Err(format!("{pages} pages are still mapped")) }
}

/// Of the VMM's memory as much is locked when all is unmapped as before anything was mapped.
fn what_was_locked_is_given_back(evidence: &Evidence) -> Result<(), String> {
    let locked = |look: &str| number_after(&evidence.guest, &format!("@@ witness: {look}: locked"));
    let (before, after) = (locked("before")?, locked("quiet")?);
    if (before - after).abs() < f64::EPSILON {
        Ok(())
    } else {
        Err(format!("{before} KiB were locked before the mappings, and {after} afterwards"))
    }
}
