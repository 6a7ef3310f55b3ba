//! The machine: everything put together, in the order in which the parts need each other.

mod assigned;
mod chipset;
mod console;
mod described;
mod error;
mod firmware;
mod functions;
mod host;
mod hot_plug;
mod memory_map;
mod power;
mod profile;
mod remapping;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use acpi::Tables;
use acpi::dmar::Scope;
use devices::vfio::VfioFunction;
use devices::{GuestRam, Remapping};
use iommu::{Feature, SourceId};
use pci::{RootComplex, Windows};
use vm_memory::{Bytes, GuestAddress};

pub use error::BuildError;
pub use power::{Outcome, PowerSwitch};

use crate::boot;
use functions::{Builder, Settled};
use host::FromHost;
use hot_plug::{FIRST_CONTROL_MARK, HotPlug, Mailbox, Plan};

use crate::bus::Bus;
use crate::config::{Config, IommuChoice, ModuleSpec};
use crate::control::Control;
use crate::event_loop::EventLoop;
use crate::host_dma::{Passed, Taken};
use crate::interrupts::{KvmChip, KvmMsi, RouteTable};
use crate::kvm::cpuid::{self, Topology};
use crate::kvm::slots::Slots;
use crate::kvm::vcpu::{self, Kick, Vcpu};
use crate::kvm::{KvmError, Vm};
use crate::terminal::RawTerminal;
use crate::{layout, memory};

/// A machine that is ready to run.
pub struct Machine {
    vcpus: Vec<Vcpu>,
    kicks: Vec<Arc<Kick>>,
    stop: Arc<AtomicBool>,
    power: Arc<PowerSwitch>,
    event_loop: EventLoop,
    /// Given back while the machine they were mapped into still exists.
    assigned: Vec<(Arc<VfioFunction>, Taken)>,
    _pci: Arc<RootComplex>,
    vm: Vm,
}

/// What every part of the machine is built from.
#[derive(Clone)]
struct Parts {
    memory: Arc<GuestRam>,
    slots: Arc<Slots>,
    remapping: Remapping,
    routes: Arc<RouteTable>,
    msi: Arc<KvmMsi>,
    power: Arc<PowerSwitch>,
    /// Whether there may be several assigned functions, which reach each other.
    has_peers: bool,
}

