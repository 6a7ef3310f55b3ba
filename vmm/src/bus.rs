//! Where a vCPU's port and memory accesses go.

use std::ops::Range;
use std::sync::Arc;

use devices::{MmioDevice, PortDevice, PortRange};
use pci::RootComplex;

/// Everything outside RAM that a guest can address.
///
/// What the machine itself has at fixed addresses comes first, whatever the guest puts its BARs over.
pub struct Bus {
    ports: Vec<(PortRange, Arc<dyn PortDevice>)>,
    memory: Vec<(Range<u64>, Arc<dyn MmioDevice>)>,
    pci: Arc<RootComplex>,
    end_of_interrupt: Box<dyn Fn(u8) + Send + Sync>,
}

/// Ports of configuration mechanism #1; what it does not want among them goes to whoever has it.
const CONFIG_PORTS: Range<u16> = 0xCF8..0xD00;

impl Bus {
    /// A bus with PCI on it. `end_of_interrupt` is told of vectors that the guest's local APICs broadcast.
    pub fn new(pci: Arc<RootComplex>, end_of_interrupt: impl Fn(u8) + Send + Sync + 'static) -> Self {
        Self { ports: Vec::new(), memory: Vec::new(), pci, end_of_interrupt: Box::new(end_of_interrupt) }
    }

    /// Puts a device at the ports it claims.
    #[must_use]
    pub fn with_ports(mut self, device: &Arc<dyn PortDevice>) -> Self {
        self.ports.extend(device.ports().into_iter().map(|range| (range, device.clone())));
        self
    }

    /// Puts a device at `addresses`.
    #[must_use]
    pub fn with_memory(mut self, addresses: Range<u64>, device: Arc<dyn MmioDevice>) -> Self {
        self.memory.push((addresses, device));
        self
    }

    /// Reads a port. Where nothing is, all bits are one.
    pub fn port_read(&self, port: u16, data: &mut [u8]) {
        if let Some(device) = self.at_port(port) {
            device.read(port, data);
        } else if CONFIG_PORTS.contains(&port) {
            self.pci.port_read(port, data);
        } else {
            self.pci.pio_read(port, data);
        }
    }

    /// Writes a port.
    pub fn port_write(&self, port: u16, data: &[u8]) {
        // The reset register at 0xCF9 lies among them; the address register is only written as a whole.
        if CONFIG_PORTS.contains(&port) && self.pci.port_write(port, data) {
            return;
        }
        if let Some(device) = self.at_port(port) {
            device.write(port, data);
        } else {
            self.pci.pio_write(port, data);
        }
    }

    /// Reads memory-mapped registers. Where nothing is, all bits are one.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        if let Some((range, device)) = self.memory.iter().find(|(range, _)| range.contains(&address)) {
            device.read(address - range.start, data);
        } else {
            self.pci.mmio_read(address, data);
        }
    }

    /// Writes memory-mapped registers.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((range, device)) = self.memory.iter().find(|(range, _)| range.contains(&address)) {
            device.write(address - range.start, data);
        } else {
            self.pci.mmio_write(address, data);
        }
    }

    fn at_port(&self, port: u16) -> Option<&Arc<dyn PortDevice>> {
        self.ports.iter().find(|(range, _)| range.contains(port)).map(|(_, device)| device)
    }

    /// Passes an end of interrupt on to the IOAPIC.
    pub fn end_of_interrupt(&self, vector: u8) {
        (self.end_of_interrupt)(vector);
    }
}
