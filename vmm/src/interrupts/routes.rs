//! The route table: every vector of every assigned function, and what KVM does when VFIO signals it.
//!
//! A vector whose message the remapping unit lets through is *live*: it has a route with the remapped
//! message and an irqfd on it, and interrupts reach the guest without this program. Every other vector's
//! eventfd is read here, where its signals become a fault of the guest's, a pending bit, or nothing, or are
//! posted into the guest's memory.
//!
//! The unit's entries change under the routes. The table remembers which entry each route came from, so that
//! an invalidation makes exactly those again, and has them in force before the guest learns that it is done.
//!
//! Signals survive the change between KVM and here. An eventfd that KVM lets go of keeps what comes later,
//! and is read here. One that KVM takes may have something in it: KVM delivers that once and leaves it there,
//! so it is thrown away right after. A signal held while the guest had the vector masked goes back into the
//! eventfd, and from there its way.

mod function;
mod gsi;
mod pins;
mod vector;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::Remapping;
use devices::vfio::Signal;
use event_manager::{EventOps, EventSubscriber, Events};
use iommu::{EntryRange, MsiMessage, Outcome, Resolution, SourceId};
use pci::Location;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

pub use self::function::FunctionRoutes;
use self::gsi::GsiPool;
use self::pins::Pins;
use self::vector::{Vector, VectorId};
use super::chip::{InterruptChip, Route, deliver};

/// How many eventfds one turn of the event loop reads.
const BATCH: usize = 64;

/// Judges interrupt requests: the remapping unit, or nobody.
trait Judge: Send + Sync {
    /// What a request comes to, without any effect.
    fn resolve(&self, source: SourceId, request: MsiMessage) -> Resolution;

    /// Has `deliver` take what a request comes to, if anything; a refusal is recorded.
    fn remap(&self, source: SourceId, request: MsiMessage, deliver: &dyn Fn(MsiMessage));
}

impl Judge for Remapping {
    fn resolve(&self, source: SourceId, request: MsiMessage) -> Resolution {
        match self {
            Self::Absent => Resolution { entry: None, outcome: Ok(Outcome::Message(request)) },
            Self::Unit(unit) => unit.resolve(source, request),
        }
    }

    fn remap(&self, source: SourceId, request: MsiMessage, deliver: &dyn Fn(MsiMessage)) {
        match self {
            Self::Absent => deliver(request),
            Self::Unit(unit) => {
                // A refused one is the guest's to learn of, by the fault that has been recorded.
                let _ = unit.remap(source, request, deliver);
            }
        }
    }
}

/// All interrupt routes of the machine.
///
/// Its lock comes after a device's, the IOAPIC's and the unit's queue mutex, and before nothing but KVM.
pub struct RouteTable {
    chip: Arc<dyn InterruptChip>,
    judge: Box<dyn Judge>,
    readable: Epoll,
    functions: AtomicU32,
    state: Mutex<State>,
}

struct State {
    vectors: BTreeMap<VectorId, Vector>,
    /// Which vectors an entry of the remapping table decided about.
    by_entry: BTreeSet<(u16, VectorId)>,
    pins: Pins,
    gsis: GsiPool,
    /// The routes as KVM has them.
    programmed: Vec<Route>,
}

impl RouteTable {
    /// An empty table. `ioapic` is the requester ID of the IOAPIC's messages.
    pub fn new(
        chip: Arc<dyn InterruptChip>,
        remapping: Remapping,
        ioapic: SourceId,
    ) -> io::Result<Arc<Self>> {
        Self::with_judge(chip, Box::new(remapping), ioapic)
    }

