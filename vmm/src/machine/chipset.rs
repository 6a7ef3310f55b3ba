//! What every PC has at fixed addresses: interrupt controllers, timers, the serial port, power.

use std::io::stdout;
use std::sync::Arc;

use devices::platform::{
    Cmos, DebugExit, HostClock, I8042, IoApic, IsaInterrupt, IsaWires, LevelPins, MemorySize, Pic, PinRoutes,
    Pit, PowerManagement, ResetControl, Serial, TimerEvents,
};
use devices::{InterruptLine, InterruptSource, MmioDevice, PortDevice, Remapping};
use iommu::SourceId;
use pci::{InterruptWire, RootComplex};

use super::console::Console;
use super::remapping::Registers;
use super::{BuildError, Parts};
use crate::bus::Bus;
use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::interrupts::RouteTable;
use crate::kvm::vcpu::{ExternalInterrupts, Kick};
use crate::layout;

/// The devices, wired up.
pub(super) struct Chipset {
    ioapic: Arc<IoApic>,
    pic: Arc<Pic>,
    /// The processor that the 8259 pair interrupts.
    first_processor: Arc<Kick>,
    ports: Vec<Arc<dyn PortDevice>>,
}

/// Builds the chipset and has the event loop serve its timers and the terminal.
pub(super) fn build(
    config: &Config,
    parts: &Parts,
    event_loop: &mut EventLoop,
) -> Result<Chipset, BuildError> {
    let interrupts = InterruptSource::new(parts.remapping.clone(), parts.msi.clone());
    let routes = Arc::new(LevelRoutes(parts.routes.clone()));
    let ioapic = IoApic::new(SourceId(config.ioapic_id.0), interrupts, routes);
    let first_processor = Arc::new(Kick::default());
    let pic = Pic::new(Arc::new(PicOutput(first_processor.clone())));
    let isa = IsaWires::new(&pic, &ioapic);
    let clock = HostClock::start();
    let power = parts.power.clone();
    let timer = BuildError::at("make a timer");

    let serial = Serial::new(Serial::COM1, isa.line(IsaInterrupt::COM1), Box::new(stdout()));
    let serial = Arc::new(serial.map_err(BuildError::at("make a serial port"))?);
    event_loop.add(Console::new(serial.clone(), power.clone()));
    let acpi = PowerManagement::new(power.clone(), isa.line(IsaInterrupt::SYSTEM_CONTROL), clock.clone())
        .map_err(&timer)?;
    event_loop.add(TimerEvents::new(acpi.clone()));
    let low = config.memory.min(layout::LOW_RAM_END);
    let size = MemorySize { low, high: config.memory - low };
    let cmos = Cmos::new(size, isa.line(IsaInterrupt::CLOCK), clock.clone()).map_err(&timer)?;
    event_loop.add(TimerEvents::new(cmos.clone()));
    let pit = Pit::new(isa.line(IsaInterrupt::TIMER), clock).map_err(&timer)?;
    event_loop.add(TimerEvents::new(pit.clone()));

    let ports: Vec<Arc<dyn PortDevice>> = vec![
        serial,
        acpi,
        cmos,
        pic.clone(),
        pit,
        Arc::new(I8042::new(power.clone(), isa.line(IsaInterrupt::KEYBOARD))),
        Arc::new(DebugExit::new(power.clone())),
        Arc::new(ResetControl::new(power)),
    ];
    Ok(Chipset { ioapic, pic, first_processor, ports })
}

impl Chipset {
    /// The wire that a PCI interrupt pin comes out on.
    pub(super) fn pci_line(&self, wire: InterruptWire) -> Option<Arc<dyn InterruptLine>> {
        self.ioapic.line(acpi::intx_gsi(wire.device, wire.pin.index()) as usize)
    }

    /// What the first processor needs to take interrupts of the 8259 pair.
    pub(super) fn external_interrupts(&self) -> (Arc<Kick>, Arc<dyn ExternalInterrupts>) {
        (self.first_processor.clone(), Arc::new(PicInterrupts(self.pic.clone())))
    }

    /// The bus with the chipset, the remapping unit's registers and PCI on it.
    pub(super) fn bus(&self, pci: Arc<RootComplex>, remapping: &Remapping) -> Bus {
        let ioapic = self.ioapic.clone();
        let mut bus = Bus::new(pci.clone(), move |vector| ioapic.eoi(vector))
            .with_memory(layout::ECAM_START..layout::ECAM_START + layout::ECAM_LENGTH, Arc::new(Ecam(pci)))
            .with_memory(
                layout::IOAPIC_START..layout::IOAPIC_START + layout::IOAPIC_LENGTH,
                self.ioapic.clone(),
            );
        if let Remapping::Unit(unit) = remapping {
            let registers = Arc::new(Registers(unit.clone()));
            let length = unit.capabilities().window_size();
            bus = bus.with_memory(layout::VTD_START..layout::VTD_START + length, registers);
        }
        self.ports.iter().fold(bus, Bus::with_ports)
    }
}

/// The output of the 8259 pair: calls the first processor, which looks what is pending.
struct PicOutput(Arc<Kick>);

impl InterruptLine for PicOutput {
    fn set(&self, asserted: bool) {
        if asserted {
            self.0.kick();
        }
    }
}

struct PicInterrupts(Arc<Pic>);

impl ExternalInterrupts for PicInterrupts {
    fn pending(&self) -> bool {
        self.0.pending()
    }

    fn acknowledge(&self) -> u8 {
        self.0.acknowledge()
    }
}

/// Configuration space, memory mapped.
struct Ecam(Arc<RootComplex>);

impl MmioDevice for Ecam {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.0.ecam_read(offset, data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        self.0.ecam_write(offset, data);
    }
}

/// Lets KVM know of the IOAPIC's level-triggered vectors, whose ends it then reports.
struct LevelRoutes(Arc<RouteTable>);

impl PinRoutes for LevelRoutes {
    fn changed(&self, pins: &LevelPins) {
        self.0.pins_changed(pins);
    }
}
