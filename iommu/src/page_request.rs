//! Page requests (§7.4): from a device to the queue in which software finds them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::counters::Tally;
use crate::event::Event;
use crate::invalidation::Invalidation;
use crate::registers::Registers;
use crate::spec::context::TableMode;
use crate::spec::fault::{FaultInfo, FaultReason};
use crate::spec::page_request::{SIZE, encode};
use crate::spec::registers::{PQA, PQH, PQT, PRS, PageRequestStatus};
use crate::spec::{PAGE_ADDRESS, bits};
use crate::unit::{Outbox, Unit};
use crate::walk::scalable::{self, Kind};
use crate::walk::{Fault, Mapping};
use crate::{GuestAddress, MsiMessage, PageRequest, PageResponse, PageResponseCode, TableMemory};

/// The queue: PQT, PRS and PECTL change only under its lock, and a request is judged and put in under it.
///
/// A message that a method gives is to be sent once no lock is held.
#[derive(Default)]
pub(crate) struct PageRequestQueue {
    lock: Mutex<()>,
}

/// What becomes of a request that software does not get to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    /// There is no room for it.
    Overflow,
    /// The device may not send any now; there is nobody to be told.
    Ignored,
    /// The tables do not allow it.
    Refused(Fault),
}

impl<M: TableMemory + 'static> Unit<M> {
    /// Takes a page request message (§7.4.1) and puts it into the queue, where software finds it.
    ///
    /// Nothing is given then: what software makes of it comes later, possibly before this returns, by
    /// [`DeviceTlb::page_response`](crate::DeviceTlb::page_response). A wait descriptor that drains page
    /// requests waits for those that have begun here.
    ///
    /// A request that software will never see is dropped. If it was the last of its group, the answer is
    /// given here, to be treated as if it had come that way: success if there was no room, so that the device
    /// asks for the translation and then the page again; failure if it may not send any. A stop marker is
    /// never answered.
    #[must_use]
    pub fn page_request(&self, request: &PageRequest) -> Option<PageResponse> {
        let mut outbox = Outbox::default();
        let dropped = {
            let _lock = self.page_requests.lock();
            self.admit(request).and_then(|()| self.enqueue(request, &mut outbox)).err()
        };
        self.send(&outbox);
        if dropped.is_none() {
            self.count(self.counters.tally(|| Tally::of_page_request(request)));
        }
        let code = match dropped? {
            Dropped::Overflow => PageResponseCode::Success,
            Dropped::Ignored => PageResponseCode::Failure,
            Dropped::Refused(fault) => {
                let _ = self.refuse(request.source, fault, FaultInfo::PageRequest(*request));
                PageResponseCode::Failure
            }
        };
        let PageRequest { pasid, group, .. } = *request;
        let answered = request.last && !request.is_stop_marker();
        answered.then_some(PageResponse { pasid, group, code })
    }

    /// Whether the tables allow the request. If so, and if they lead anywhere, the page it names is forgotten:
    /// whatever made the device ask need not be true any more.
    fn admit(&self, request: &PageRequest) -> Result<(), Dropped> {
        let view = self.dma.view();
        if !view.translating {
            return Err(Dropped::Ignored);
        }
        match view.mode().map_err(Dropped::Refused)? {
            TableMode::Scalable => {}
            TableMode::Legacy => {
                let fault = Fault::new(FaultReason::PageRequestInLegacyMode, false);
                return Err(Dropped::Refused(fault));
            }
            TableMode::Abort | TableMode::Reserved => return Err(Dropped::Ignored),
        }
        let context = scalable::context(&view, &*self.memory, request.source).map_err(Dropped::Refused)?;
        let (pasid, _) =
            context.select(Kind::PageRequest, request.pasid, request.privileged).map_err(Dropped::Refused)?;
        // An address space that is not in order is software's to find; nothing is remembered of it.
        if let Ok(space) = scalable::address_space(&view, &*self.memory, &context, pasid) {
            let (domain, iova, address_mask, hint) = (space.domain, request.iova, 0, true);
            self.dma.invalidate(&match space.mapping {
                Mapping::SecondStage(_) => Invalidation::IotlbPages { domain, iova, address_mask, hint },
                _ => Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint },
            });
        }
        Ok(())
    }

    /// Puts a request at the tail of the queue (§7.4.1). A queue that cannot be written has no room.
    fn enqueue(&self, request: &PageRequest, outbox: &mut Outbox) -> Result<(), Dropped> {
        let registers = &self.registers;
        if status(registers).contains(PageRequestStatus::OVERFLOW) {
            return Err(Dropped::Overflow);
        }
        let address = registers.get_u64(PQA);
        let size = 0x1000 << bits(address, 2, 0);
        let [head, tail] = [PQH, PQT].map(|pointer| u64::from(registers.get(pointer)) % size);
        let next = (tail + SIZE) % size;
        let written = next != head && self.store(address & PAGE_ADDRESS, tail, encode(request));
        let arisen = if written {
            registers.set(PQT, next as u32);
            PageRequestStatus::PENDING
        } else {
            PageRequestStatus::OVERFLOW
        };
        outbox.page_request(raise(registers, arisen));
        if written { Ok(()) } else { Err(Dropped::Overflow) }
    }

    /// Writes a descriptor, which software looks at when the tail has passed it. A queue may reach beyond all
    /// addresses; there is no memory there.
    fn store(&self, queue: u64, tail: u64, descriptor: [u64; 4]) -> bool {
        let words = descriptor.into_iter().flat_map(|word| [word as u32, (word >> 32) as u32]);
        let Some(address) = queue.checked_add(tail) else { return false };
        // A descriptor is aligned to its size.
        let places = (0..SIZE).step_by(4).map(|offset| GuestAddress(address | offset));
        places.zip(words).all(|(place, word)| self.memory.write_u32(place, word).is_ok())
    }
}

impl PageRequestQueue {
    /// Waits until every request that has arrived is in the queue, or dropped.
    pub(crate) fn drain(&self) {
        drop(self.lock());
    }

    /// Keeps requests out until the guard is dropped.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Software writes PQT_REG, before it lets any request in.
    pub(crate) fn write_tail(&self, registers: &Registers, value: u32) {
        let _lock = self.lock();
        registers.write(PQT, value);
    }

    /// Software writes PRS_REG: ones clear.
    pub(crate) fn write_status(&self, registers: &Registers, value: u32) {
        let _lock = self.lock();
        let left = status(registers) - PageRequestStatus::from_bits_truncate(value);
        registers.set(PRS, left.bits());
        if left.is_empty() {
            Event::PAGE_REQUEST.withdraw(registers);
        }
    }

    /// Software writes PECTL_REG.
    #[must_use]
    pub(crate) fn write_control(&self, registers: &Registers, value: u32) -> Option<MsiMessage> {
        let _lock = self.lock();
        Event::PAGE_REQUEST.write_control(registers, value)
    }
}

fn status(registers: &Registers) -> PageRequestStatus {
    PageRequestStatus::from_bits_truncate(registers.get(PRS))
}

/// A status bit is to be set. What software has not yet looked at stands for all that follows.
fn raise(registers: &Registers, arisen: PageRequestStatus) -> Option<MsiMessage> {
    let before = status(registers);
    registers.set(PRS, (before | arisen).bits());
    if before.is_empty() { Event::PAGE_REQUEST.raise(registers) } else { None }
}

#[cfg(test)]
mod tests;
