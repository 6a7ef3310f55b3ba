//! Laying out an [`Endpoint`].

use std::ops::Range;
use std::sync::Mutex;

use super::{Endpoint, MsixPlace, Services, State, Wire};
use crate::config_space::NoRoom;
use crate::{
    Ats, Bar, BarError, Bars, ConfigSpace, Express, ExpressKind, Identity, InterruptPin, Msi, Msix,
    PageRequestInterface, PasidCapability, PowerManagement, Register,
};

/// Why a function cannot be laid out as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Configuration space is full.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// A BAR cannot be as asked.
    #[error(transparent)]
    Bar(#[from] BarError),
    /// The MSI-X table or pending bits do not lie whole, 8-byte aligned and apart in memory BARs.
    #[error("MSI-X structures do not fit at {offset:#x} of BAR {bar}")]
    MsixPlace {
        /// The BAR.
        bar: usize,
        /// The offset in it.
        offset: u32,
    },
}

/// Lays out the configuration side of a function. Capabilities stand in the order in which they are added.
pub struct EndpointBuilder {
    config: ConfigSpace,
    bars: Bars,
    msi: Option<Msi>,
    msix: Option<MsixPlace>,
    power: Option<PowerManagement>,
    express: Option<Express>,
    services: Services,
    wire: Option<Wire>,
}

impl EndpointBuilder {
    /// A function with nothing but its header.
    pub fn new(identity: &Identity) -> Self {
        Self {
            config: ConfigSpace::endpoint(identity),
            bars: Bars::new(),
            msi: None,
            msix: None,
            power: None,
            express: None,
            services: Services::default(),
            wire: None,
        }
    }

    /// Adds a BAR.
    pub fn bar(&mut self, index: usize, bar: Bar) -> Result<&mut Self, EndpointError> {
        self.bars.add(&mut self.config, index, bar)?;
        Ok(self)
    }

    /// Gives the function an INTx pin. `wire` drives its share of the wire; it is called under the
    /// endpoint's lock and must not come back to it.
    pub fn interrupt_pin(
        &mut self,
        pin: InterruptPin,
        wire: impl Fn(bool) + Send + Sync + 'static,
    ) -> &mut Self {
        self.config.set_interrupt_pin(pin);
        self.wire = Some(Box::new(wire));
        self
    }

    /// Adds power management: D0 and D3hot.
    pub fn power_management(&mut self) -> Result<&mut Self, EndpointError> {
        self.power = Some(PowerManagement::add(&mut self.config)?);
        Ok(self)
    }

    /// Adds the PCI Express capability to a function of this `kind`; to one of a conventional bus, which is
    /// of none, nothing. `can_reset` offers function-level reset: [`super::Effects::reset`].
    pub fn express(
        &mut self,
        kind: impl Into<Option<ExpressKind>>,
        can_reset: bool,
    ) -> Result<&mut Self, EndpointError> {
        if let Some(kind) = kind.into() {
            self.express = Some(Express::add(&mut self.config, kind, can_reset)?);
        }
        Ok(self)
    }

    /// Adds MSI with up to 32 vectors.
    pub fn msi(&mut self, vectors: u8, maskable: bool) -> Result<&mut Self, EndpointError> {
        self.msi = Some(Msi::add(&mut self.config, vectors, maskable)?);
        Ok(self)
    }

    /// Adds MSI-X with up to 2048 vectors. `table` and `pending` are a BAR that has been added, and an offset
    /// in it.
    pub fn msix(
        &mut self,
        vectors: u16,
        table: (usize, u32),
        pending: (usize, u32),
    ) -> Result<&mut Self, EndpointError> {
        let msix = Msix::new(vectors);
        let table_range = self.place(table, msix.table_length())?;
        let pending_range = self.place(pending, msix.pending_length())?;
        let apart = table.0 != pending.0
            || table_range.end <= pending_range.start
            || pending_range.end <= table_range.start;
        if !apart {
            return Err(EndpointError::MsixPlace { bar: pending.0, offset: pending.1 });
        }
        let pointer = |(bar, offset): (usize, u32)| (bar as u8, offset);
        let capability = msix.add_capability(&mut self.config, pointer(table), pointer(pending))?;
        self.msix = Some(MsixPlace {
            msix,
            capability,
            table: (table.0, table_range),
            pending: (pending.0, pending_range),
        });
        Ok(self)
    }

    /// Adds address translation services.
    pub fn ats(&mut self) -> Result<&mut Self, EndpointError> {
        self.services.ats = Some(Ats::add(&mut self.config)?);
        Ok(self)
    }

    /// Adds PASIDs of 20 bits, with execute and privilege; after the PCI Express capability, which says that
    /// requests may carry them.
    pub fn pasid(&mut self) -> Result<&mut Self, EndpointError> {
        self.services.pasid = Some(PasidCapability::add(&mut self.config)?);
        if let Some(express) = self.express {
            express.carry_prefixes(&mut self.config);
        }
        Ok(self)
    }

    /// Adds page requests, of which at most `capacity` are unanswered.
    pub fn page_requests(&mut self, capacity: u32) -> Result<&mut Self, EndpointError> {
        self.services.pages = Some(PageRequestInterface::add(&mut self.config, capacity)?);
        Ok(self)
    }

    /// Adds any other capability, its registers following ID and next pointer without gaps; gives its
    /// offset.
    pub fn capability(&mut self, id: u8, body: &[Register]) -> Result<u16, EndpointError> {
        Ok(self.config.add_capability(id, body)?)
    }

    /// Adds an extended capability, its registers following the 4-byte header without gaps; gives its
    /// offset.
    pub fn extended_capability(
        &mut self,
        id: u16,
        version: u8,
        body: &[Register],
    ) -> Result<u16, EndpointError> {
        Ok(self.config.add_extended_capability(id, version, body)?)
    }

    /// The finished endpoint, in its state after power-on.
    pub fn build(self) -> Endpoint {
        Endpoint {
            state: Mutex::new(State { config: self.config, wire_asserted: false, upstream: true }),
            bars: self.bars,
            msi: self.msi,
            msix: self.msix,
            power: self.power,
            express: self.express,
            services: self.services,
            wire: self.wire,
        }
    }

    /// The range of `length` bytes at `offset` of `bar`, if it lies in a memory BAR.
    fn place(&self, (bar, offset): (usize, u32), length: u64) -> Result<Range<u64>, EndpointError> {
        let start = u64::from(offset);
        let end = start + length;
        let fits = self.bars.get(bar).is_some_and(|found| found.kind.holds_registers() && end <= found.size);
        if fits && start.is_multiple_of(8) {
            Ok(start..end)
        } else {
            Err(EndpointError::MsixPlace { bar, offset })
        }
    }
}