    fn with_judge(
        chip: Arc<dyn InterruptChip>,
        judge: Box<dyn Judge>,
        ioapic: SourceId,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            chip,
            judge,
            readable: Epoll::new()?,
            functions: AtomicU32::new(0),
            state: Mutex::new(State {
                vectors: BTreeMap::new(),
                by_entry: BTreeSet::new(),
                pins: Pins::new(ioapic),
                gsis: GsiPool::default(),
                programmed: Vec::new(),
            }),
        }))
    }

    /// Routes for the function at `location`; dropping them takes them away.
    pub fn function(self: &Arc<Self>, location: Location) -> FunctionRoutes {
        FunctionRoutes::new(self.clone(), self.functions.fetch_add(1, Ordering::Relaxed), location)
    }

    /// Makes every route again that came from `entries`. When it returns none of the old ones is in force:
    /// this is what `Platform::interrupt_entries_changed` has to do.
    pub fn entries_changed(&self, entries: EntryRange) {
        let mut state = self.state();
        let ids: Vec<VectorId> = match entries {
            EntryRange::All => state.vectors.keys().copied().collect(),
            EntryRange::Some { first, count } => {
                let last = u32::from(first).saturating_add(count.saturating_sub(1)).min(u32::from(u16::MAX));
                let range = (first, VectorId::MIN)..=(last as u16, VectorId::MAX);
                state.by_entry.range(range).map(|&(_, id)| id).collect()
            }
        };
        state.pins.judge(&*self.judge, Some(entries));
        self.settle(&mut state, &ids);
    }

    /// Follows the IOAPIC's level-triggered pins: KVM has to know their vectors to report the end of their
    /// interrupts. The messages are those the IOAPIC sends, before remapping.
    pub fn pins_changed(&self, messages: &[Option<MsiMessage>; pins::COUNT]) {
        let mut state = self.state();
        state.pins.set(messages);
        state.pins.judge(&*self.judge, None);
        self.settle(&mut state, &[]);
    }

    /// Reads the eventfds that have been signalled and are not KVM's. The event loop calls it whenever the
    /// table's descriptor is readable.
    pub fn service(&self) {
        let mut events = [EpollEvent::default(); BATCH];
        let Ok(count) = self.readable.wait(0, &mut events) else { return };
        let mut state = self.state();
        for event in events.iter().take(count) {
            if let Some(vector) = state.vectors.get_mut(&VectorId::from_key(event.data())) {
                self.absorb(vector);
            }
        }
    }

    /// Takes what a vector's eventfd holds and does with it what is due.
    fn absorb(&self, vector: &mut Vector) {
        // Several signals at once are one interrupt, as they would be in the local APIC.
        if !vector.take_signals() || vector.live.is_some() {
            return;
        }
        match vector.signal {
            Signal::Discard => {}
            Signal::Hold => vector.pending = true,
            Signal::Send(message) => {
                self.judge.remap(vector.source(), message, &|remapped| deliver(&*self.chip, remapped));
            }
        }
    }

    /// Brings KVM in line with what the vectors `ids` and the pins ask for now, with one call for all
    /// routes: first what may no longer be goes, then the table changes, then what is new comes.
    fn settle(&self, state: &mut State, ids: &[VectorId]) {
        for &id in ids {
            let Some(vector) = state.vectors.get_mut(&id) else { continue };
            let before = vector.entry;
            vector.judge(&*self.judge);
            let (after, routed) = (vector.entry, vector.target.is_some());
            if before != after {
                state.by_entry.extend(after.map(|entry| (entry, id)));
                before.map(|entry| state.by_entry.remove(&(entry, id)));
            }
            if !routed {
                self.let_go(state, id);
            }
        }
        for id in ids {
            // One without a number is served from here.
            if let Some(vector) = state.vectors.get_mut(id)
                && vector.target.is_some()
                && vector.gsi.is_none()
            {
                vector.gsi = state.gsis.take();
            }
        }
        let programmed = self.program(state);
        for &id in ids {
            if programmed {
                self.take_up(state, id);
            } else {
                // The old routes may still stand: none of these vectors may use them.
                self.let_go(state, id);
            }
        }
    }

    /// Programs the routes if they differ from those that stand; false if KVM does not take them.
    fn program(&self, state: &mut State) -> bool {
        let vectors = state.vectors.values().filter_map(Vector::route);
        let routes: Vec<Route> = state.pins.routes().chain(vectors).collect();
        if routes == state.programmed {
            return true;
        }
        match self.chip.set_routes(&routes) {
            Ok(()) => state.programmed = routes,
            Err(error) => {
                tracing::warn!("KVM does not take {} interrupt routes: {error}", routes.len());
                return false;
            }
        }
        true
    }

    /// Makes a vector that has a route live.
    fn take_up(&self, state: &mut State, id: VectorId) {
        let Some(vector) = state.vectors.get_mut(&id) else { return };
        let (Some(_), Some(gsi), None) = (vector.target, vector.gsi, vector.live) else { return };
        match self.chip.assign(&vector.eventfd, gsi) {
            Ok(()) => {
                vector.live = Some(gsi);
                // What was in it has been delivered, and what comes now never gets into it.
                vector.take_signals();
            }
            Err(error) => tracing::warn!("KVM does not take an irqfd, interrupts are slower: {error}"),
        }
    }

    /// Ends a vector's use of its route, and gives the number back.
    fn let_go(&self, state: &mut State, id: VectorId) {
        let Some(vector) = state.vectors.get_mut(&id) else { return };
        if let Some(gsi) = vector.live.take()
            && let Err(error) = self.chip.deassign(&vector.eventfd, gsi)
        {
            tracing::error!("KVM does not let go of an irqfd: {error}");
        }
        if let Some(gsi) = vector.gsi.take() {
            state.gsis.give_back(gsi);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a vector, or finds it.
    fn open(&self, id: VectorId, location: &Location) -> io::Result<Arc<EventFd>> {
        let mut state = self.state();
        if let Some(vector) = state.vectors.get(&id) {
            return Ok(vector.eventfd.clone());
        }
        let eventfd = Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?);
        let event = EpollEvent::new(EventSet::IN, id.key());
        self.readable.ctl(ControlOperation::Add, eventfd.as_raw_fd(), event)?;
        state.vectors.insert(id, Vector::new(eventfd.clone(), location.clone()));
        Ok(eventfd)
    }

    fn set(&self, changes: impl Iterator<Item = (VectorId, Signal)>) {
        let mut state = self.state();
        let mut changed = Vec::new();
        for (id, signal) in changes {
            let Some(vector) = state.vectors.get_mut(&id) else { continue };
            if vector.signal != signal {
                // What came until now came under the old rule.
                self.absorb(vector);
                vector.change(signal);
                changed.push(id);
            }
        }
        self.settle(&mut state, &changed);
    }

    fn is_pending(&self, id: VectorId) -> bool {
        let mut state = self.state();
        let Some(vector) = state.vectors.get_mut(&id) else { return false };
        self.absorb(vector);
        vector.pending
    }

    /// Judges every vector of a function again.
    fn judge_function(&self, function: u32) {
        let mut state = self.state();
        let ids: Vec<_> = state.vectors.range(VectorId::all_of(function)).map(|(id, _)| *id).collect();
        self.settle(&mut state, &ids);
    }

    /// Takes every vector of a function away.
    fn close_function(&self, function: u32) {
        let mut state = self.state();
        let ids: Vec<_> = state.vectors.range(VectorId::all_of(function)).map(|(id, _)| *id).collect();
        for id in ids {
            self.let_go(&mut state, id);
            if let Some(vector) = state.vectors.remove(&id) {
                vector.entry.map(|entry| state.by_entry.remove(&(entry, id)));
                let event = EpollEvent::default();
                if let Err(error) =
                    self.readable.ctl(ControlOperation::Delete, vector.eventfd.as_raw_fd(), event)
                {
                    tracing::warn!("An eventfd cannot be taken out of the event loop: {error}");
                }
            }
        }
        self.program(&mut state);
    }
}

/// Readable while a signal waits to be read here.
impl AsRawFd for RouteTable {
    fn as_raw_fd(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}

impl EventSubscriber for RouteTable {
    fn process(&self, _events: Events, _ops: &mut EventOps) {
        self.service();
    }

    fn init(&self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(self, event_manager::EventSet::IN)) {
            tracing::error!("Interrupts of assigned devices cannot be watched: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
