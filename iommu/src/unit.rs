//! One remapping unit: the public face of the crate.

use std::sync::Arc;

use crate::{
    Access, AssignedFunction, Attachment, Capabilities, GuestAddress, HostMapper, Iova, MsiMessage, Platform,
    SourceId, TableMemory,
};

/// A request that the unit refused. The fault, if it is to be recorded, has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Blocked by the remapping unit: fault reason {reason:#04x}")]
pub struct Blocked {
    /// The fault reason code (§7.1.3).
    pub reason: u8,
}

/// What an interrupt request comes to, without any effect: for routes programmed ahead of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The interrupt remapping entry that decided, if one did.
    pub entry: Option<u16>,
    /// What is to be delivered; the fault reason if nothing is.
    pub outcome: Result<MsiMessage, Blocked>,
}

/// A remapping unit.
pub struct Unit<M> {
    _memory: M,
}

impl<M: TableMemory> Unit<M> {
    /// A unit in its power-on state over `memory`.
    pub fn new(_memory: M, _capabilities: Capabilities) -> Self {
        todo!()
    }

    /// Names the surroundings, once, before the first register write; without them events go nowhere.
    pub fn connect(&self, _platform: Arc<dyn Platform>) {
        todo!()
    }

    /// Reads registers; no side effects. Accesses that the architecture leaves undefined read 0.
    pub fn read(&self, _offset: u64, _data: &mut [u8]) {
        todo!()
    }

    /// Writes a register; on return everything it caused has happened.
    pub fn write(&self, _offset: u64, _data: &[u8]) {
        todo!()
    }

    /// Brings the unit to its power-on state.
    pub fn reset(&self) {
        todo!()
    }

    /// Translates a device's request for up to `length` bytes and does `work` on the guest memory found, in
    /// one read-side critical section: an invalidation that drains waits for it. `work` gets the address
    /// and how many bytes (at least 1, at most `length`) lie there contiguously; ask again for the rest.
    /// It must not call back into the unit.
    pub fn access<R>(
        &self,
        _source: SourceId,
        _iova: Iova,
        _length: u64,
        _access: Access,
        _work: impl FnOnce(GuestAddress, u64) -> R,
    ) -> Result<R, Blocked> {
        todo!()
    }

    /// Judges an interrupt request (a write to 0xFEEx_xxxx) and gives what to deliver. A refusal is recorded.
    pub fn remap(&self, _source: SourceId, _request: MsiMessage) -> Result<MsiMessage, Blocked> {
        todo!()
    }

    /// The same judgement without recording anything.
    pub fn resolve(&self, _source: SourceId, _request: MsiMessage) -> Resolution {
        todo!()
    }

    /// Puts a function whose DMA the host carries out behind the unit: from now on `mapper` follows the
    /// guest's tables. `ram` lists guest memory (start, length) for when the function's addresses are not
    /// translated.
    pub fn attach(
        &self,
        _function: Arc<dyn AssignedFunction>,
        _mapper: Box<dyn HostMapper>,
        _ram: Vec<(GuestAddress, u64)>,
    ) -> Attachment {
        todo!()
    }
}
