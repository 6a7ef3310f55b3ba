//! What happens on the way of one request, for the counters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::registers::Registers;
use crate::spec::counters::{Configuration, Event, Filter, configuration_offset};
use crate::{DomainId, GuestAddress, MemoryError, PageRequest, Pasid, Request, SourceId, TableMemory};

/// The events of one request, with what filters ask about it.
///
/// Only the thread that carries the request out has one.
pub(crate) struct Tally {
    source: SourceId,
    pasid: Option<Pasid>,
    /// A bit, as filters name address types; none for what is no request to memory.
    address_type: u32,
    /// As soon as it is known.
    domain: OnceLock<DomainId>,
    counts: [AtomicU32; Event::ALL.len()],
}

const UNTRANSLATED: u32 = 1 << 0;
const TRANSLATION_REQUEST: u32 = 1 << 1;
const TRANSLATED: u32 = 1 << 2;

impl Tally {
    fn new(source: SourceId, pasid: Option<Pasid>, address_type: u32) -> Self {
        let counts = std::array::from_fn(|_| AtomicU32::new(0));
        Self { source, pasid, address_type, domain: OnceLock::new(), counts }
    }

    /// Of a request to memory, which counts as one.
    #[cold]
    pub(crate) fn of_request(request: &Request) -> Self {
        let address_type = if request.translated { TRANSLATED } else { UNTRANSLATED };
        let tally = Self::new(request.source, request.pasid, address_type);
        tally.note(Event::Request);
        tally
    }

    /// Of a translation request, which counts as one too.
    #[cold]
    pub(crate) fn of_translation_request(source: SourceId, pasid: Option<Pasid>) -> Self {
        let tally = Self::new(source, pasid, TRANSLATION_REQUEST);
        tally.note(Event::Request);
        tally
    }

    /// Of an interrupt request, which is a write that nobody has translated.
    #[cold]
    pub(crate) fn of_interrupt(source: SourceId) -> Self {
        Self::new(source, None, UNTRANSLATED)
    }

    /// Of a page request that is now in the queue.
    #[cold]
    pub(crate) fn of_page_request(request: &PageRequest) -> Self {
        let tally = Self::new(request.source, request.pasid, 0);
        tally.note(Event::PageRequest);
        tally
    }

    /// `event` has happened.
    #[cold]
    pub(crate) fn note(&self, event: Event) {
        self.counts[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The request is one of `domain`.
    #[cold]
    pub(crate) fn belongs_to(&self, domain: DomainId) {
        // A request has one domain; the first is as good as any.
        let _ = self.domain.set(domain);
    }

    /// How much of it `counter` counts.
    pub(super) fn counted_by(&self, registers: &Registers, counter: usize) -> u64 {
        let configuration = Configuration(registers.get_u64(configuration_offset(counter)));
        let selected = Event::ALL.into_iter().filter(|event| configuration.selects(*event));
        let count =
            selected.map(|event| u64::from(self.counts[event as usize].load(Ordering::Relaxed))).sum();
        let passes = |filter: Filter| {
            let wanted = filter.wanted(registers.get(filter.offset(counter)));
            wanted.is_none_or(|wanted| self.is(filter, wanted))
        };
        if count > 0 && Filter::ALL.into_iter().all(passes) { count } else { 0 }
    }

    fn is(&self, filter: Filter, wanted: u32) -> bool {
        match filter {
            Filter::Requester => u32::from(self.source.0) == wanted,
            Filter::Domain => self.domain.get().is_some_and(|domain| u32::from(domain.0) == wanted),
            Filter::Pasid => self.pasid == Some(Pasid(wanted)),
            Filter::AddressType => self.address_type & wanted != 0,
        }
    }
}

/// Tables in guest memory, the reads of which are noted if anyone counts them.
pub(crate) struct Tables<'a, M> {
    pub(crate) memory: &'a M,
    pub(crate) tally: Option<&'a Tally>,
}

impl<M: TableMemory> TableMemory for Tables<'_, M> {
    #[inline]
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError> {
        if let Some(tally) = self.tally {
            tally.note(Event::MemoryRead);
        }
        self.memory.read_u64(address)
    }

    #[inline]
    fn write_u32(&self, address: GuestAddress, value: u32) -> Result<(), MemoryError> {
        self.memory.write_u32(address, value)
    }

    #[inline]
    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        current: u64,
        new: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        self.memory.compare_exchange_u64(address, current, new)
    }

    #[inline]
    fn fetch_or_u64(&self, address: GuestAddress, set: u64) -> Result<u64, MemoryError> {
        self.memory.fetch_or_u64(address, set)
    }
}
