//! Shared virtual addressing, end to end: a device works by a process's own pointers, in the process's own tables. Pages
//! come when it asks for them, and are gone for it when they are gone for the process.

use crate::guest::{Emulated, Guest};
use crate::parts::Kernel;
use crate::scenario::{Scenario, Session};

/// Pages go to swap on the disk.
const WORK: &str = "\
mkswap /dev/vda >/dev/null && swapon /dev/vda || exit 1
agent sva all 0000:00:06.0 || exit 1
grep dmar0-prq /proc/interrupts";

/// What the program in the guest says once each case is done.
const SAYS: [&str; 16] = [
    "@@ sva: the device wrote 16 untouched pages, by 16 page requests",
    "@@ sva: DMA with PASID * goes to the process's addresses",
    "@@ sva: a page of zeros became one of its own",
    "@@ sva: one translation for 2048 KiB",
    "@@ sva: the device read a file that is mapped",
    "@@ sva: 20000 additions by the device and as many by the processor make 40000",
    "@@ sva: * of 256 pages went to swap, and came back by * page requests",
    "@@ sva: after a fork the device writes the parent's copy only",
    "@@ sva: a page that may only be read is only read",
    "@@ sva: requests to execute and with privilege are blocked, and answered as invalid",
    "@@ sva: without a page request the write is blocked, for reason 0x71",
    "@@ sva: unmapped memory is out of reach",
    "@@ sva: 10 times unmapped under way, after * additions, and not one afterwards",
    "@@ sva: 3 processes have their own words at one address, by PASIDs *",
    "@@ sva: killed after * additions, and PASID * leads nowhere",
    "@@ sva: this process is as well as before",
];

pub(super) fn session() -> Session {
    let guest = Guest::new(WORK)
        .profile("full")
        .cpus(2)
        .emulate(Emulated::Probe { place: "06.0".into() })
        .emulate(Emulated::Disk { image: "/run/swap.img".into() });
    let scenario = Scenario::new("process", guest)
        .before("truncate -s 64M /run/swap.img")
        .within(120)
        // Requests that must be blocked are told of in the log.
        .tolerates("DRHD: handling fault")
        .appears("*DMAR: *fault addr*fault reason 0x71*")
        .appears("*DMAR: *fault reason 0x5d*")
        .appears("*Page request in Privilege Mode")
        .appears("*Execution request not supported")
        .appears("*dmar0-prq");
    let scenario = SAYS.iter().fold(scenario, |scenario, line| scenario.appears(line));
    Session::new(
        "sva",
        "a device works in processes' address spaces, and asks for their pages",
        vec![scenario],
    )
    .guest_kernel(Kernel::Iommufd)
    .devices(&[])
}