/// Builds the machine that `config` describes. Nothing of the guest has run when it fails.
pub fn build(config: &Config) -> Result<Machine, BuildError> {
    // Before anything is opened: what the user names by number is then not the program's own.
    let passed = Passed::take(config)?;
    let vm = Vm::new()?;
    let memory = memory::allocate(config.memory, config.pages)?;
    let slots = Arc::new(Slots::new(vm.fd.clone(), &memory)?);
    let mut event_loop = EventLoop::new().map_err(BuildError::at("wait for events"))?;
    let ender = event_loop.ender().map_err(BuildError::at("wait for events"))?;
    let power = Arc::new(PowerSwitch::new(ender));

    let mut host = FromHost::take(config, passed, &vm.fd, &memory)?;
    let address_bits = vm.address_bits();
    let remapping = match config.iommu {
        IommuChoice::Off => Remapping::Absent,
        IommuChoice::Vtd => remapping::unit(config, &host, &memory)?,
    };
    let chip = Arc::new(KvmChip::new(vm.fd.clone()));
    let routes = RouteTable::new(chip.clone(), remapping.clone(), SourceId(config.ioapic_id.0))
        .map_err(BuildError::at("route interrupts"))?;
    let msi = Arc::new(KvmMsi::new(chip));
    remapping::connect(&remapping, msi.clone(), routes.clone(), &mut event_loop)
        .map_err(BuildError::at("make an event descriptor"))?;
    event_loop.add(routes.clone());
    let slots_for_more = config.hotplug.map_or(0, |spec| usize::from(spec.slots));
    let has_peers = config.vfio.len() + slots_for_more > 1;
    let parts = Parts { memory, slots, remapping, routes, msi, power: power.clone(), has_peers };

    let chipset = chipset::build(config, &parts, &mut event_loop)?;
    let high_window = layout::high_window(config.memory, address_bits);
    let pci = Arc::new(RootComplex::new(Windows {
        memory32: layout::PCI_WINDOW,
        memory64: high_window.clone().unwrap_or(0..0),
        ports: u64::from(layout::PORT_WINDOW_FIRST)..u64::from(layout::PORT_WINDOW_LAST) + 1,
    }));
    let mailbox = Mailbox::new().map_err(BuildError::at("make an event descriptor"))?;
    let hot_plug = config.hotplug.map(|spec| {
        let slots = usize::from(spec.slots) + config.vfio.len();
        Plan::new(&spec, slots, high_window.is_some(), mailbox.clone())
    });
    let mut builder = Builder::new(&parts, &chipset, &pci, &mut event_loop, hot_plug.clone());
    for device in &config.devices {
        builder.emulated(device)?;
    }
    let settled: Vec<Settled> = host
        .taken
        .iter()
        .zip(host.shared_groups())
        .map(|((spec, taken), group)| builder.assigned(spec, taken, group))
        .collect::<Result<_, _>>()?;
    let empty = config.hotplug.map_or(0, |spec| spec.slots);
    let slots: Vec<_> = hot_plug
        .iter()
        .flat_map(|plan| (0..empty).map(move |_| plan))
        .map(|plan| builder.hot_plug_slot(plan, "an empty slot"))
        .collect::<Result<_, _>>()?;
    pci.assign_resources(|wire| acpi::intx_gsi(wire.device, wire.pin.index()) as u8)?;

    let places: Vec<_> = settled.iter().map(|settled| settled.location.clone()).collect();
    let reserved = described::reserved_memory(config, &pci, &host, &places)?;
    let kept = host.unusable()?;
    for (start, length) in &kept {
        eprintln!(
            "portcullis: the host's IOMMU maps nothing at {start:#x}-{:#x}, so the guest is told to leave its memory \
             there alone",
            start + (length - 1)
        );
    }
    let map_reserved: Vec<_> =
        reserved.iter().map(|(start, length, _)| (*start, *length)).chain(kept).collect();
    let map = memory_map::memory_map(config.memory, &map_reserved)?;
    let tables = tables(config, &parts, &pci, reserved, high_window, address_bits)?;
    let entry = boot::load(&boot_request(config), &parts.memory, &map, tables.rsdp())?;

    let control = config.control.as_deref().map(open_control).transpose()?;
    let bus = chipset.bus(pci.clone(), &parts.remapping);
    let taken = std::mem::take(&mut host.taken).into_iter().map(|(_, taken)| taken);
    let mut hot_plug = HotPlug::new(parts.clone(), pci.clone(), host, mailbox, control);
    for slot in slots {
        hot_plug.add_slot(slot);
    }
    let assigned: Vec<_> = settled
        .into_iter()
        .zip(taken)
        .filter_map(|(settled, taken)| hot_plug.settle(settled, taken))
        .collect();
    event_loop.add(hot_plug);
    let topology = Topology {
        count: config.cpus,
        x2apic: remapping::takes_x2apic(&parts.remapping),
        tsc_deadline: vm.tsc_deadline,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut machine =
        Machine { vcpus: Vec::new(), kicks: Vec::new(), stop, power, event_loop, assigned, _pci: pci, vm };
    machine.add_processors(topology, &Arc::new(bus), &entry, &chipset)?;
    Ok(machine)
}

/// Makes the ACPI tables, and puts them where the guest looks for them.
fn tables(
    config: &Config,
    parts: &Parts,
    pci: &RootComplex,
    reserved: Vec<(u64, u64, Scope)>,
    high_window: Option<Range<u64>>,
    address_bits: u8,
) -> Result<Tables, BuildError> {
    let tables = firmware::tables(firmware::Description {
        cpus: config.cpus,
        high_window,
        root_devices: described::root_devices(pci),
        remapping: match &parts.remapping {
            Remapping::Absent => None,
            Remapping::Unit(unit) => Some(firmware::Unit {
                address_bits,
                window_size: unit.capabilities().window_size(),
                interrupt_remapping: unit.capabilities().has(Feature::InterruptRemapping),
                scopes: described::scopes(pci),
                ioapic: config.ioapic_id,
                reserved,
            }),
        },
    })?;
    if let Some(folder) = &config.dump_acpi {
        firmware::dump(&tables, folder).map_err(BuildError::at("write the ACPI tables"))?;
    }
    parts
        .memory
        .write_slice(&tables.bytes, GuestAddress(tables.address))
        .map_err(BuildError::device("the ACPI tables"))?;
    Ok(tables)
}

fn open_control(path: &Path) -> Result<Control, BuildError> {
    Control::open(path, FIRST_CONTROL_MARK)
        .map_err(|source| BuildError::Control { path: path.to_owned(), source })
}

fn boot_request(config: &Config) -> boot::Request {
    let module =
        |spec: &ModuleSpec| boot::Module { file: spec.path.clone(), arguments: spec.arguments.clone() };
    boot::Request {
        kernel: config.kernel.clone(),
        command_line: config.cmdline.clone(),
        initrd: config.initrd.clone(),
        modules: config.modules.iter().map(module).collect(),
    }
}

impl Machine {
    fn add_processors(
        &mut self,
        topology: Topology,
        bus: &Arc<Bus>,
        entry: &boot::Entry,
        chipset: &chipset::Chipset,
    ) -> Result<(), BuildError> {
        for id in 0..topology.count {
            let fd = self.vm.fd.create_vcpu(id.into()).map_err(KvmError::at("create a processor"))?;
            let leaves = cpuid::for_processor(&self.vm.cpuid, id, topology).map_err(|_| {
                BuildError::Invalid("The host's processor has more CPUID leaves than KVM takes".into())
            })?;
            vcpu::prepare(&fd, &leaves, &self.vm.msrs)?;
            let (kick, external) = if id == 0 {
                vcpu::enter_at(&fd, entry)?;
                let (kick, external) = chipset.external_interrupts();
                (kick, Some(external))
            } else {
                (Arc::default(), None)
            };
            self.kicks.push(kick.clone());
            self.vcpus.push(Vcpu::new(id, fd, bus.clone(), kick, self.stop.clone(), external));
        }
        Ok(())
    }

    /// Runs the machine until the guest, the user or a failure ends it.
    pub fn run(mut self) -> Result<Outcome, String> {
        let terminal = RawTerminal::enter();
        let threads = self.start().map_err(|error| format!("Cannot start a processor's thread: {error}"))?;
        let served = self.event_loop.run();
        self.stop.store(true, Ordering::SeqCst);
        for (kick, thread) in self.kicks.iter().zip(threads) {
            // The thread may not have registered itself yet: call until it hears.
            while !thread.is_finished() {
                kick.kick();
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = thread.join();
        }
        for (function, _) in &self.assigned {
            function.stop();
        }
        drop(terminal);
        served.map_err(|error| format!("The event loop failed: {error}"))?;
        match self.power.outcome() {
            Some(Outcome::Failed(message)) => Err(message),
            Some(outcome) => Ok(outcome),
            None => Err("The machine stopped for no reason it knows of".into()),
        }
    }

    fn start(&mut self) -> std::io::Result<Vec<JoinHandle<()>>> {
        let power = self.power.clone();
        let vcpus = std::mem::take(&mut self.vcpus);
        vcpus
            .into_iter()
            .enumerate()
            .map(|(id, vcpu)| {
                let power = power.clone();
                std::thread::Builder::new().name(format!("vcpu{id}")).spawn(move || {
                    if let Some(outcome) = Outcome::of_processor(|| vcpu.run()) {
                        power.end(outcome);
                    }
                })
            })
            .collect()
    }
}
