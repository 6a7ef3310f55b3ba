//! One function's part of the table.

use std::io;
use std::sync::Arc;

use devices::vfio::{Signal, VectorRoutes};
use pci::Location;
use vmm_sys_util::eventfd::EventFd;

use super::RouteTable;
use super::vector::VectorId;

/// The routes of one function; they go when this is dropped.
pub struct FunctionRoutes {
    table: Arc<RouteTable>,
    function: u32,
    location: Location,
}

impl FunctionRoutes {
    pub(super) fn new(table: Arc<RouteTable>, function: u32, location: Location) -> Self {
        Self { table, function, location }
    }

    const fn id(&self, vector: u16) -> VectorId {
        VectorId { function: self.function, vector }
    }
}

impl VectorRoutes for FunctionRoutes {
    fn eventfd(&self, vector: u16) -> io::Result<Arc<EventFd>> {
        self.table.open(self.id(vector), &self.location)
    }

    fn set(&self, changes: &[(u16, Signal)]) {
        self.table.set(changes.iter().map(|&(vector, signal)| (self.id(vector), signal)));
    }

    fn is_pending(&self, vector: u16) -> bool {
        self.table.is_pending(self.id(vector))
    }

    fn renumbered(&self) {
        self.table.judge_function(self.function);
    }
}

impl Drop for FunctionRoutes {
    fn drop(&mut self) {
        self.table.close_function(self.function);
    }
}
