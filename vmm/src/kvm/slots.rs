//! What of the host's memory the guest reaches without leaving guest mode.

use std::sync::{Arc, Mutex, PoisonError};

use devices::GuestRam;
use devices::vfio::{Mapping, MemorySlots, Shown};
use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::KvmError;
use crate::host_dma::{Peers, Reachable};

/// The table of memory slots: RAM for ever, BARs of assigned functions as they come and go.
pub struct Slots {
    vm: Arc<VmFd>,
    used: Mutex<Vec<Option<Slot>>>,
}

#[derive(Clone, Copy)]
struct Slot {
    guest: u64,
    length: u64,
}

impl Slot {
    fn overlaps(self, guest: u64, length: u64) -> bool {
        guest < self.guest.saturating_add(self.length) && self.guest < guest.saturating_add(length)
    }
}

/// A memory slot in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId(u32);

impl Slots {
    /// A table with all of guest RAM in it.
    pub fn new(vm: Arc<VmFd>, memory: &GuestRam) -> Result<Self, KvmError> {
        let slots = Self { vm, used: Mutex::default() };
        for region in memory.iter() {
            // SAFETY: the region is a mapping of its full length that lives as long as the process.
            unsafe { slots.map(region.start_addr().0, region.as_ptr(), region.len(), false) }?;
        }
        Ok(slots)
    }

    /// Shows `length` bytes of the program's memory at `host` to the guest at `guest`.
    ///
    /// A place where something is already (guest RAM, another BAR) is refused: nothing a guest does to a
    /// BAR may take memory from under it.
    ///
    /// # Safety
    /// `host` must be a mapping of at least `length` bytes that outlives the slot.
    pub unsafe fn map(
        &self,
        guest: u64,
        host: *mut u8,
        length: u64,
        read_only: bool,
    ) -> Result<SlotId, KvmError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.iter().flatten().any(|slot| slot.overlaps(guest, length)) {
            return Err(KvmError::Refused {
                step: "map memory where there is some already",
                source: kvm_ioctls::Error::new(libc::EEXIST),
            });
        }
        let index = used.iter().position(Option::is_none).unwrap_or(used.len());
        let region = kvm_userspace_memory_region {
            slot: index as u32,
            guest_phys_addr: guest,
            memory_size: length,
            userspace_addr: host as u64,
            flags: if read_only { KVM_MEM_READONLY } else { 0 },
        };
        // SAFETY: the caller vouches for the host range; the guest range is free, as checked above.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(KvmError::at("map guest memory"))?;
        let slot = Some(Slot { guest, length });
        match used.get_mut(index) {
            Some(free) => *free = slot,
            None => used.push(slot),
        }
        Ok(SlotId(index as u32))
    }

    /// Takes a slot away; when it returns the guest does not reach the memory any more.
    pub fn unmap(&self, id: SlotId) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = used.get_mut(id.0 as usize).and_then(Option::take) else { return };
        let region = kvm_userspace_memory_region {
            slot: id.0,
            guest_phys_addr: slot.guest,
            memory_size: 0,
            userspace_addr: 0,
            flags: 0,
        };
        // SAFETY: removing a slot touches no memory.
        if let Err(error) = unsafe { self.vm.set_user_memory_region(region) } {
            tracing::error!("KVM did not take memory slot {} away: {error}", id.0);
        }
    }
}

/// A BAR that the guest sees: dropping it takes the BAR out of the guest's memory.
struct ShownBar {
    slots: Arc<Slots>,
    id: SlotId,
    /// What lets other functions reach it.
    peer: Option<Reachable>,
    /// Stays mapped as long as the guest sees it; dropped after the slot is gone.
    _memory: Arc<Mapping>,
}

impl Drop for ShownBar {
    fn drop(&mut self) {
        // Devices first: what they reach must not outlive what the guest sees.
        self.peer = None;
        self.slots.unmap(self.id);
    }
}

/// The slots as an assigned function uses them.
pub struct BarSlots {
    /// The slots.
    pub slots: Arc<Slots>,
    /// How what is in them becomes a target for other functions, if it does.
    pub peers: Option<Peers>,
}

impl MemorySlots for BarSlots {
    fn show(&self, guest: u64, memory: Arc<Mapping>) -> std::io::Result<Shown> {
        // SAFETY: the mapping has this length, and `ShownBar` holds on to it for as long as the slot lives.
        let id = unsafe { self.slots.map(guest, memory.address(), memory.length(), false) }
            .map_err(std::io::Error::other)?;
        let peer = self.peers.as_ref().and_then(|peers| peers.show(guest, &memory));
        Ok(Box::new(ShownBar { slots: self.slots.clone(), id, peer, _memory: memory }))
    }
}
