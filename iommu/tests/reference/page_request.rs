//! Page requests (§7.5, §7.6): which reach the queue, what they look like there, and what becomes of the rest.

use iommu::{PageRequest, PageResponse, PageResponseCode, Request};

use super::bits::{field, mask};
use super::dispatch::{LEGACY, SCALABLE};
use super::event::Event;
use super::scalable;
use super::second_stage::World;
use super::trace::{Answer, Trace};

/// Bytes of a descriptor.
pub const SIZE: u64 = 32;

/// The registers of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// PQA_REG.
    pub address: u64,
    pub head: u64,
    pub tail: u64,
    /// PRS_REG: PPR, PRO.
    pub pending: bool,
    pub overflow: bool,
    pub event: Event,
}

/// What a page request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may not be made; the fault is recorded or not.
    Fault { reason: u8, recorded: bool },
    /// The queue is full, or has been.
    Dropped,
    /// It is in the queue, at this address.
    Queued { address: u64, words: [u64; 4] },
}

/// Every reason for which a request may be refused under RTADDR_REG; none if it may be made.
pub fn refusals(world: World, root: u64, request: &PageRequest) -> Vec<Fate> {
    let mut trace = Trace::default();
    match field(root, 11, 10) {
        LEGACY => trace.may_fault(&[0x32]),
        SCALABLE if world.caps.scalable() => _ = check(world, &mut trace, root & mask(63, 12), request),
        _ => trace.may_fault(&[0x30]),
    }
    let fate = |answer| match answer {
        Answer::Blocked { reason, recorded } => Some(Fate::Fault { reason, recorded }),
        _ => None,
    };
    trace.outcomes.iter().filter_map(|outcome| fate(outcome.answer)).collect()
}

fn check(world: World, trace: &mut Trace, root: u64, request: &PageRequest) -> Option<()> {
    let context = scalable::context(world, trace, root, request.source.0)?;
    let mut reasons = Vec::new();
    if !context.page_requests {
        reasons.push(0x47);
    }
    if let Some(pasid) = request.pasid {
        if !context.pasids {
            reasons.push(0x45);
        }
        if u64::from(pasid.0) > context.limit {
            reasons.push(0x46);
        }
    }
    trace.stop_for(&reasons)
}

impl Queue {
    /// Takes a request that may be made.
    pub fn take(&mut self, request: &PageRequest) -> Fate {
        let size = 4096 << field(self.address, 2, 0);
        if self.overflow {
            return Fate::Dropped;
        }
        let next = (self.tail + SIZE) % size;
        if next == self.head {
            self.raise();
            self.overflow = true;
            return Fate::Dropped;
        }
        let address = (self.address & mask(63, 12)) + self.tail;
        self.tail = next;
        self.raise();
        self.pending = true;
        Fate::Queued { address, words: words(request) }
    }

    fn raise(&mut self) {
        if !self.pending && !self.overflow {
            self.event.raise();
        }
    }

    /// Software writes PRS_REG.
    pub fn clear(&mut self, pending: bool, overflow: bool) {
        self.pending &= !pending;
        self.overflow &= !overflow;
        if !self.pending && !self.overflow {
            self.event.serviced();
        }
    }
}

/// A descriptor.
fn words(request: &PageRequest) -> [u64; 4] {
    let of_pasid = request.pasid.map_or(0, |pasid| {
        1 << 8
            | u64::from(pasid.0) << 32
            | u64::from(request.execute) << 52
            | u64::from(request.privileged) << 53
    });
    let low = 1 | of_pasid | u64::from(request.source.0) << 16;
    let high = u64::from(request.read)
        | u64::from(request.write) << 1
        | u64::from(request.last) << 2
        | u64::from(request.group) << 3
        | request.iova.0 & mask(63, 12);
    [low, high, 0, 0]
}

/// What the device is told at once of a request that software does not see.
pub fn answer(request: &PageRequest, fate: Fate) -> Option<PageResponse> {
    let code = match fate {
        Fate::Fault { .. } => PageResponseCode::Failure,
        // There may be room the next time.
        Fate::Dropped => PageResponseCode::Success,
        Fate::Queued { .. } => return None,
    };
    let wanted = request.last && (request.read || request.write);
    wanted.then_some(PageResponse { pasid: request.pasid, group: request.group, code })
}

/// The request as a fault record shows it.
pub fn recorded(request: &PageRequest) -> Request {
    Request {
        source: request.source,
        pasid: request.pasid,
        privileged: request.privileged,
        execute: request.execute,
        access: iommu::Access::Read,
        translated: false,
    }
}
