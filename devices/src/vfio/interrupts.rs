//! Which interrupts of the hardware are on, and what they do: always what the guest's registers say.
//!
//! VFIO has one kind on at a time. Vectors of MSI-X are given to the host when the guest first unmasks them,
//! one by one where the kernel can add to a running set. Where it cannot, the set is made anew, and every
//! vector that was in it is signalled once: an interrupt too many is harmless, one too few is not.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use pci::{ConfigSpace, Msix};
use vmm_sys_util::eventfd::EventFd;

use super::host::{HostFunction, InterruptKind};
use super::intx::Intx;
use super::msi::Msi;
use super::routes::{Signal, VectorRoutes};

/// What is on.
enum Mode {
    Quiet,
    Wire,
    Msi {
        vectors: u16,
    },
    Msix {
        /// Vectors that the host signals.
        used: BTreeSet<u16>,
    },
}

pub(super) struct Interrupts {
    host: Arc<dyn HostFunction>,
    routes: Box<dyn VectorRoutes>,
    wire: Option<Arc<Intx>>,
    msi: Option<Msi>,
    msix: Option<Arc<Msix>>,
    mode: Mode,
}

impl Interrupts {
    /// Nothing is on yet.
    pub(super) fn new(
        host: Arc<dyn HostFunction>,
        routes: Box<dyn VectorRoutes>,
        wire: Option<Arc<Intx>>,
        msi: Option<Msi>,
        msix: Option<Arc<Msix>>,
    ) -> Self {
        Self { host, routes, wire, msi, msix, mode: Mode::Quiet }
    }

    /// Follows the registers in configuration space, after any of them may have changed.
    pub(super) fn follow(&mut self, space: &ConfigSpace) {
        let granted = self.msi.map_or(0, |msi| msi.granted(space));
        if let Some(msix) = self.msix.clone().filter(|msix| msix.is_enabled()) {
            if !matches!(self.mode, Mode::Msix { .. }) {
                self.quiet();
                self.mode = Mode::Msix { used: BTreeSet::new() };
                // On without a vector: the hardware must not use its wire any more.
                self.connect(InterruptKind::Msix, 0, &[None]);
            }
            self.follow_vectors(0..msix.vectors());
        } else if granted > 0 {
            self.follow_msi(space, granted);
        } else if !matches!(self.mode, Mode::Wire) {
            self.quiet();
            self.mode = Mode::Wire;
            if let Some(wire) = &self.wire {
                wire.enable();
            }
        }
    }

    /// Follows a range of the MSI-X table.
    pub(super) fn follow_vectors(&mut self, range: Range<u16>) {
        let (Mode::Msix { used }, Some(msix)) = (&mut self.mode, &self.msix) else { return };
        let mut changes = Vec::new();
        let mut new = Vec::new();
        for vector in range {
            let Some(state) = msix.vector(vector) else { break };
            if !state.deliverable {
                if used.contains(&vector) {
                    changes.push((vector, Signal::Hold));
                }
                continue;
            }
            if !used.contains(&vector) {
                match self.routes.eventfd(vector) {
                    Ok(eventfd) => new.push((vector, eventfd)),
                    Err(error) => {
                        tracing::warn!("Vector {vector} of an assigned device stays silent: {error}");
                        continue;
                    }
                }
            }
            let message = iommu::MsiMessage { address: state.message.address, data: state.message.data };
            changes.push((vector, Signal::Send(message)));
        }
        self.routes.set(&changes);
        if new.is_empty() {
            return;
        }
        let before: Vec<u16> = used.iter().copied().collect();
        used.extend(new.iter().map(|(vector, _)| *vector));
        if self.host.interrupts(InterruptKind::Msix).grows {
            for (vector, eventfd) in &new {
                self.connect(InterruptKind::Msix, *vector, &[Some(eventfd)]);
            }
        } else {
            self.connect_all(&before);
        }
    }

    /// Makes the host's set of MSI-X vectors anew; `before` were in the old one.
    fn connect_all(&self, before: &[u16]) {
        let Mode::Msix { used } = &self.mode else { return };
        let eventfds: Vec<_> = (0..=used.last().copied().unwrap_or(0))
            .map(|vector| used.contains(&vector).then(|| self.routes.eventfd(vector).ok()).flatten())
            .collect();
        self.disconnect(InterruptKind::Msix);
        let triggers: Vec<_> = eventfds.iter().map(Option::as_deref).collect();
        self.connect(InterruptKind::Msix, 0, &triggers);
        for vector in before {
            if let Some(Some(eventfd)) = eventfds.get(usize::from(*vector)) {
                // It fails only where the counter is full, and then it is signalled anyhow.
                let _ = eventfd.write(1);
            }
        }
    }

    fn follow_msi(&mut self, space: &ConfigSpace, granted: u16) {
        let Some(msi) = self.msi else { return };
        let fresh = !matches!(self.mode, Mode::Msi { vectors } if vectors == granted);
        if fresh {
            self.quiet();
        }
        let eventfds: Vec<_> = if fresh {
            (0..granted).map(|vector| self.routes.eventfd(vector).ok()).collect()
        } else {
            Vec::new()
        };
        let changes: Vec<_> = (0..granted).map(|vector| (vector, msi.signal(space, vector))).collect();
        self.routes.set(&changes);
        if fresh {
            self.mode = Mode::Msi { vectors: granted };
            let triggers: Vec<_> = eventfds.iter().map(Option::as_deref).collect();
            self.connect(InterruptKind::Msi, 0, &triggers);
        }
    }

    /// Switches off whatever is on.
    pub(super) fn quiet(&mut self) {
        let (vectors, kind): (Vec<u16>, _) = match std::mem::replace(&mut self.mode, Mode::Quiet) {
            Mode::Quiet => return,
            Mode::Wire => {
                if let Some(wire) = &self.wire {
                    wire.disable();
                }
                return;
            }
            Mode::Msi { vectors } => ((0..vectors).collect(), InterruptKind::Msi),
            Mode::Msix { used } => (used.into_iter().collect(), InterruptKind::Msix),
        };
        self.disconnect(kind);
        let changes: Vec<_> = vectors.into_iter().map(|vector| (vector, Signal::Discard)).collect();
        self.routes.set(&changes);
    }

    /// Whether a vector was signalled while it was masked.
    pub(super) fn is_pending(&self, vector: u16) -> bool {
        self.routes.is_pending(vector)
    }

    /// Judges every message again under the function's new requester ID.
    pub(super) fn renumbered(&self) {
        self.routes.renumbered();
    }

    fn connect(&self, kind: InterruptKind, first: u16, triggers: &[Option<&EventFd>]) {
        if let Err(error) = self.host.set_triggers(kind, first, triggers) {
            tracing::warn!("The host does not pass {kind:?} interrupts from {first} on: {error}");
        }
    }

    fn disconnect(&self, kind: InterruptKind) {
        if let Err(error) = self.host.disable(kind) {
            tracing::warn!("The host does not switch {kind:?} interrupts off: {error}");
        }
    }
}
