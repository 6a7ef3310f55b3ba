//! What reaches what, as the guest has programmed it: a picture of the topology that is made anew after each
//! change and read without a lock.

mod ranges;

use std::sync::Arc;

pub(crate) use ranges::{Decoder, Ranges};

use crate::span::Span;
use crate::topology::{Bridge, BusKind, Held, NodeId, Topology};
use crate::{BAR_COUNT, BarRange, BarSpace, Bdf, Bus, Function};

/// The picture.
#[derive(Default)]
pub(crate) struct Map {
    /// Functions that configuration accesses reach, by their numbers.
    functions: Vec<ConfigTarget>,
    /// Who answers at which memory address.
    pub(crate) memory: Ranges,
    /// Who answers at which port.
    pub(crate) ports: Ranges,
}

/// A function that configuration accesses reach.
pub(crate) struct ConfigTarget {
    bdf: Bdf,
    pub(crate) id: NodeId,
    pub(crate) function: Arc<dyn Function>,
    /// Whether its device has functions besides function 0.
    pub(crate) multifunction: bool,
    _held: Held,
    /// Whether accesses reach more than the first 256 bytes: those of a conventional bus have no way to say
    /// so.
    pub(crate) extended: bool,
}

/// What the guest reaches of each BAR of each function, by [`NodeId`].
pub(crate) type Reached = Vec<[Option<BarRange>; BAR_COUNT]>;

impl Map {
    /// Draws the picture of `topology` from what was last noted there.
    pub(crate) fn draw(topology: &Topology) -> (Self, Reached) {
        let nodes = topology.below(Topology::ROOT);
        let functions = config_targets(topology, &nodes);
        let (memory, ports, reached) = decoders(topology, &nodes);
        (Self { functions, memory, ports }, reached)
    }

    /// The function that has these numbers, if one does.
    pub(crate) fn function(&self, bdf: Bdf) -> Option<&ConfigTarget> {
        let index = self.functions.binary_search_by_key(&bdf, |target| target.bdf).ok()?;
        self.functions.get(index)
    }
}

/// Bus numbers that a bridge takes or passes on.
type BusNumbers = [bool; 256];

fn config_targets(topology: &Topology, nodes: &[NodeId]) -> Vec<ConfigTarget> {
    let mut numbers = vec![None; topology.bus_count()];
    let mut below_root = [true; 256];
    below_root[usize::from(topology.number(Topology::ROOT).get())] = false;
    set(&mut numbers, Topology::ROOT, topology.number(Topology::ROOT).get());
    number_below(topology, Topology::ROOT, below_root, &mut numbers);

    let mut targets: Vec<_> = nodes
        .iter()
        .filter_map(|&id| {
            let node = topology.node(id);
            let number = numbers.get(node.bus.0).copied().flatten()?;
            let (device, function) = (node.location.device(), node.location.function());
            Some(ConfigTarget {
                bdf: Bdf::new(number, device, function),
                id,
                function: node.function.clone(),
                multifunction: topology.is_multifunction(node.bus, device),
                _held: node.held.clone(),
                extended: topology.kind(node.bus) != BusKind::Conventional,
            })
        })
        .collect();
    targets.sort_unstable_by_key(|target| target.bdf);
    targets
}

/// Hands out the bus numbers in `free` to the buses behind `bus` as the bridges on it say: what two of them
/// claim goes to the one with the lower device and function number, and to nobody else.
fn number_below(topology: &Topology, bus: Bus, mut free: BusNumbers, numbers: &mut [Option<u8>]) {
    for bridge in bridges_on(topology, bus).filter(|bridge| bridge.forwarding.open) {
        let claimed = bridge.forwarding.secondary..=bridge.forwarding.subordinate;
        let mut behind = [false; 256];
        for ((number, free), behind) in (0..=255).zip(&mut free).zip(&mut behind) {
            *behind = claimed.contains(&number) && std::mem::take(free);
        }
        if std::mem::take(&mut behind[usize::from(bridge.forwarding.secondary)]) {
            set(numbers, bridge.below, bridge.forwarding.secondary);
        }
        number_below(topology, bridge.below, behind, numbers);
    }
}

fn set(numbers: &mut [Option<u8>], bus: Bus, number: u8) {
    if let Some(slot) = numbers.get_mut(bus.0) {
        *slot = Some(number);
    }
}

/// The addresses that come through to a bus.
#[derive(Clone, Default)]
struct Passage {
    memory: Vec<Span>,
    ports: Vec<Span>,
}

fn decoders(topology: &Topology, nodes: &[NodeId]) -> (Ranges, Ranges, Reached) {
    let windows = &topology.windows;
    let mut passages = vec![Passage::default(); topology.bus_count()];
    let root = Passage {
        memory: [&windows.memory32, &windows.memory64].into_iter().filter_map(Span::of_range).collect(),
        ports: Span::of_range(&windows.ports).into_iter().collect(),
    };
    pass_below(topology, Topology::ROOT, root, &mut passages);

    // Where BARs overlap, the function with the lowest numbers answers, and of its BARs the first.
    let mut by_number = nodes.to_vec();
    by_number.sort_by_key(|&id| topology.node(id).location.bdf());

    let (mut memory, mut ports) = (Ranges::default(), Ranges::default());
    let mut reached = vec![[None; BAR_COUNT]; topology.node_count()];
    for id in by_number {
        let node = topology.node(id);
        let Some(passage) = passages.get(node.bus.0) else { continue };
        for (bar, range) in node.decoded.iter().enumerate() {
            let Some(range) = range else { continue };
            let Some(span) = Span::of(range.base, range.length) else { continue };
            let (ranges, passage) = match range.space {
                BarSpace::Memory => (&mut memory, &passage.memory),
                BarSpace::Port => (&mut ports, &passage.ports),
            };
            let mut taken = 0;
            for part in passage.iter().filter_map(|pass| pass.intersection(span)) {
                let decoder = Decoder::new(node, bar, range.base);
                taken += ranges.claim(part, &decoder);
            }
            let whole = taken == range.length;
            if let Some(slot) = reached.get_mut(id).and_then(|bars| bars.get_mut(bar)) {
                *slot = whole.then_some(*range);
            }
        }
    }
    (memory, ports, reached)
}

fn pass_below(topology: &Topology, bus: Bus, passage: Passage, passages: &mut [Passage]) {
    for bridge in bridges_on(topology, bus) {
        let forwarding = &bridge.forwarding;
        let memory = through(&passage.memory, &forwarding.memory);
        let ports = through(&passage.ports, &[forwarding.ports]);
        pass_below(topology, bridge.below, Passage { memory, ports }, passages);
    }
    if let Some(slot) = passages.get_mut(bus.0) {
        *slot = passage;
    }
}

fn through(outside: &[Span], windows: &[Option<Span>]) -> Vec<Span> {
    let windows = || windows.iter().copied().flatten();
    outside.iter().flat_map(|span| windows().filter_map(|window| window.intersection(*span))).collect()
}

fn bridges_on(topology: &Topology, bus: Bus) -> impl Iterator<Item = &Bridge> {
    topology.on_bus(bus).filter_map(|id| topology.node(id).bridge.as_ref())
}
