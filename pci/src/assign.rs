//! What firmware does before an operating system starts: bus numbers, bridge windows, BARs.
//!
//! It works through configuration accesses alone, as firmware has to, so that it treats emulated and
//! assigned functions alike.

mod layout;
mod registers;

use std::collections::BTreeMap;
use std::sync::Arc;

use layout::{Item, Pool, Pools, Target};
use registers::Registers;

use crate::config_space::register;
use crate::header::type1;
use crate::topology::{Bridge, NodeId, Topology};
use crate::{Bdf, Bus, Command, Function, InterruptPin, InterruptWire, Reserve};

/// Why resources cannot be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// A function asks for more than is left of a window.
    #[error(
        "Function {function} needs {size:#x} bytes of {space}, and the window for them has too little room"
    )]
    NoRoom {
        /// The function, or the root port that it is behind.
        function: Bdf,
        /// Bytes it needs.
        size: u64,
        /// What kind of addresses.
        space: &'static str,
    },
    /// Guests look for further functions of a device only where they find function 0.
    #[error("No guest will find function {0}: its device has no function 0")]
    Hidden(Bdf),
    /// There are more buses than numbers.
    #[error("There are more than 255 bridges")]
    Buses,
}

/// Turns decoding off everywhere and gives the buses numbers.
pub(crate) fn assign_numbers(topology: &Topology) -> Result<(), AssignError> {
    // Nothing may decode while it is being moved.
    for id in topology.below(Topology::ROOT) {
        let node = topology.node(id);
        if !topology.has_function_0(node.bus, node.location.device()) {
            return Err(AssignError::Hidden(node.location.bdf()));
        }
        Registers::of(topology, id).set_command(Command::empty());
    }
    number_buses(topology, Topology::ROOT, 0, &mut 0)
}

/// Assigns addresses, and lets everything decode them. `interrupt_line` gives what to put into Interrupt Line
/// for a wire.
pub(crate) fn assign_addresses(
    topology: &Topology,
    interrupt_line: impl Fn(InterruptWire) -> u8,
) -> Result<(), AssignError> {
    let mut spaces = Spaces::new();
    let demands = demands_of(topology, Topology::ROOT, &mut spaces)?;
    layout::place(&topology.windows, demands)?;
    for id in topology.below(Topology::ROOT) {
        let command = spaces.remove(&id).unwrap_or(Command::empty());
        Registers::of(topology, id).set_command(command);
        note_interrupt(topology, id, &interrupt_line);
    }
    Ok(())
}

/// What each function may have to decode.
type Spaces = BTreeMap<NodeId, Command>;

/// Numbers the buses behind `bus` in the order in which a search finds them; `last` is the highest number
/// given.
fn number_buses(topology: &Topology, bus: Bus, number: u8, last: &mut u8) -> Result<(), AssignError> {
    for (id, bridge) in bridges_on(topology, bus) {
        let registers = Registers::of(topology, id);
        *last = last.checked_add(1).ok_or(AssignError::Buses)?;
        let secondary = *last;
        registers.write_u8(type1::PRIMARY_BUS, number);
        registers.write_u8(type1::SECONDARY_BUS, secondary);
        registers.write_u8(type1::SUBORDINATE_BUS, 0xFF);
        number_buses(topology, bridge.below, secondary, last)?;
        registers.write_u8(type1::SUBORDINATE_BUS, *last);
    }
    Ok(())
}

/// What the functions on a bus need, those behind its bridges included.
fn demands_of(topology: &Topology, bus: Bus, spaces: &mut Spaces) -> Result<Pools, AssignError> {
    let mut pools = Pools::default();
    for id in topology.on_bus(bus) {
        let node = topology.node(id);
        let bdf = node.location.bdf();
        for bar in Registers::of(topology, id).size_bars(node.bridge.is_some()) {
            *spaces.entry(id).or_insert(Command::empty()) |= bar.space();
            let target = Target::Bar { function: node.function.clone(), bar };
            pools.push(bar.pool, Item::new(bdf, bar.size, bar.size, target));
        }
        let Some(bridge) = &node.bridge else { continue };
        spaces.insert(id, Command::IO_SPACE | Command::MEMORY_SPACE | Command::BUS_MASTER);
        let behind = demands_of(topology, bridge.below, spaces)?;
        // Memory above 4 GiB goes through the prefetchable window.
        for (pool, items) in behind.into_each() {
            let function: Arc<dyn Function> = node.function.clone();
            let least = bridge.function.root_port().map_or(0, |port| reserved(&port.reserve(), pool));
            pools.push(pool, layout::window(bdf, function, pool, items, least)?);
        }
    }
    Ok(pools)
}

/// How large a bridge's window has to be whatever is behind it.
fn reserved(reserve: &Reserve, pool: Pool) -> u64 {
    match pool {
        Pool::Low => reserve.memory,
        Pool::High => reserve.prefetchable,
        Pool::Ports => reserve.ports,
    }
}

/// Notes in Interrupt Line where a function's interrupt goes.
fn note_interrupt(topology: &Topology, id: NodeId, interrupt_line: &impl Fn(InterruptWire) -> u8) {
    let registers = Registers::of(topology, id);
    if let Some(pin) = registers.read_u8(register::INTERRUPT_PIN).checked_sub(1) {
        let wire = topology.interrupt_route(id).wire(InterruptPin::from_index(pin));
        registers.write_u8(register::INTERRUPT_LINE, interrupt_line(wire));
    }
}

fn bridges_on(topology: &Topology, bus: Bus) -> impl Iterator<Item = (NodeId, &Bridge)> {
    topology.on_bus(bus).filter_map(|id| topology.node(id).bridge.as_ref().map(|bridge| (id, bridge)))
}

impl Pool {
    /// What its addresses are called in errors.
    fn name(self) -> &'static str {
        match self {
            Pool::Low => "memory below 4 GiB",
            Pool::High => "memory above 4 GiB",
            Pool::Ports => "ports",
        }
    }
}

#[cfg(test)]
mod tests;
