//! What the shell scripts in the rig's guests cannot do themselves.
//!
//! Its output is for the rig: lines that begin with "@@".

mod admin;
mod announcer;
mod calls;
mod control;
mod count;
mod edu;
mod floor;
mod hog;
mod iommufd;
mod kexec;
mod memory;
mod nudge;
mod nvme;
mod pasid;
mod peer;
mod port;
mod probe;
mod reads;
mod script;
mod soak;
mod sva;
mod sysfs;
mod vfio;
mod watch;
mod witness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What the shell scripts in the rig's guests cannot do themselves")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Time direct reads of a block device, one at a time.
    Reads(reads::Reads),
    /// Run a VMM and count the ioctls that it makes while its guest does something.
    Calls(calls::Calls),
    /// Send a running VMM a request.
    Control(control::Control),
    /// Count a remapping unit's events while a command runs.
    Count(count::Count),
    /// Drive an `edu` device from user space.
    #[command(subcommand)]
    Edu(edu::Edu),
    /// Drive a probe from user space: a script in memory.
    Probe(script::Probe),
    /// Drive a probe from user space: requests with PASID, each PASID in an address space of its own.
    Pasid(pasid::Pasid),
    /// Have a probe work in this process's address space.
    #[command(subcommand)]
    Sva(sva::Sva),
    /// Time what the host itself takes.
    #[command(subcommand)]
    Floor(floor::Floor),
    /// Run a VMM and say when its guest reached user space and how much memory it took.
    Watch(watch::Watch),
    /// Run a VMM, and see that what its assigned functions can reach is what its guest's tables say.
    Witness(witness::Witness),
    /// Start a second kernel.
    Kexec(kexec::Kexec),
    /// Leave hardly any memory to others, until it is killed.
    Hog(hog::Hog),
    /// Keep every processor from sleeping for good, until it is killed.
    Nudge,
    /// Give an NVMe controller an admin command without data.
    NvmeAdmin(admin::Admin),
    /// Read NVMe drives from user space, from the first block to the last.
    NvmeRead(nvme::Read),
    /// Map and unmap at random what an NVMe drive can reach, while it reads on.
    NvmeSoak(soak::Soak),
    /// Drive an NVMe drive from user space and make it stray.
    NvmeStray(nvme::Stray),
    /// Have an NVMe drive read and write the memory of another one, through all that can happen to its BAR.
    Peer(peer::Peer),
    /// Write a byte to the debug-exit port (0xf4), which ends the machine.
    Exit {
        /// The byte.
        value: u8,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Reads(reads) => reads.run(),
        Command::Calls(calls) => calls.run(),
        Command::Control(control) => control.run(),
        Command::Count(count) => count.run(),
        Command::Edu(edu) => edu.run(),
        Command::Probe(probe) => probe.run(),
        Command::Pasid(pasid) => pasid.run(),
        Command::Sva(sva) => sva.run(),
        Command::Floor(floor) => floor.run(),
        Command::Watch(watch) => watch.run(),
        Command::Witness(witness) => witness.run(),
        Command::Kexec(kexec) => kexec.run(),
        Command::Hog(hog) => hog.run(),
        Command::Nudge => nudge::run(),
        Command::NvmeAdmin(admin) => admin.run(),
        Command::NvmeRead(read) => read.run(),
        Command::NvmeSoak(soak) => soak.run(),
        Command::NvmeStray(stray) => stray.run(),
        Command::Peer(peer) => peer.run(),
        Command::Exit { value } => port::write(0xf4, value),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("@@ agent failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
