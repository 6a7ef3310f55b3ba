//! The tree of buses and functions as it was built, whatever numbers the guest gives it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::bridge::Forwarding;
use crate::interrupt::InterruptRoute;
use crate::pci_bridge::PciBridge;
use crate::root_port::RootPort;
use crate::{
    BAR_COUNT, BarRange, Bdf, BusNumber, ExpressKind, Function, InterruptPin, InterruptWire, Location,
};

/// The addresses that the host bridge passes on to PCI. What a function decodes outside of them nobody
/// reaches, so that a BAR can hide neither RAM nor the platform's own registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Memory below 4 GiB.
    pub memory32: Range<u64>,
    /// Memory above 4 GiB; may be empty.
    pub memory64: Range<u64>,
    /// Ports.
    pub ports: Range<u64>,
}

/// A bus, whatever its number is: the handle to put something on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bus(pub(crate) usize);

/// A reserved place on a bus. It is not empty before [`crate::RootComplex::plug`] has filled it, nor free for
/// anybody else.
#[derive(Debug)]
pub struct Slot {
    pub(crate) bus: Bus,
    location: Location,
    route: InterruptRoute,
    express: Option<ExpressKind>,
}

impl Slot {
    /// What kind of PCI Express function an endpoint in this slot is; none on a conventional bus, where the
    /// capability has no place.
    pub fn express(&self) -> Option<ExpressKind> {
        self.express
    }

    /// Where a function in this slot is, live.
    pub fn location(&self) -> Location {
        self.location.clone()
    }

    /// Where the interrupt pin `pin` of a function in this slot comes out.
    pub fn interrupt_wire(&self, pin: InterruptPin) -> InterruptWire {
        self.route.wire(pin)
    }
}

/// Why a place cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Something is there already, or has reserved it.
    #[error("Device {device:02x}.{function} of this bus is taken")]
    Taken {
        /// Device number.
        device: u8,
        /// Function number.
        function: u8,
    },
    /// There is no such place: devices go to 31, functions to 7, and the link behind a root port has one
    /// device only, number 0. No bridge to conventional PCI has its place on a conventional bus.
    #[error("This bus has no device {device:02x}.{function}")]
    NoSuchPlace {
        /// Device number.
        device: u8,
        /// Function number.
        function: u8,
    },
}

/// What a function is to those who describe the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// The end of a branch.
    Endpoint,
    /// A bridge with a bus behind it.
    Bridge,
}

/// One function of the machine as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedFunction {
    /// Its numbers now.
    pub bdf: Bdf,
    /// What it is.
    pub kind: FunctionKind,
    /// Device and function numbers from the root bus down to it, itself included: bus numbers change, this
    /// does not.
    pub path: Vec<(u8, u8)>,
}

/// The index of a function in [`Topology::nodes`].
pub(crate) type NodeId = usize;

/// One function and what is known about it since the last refresh.
pub(crate) struct Node {
    pub(crate) location: Location,
    pub(crate) bus: Bus,
    pub(crate) function: Arc<dyn Function>,
    pub(crate) bridge: Option<Bridge>,
    /// What the function said it decodes.
    pub(crate) decoded: [Option<BarRange>; BAR_COUNT],
    /// What the function has been told that the guest reaches.
    pub(crate) told: [Option<BarRange>; BAR_COUNT],
    /// Whether it has been told that what it sends goes up.
    pub(crate) upstream: bool,
    /// Every map that leads to the function holds a copy.
    pub(crate) held: Held,
}

/// What a [`crate::map::Map`] holds of a function it leads to: whoever takes the function away can see whether an
/// access by way of some map may still be under way.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<()>);

impl Held {
    /// Whether there is no other copy.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// A function with a bus behind it.
pub(crate) enum BridgeFunction {
    RootPort(Arc<RootPort>),
    PciBridge(Arc<PciBridge>),
}

impl BridgeFunction {
    /// What goes through now.
    pub(crate) fn forwarding(&self) -> Forwarding {
        match self {
            Self::RootPort(port) => port.forwarding(),
            Self::PciBridge(bridge) => bridge.forwarding(),
        }
    }

    pub(crate) fn root_port(&self) -> Option<&Arc<RootPort>> {
        match self {
            Self::RootPort(port) => Some(port),
            Self::PciBridge(_) => None,
        }
    }
}

/// What makes a function a bridge.
pub(crate) struct Bridge {
    pub(crate) function: BridgeFunction,
    pub(crate) below: Bus,
    /// What the bridge said it lets through.
    pub(crate) forwarding: Forwarding,
}

/// What a bus is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BusKind {
    /// The root complex.
    Root,
    /// A PCI Express link, which has one device.
    Link,
    /// The wires of conventional PCI.
    Conventional,
}

impl BusKind {
    fn devices(self) -> Range<u8> {
        if self == Self::Link { 0..1 } else { 0..32 }
    }
}

/// One bus.
struct BusNode {
    kind: BusKind,
    number: BusNumber,
    /// The bridge above; the root bus has none.
    above: Option<NodeId>,
    /// Pins of a device on this bus start here.
    route: Option<InterruptRoute>,
    /// By device and function number: reserved, or filled.
    places: BTreeMap<(u8, u8), Option<NodeId>>,
}

/// All buses and functions. Buses and bridges are never removed; a function that is leaves its index to another.
pub(crate) struct Topology {
    pub(crate) windows: Windows,
    buses: Vec<BusNode>,
    nodes: Vec<Option<Node>>,
}

impl Topology {
    pub(crate) const ROOT: Bus = Bus(0);

    /// An empty root bus, number 0.
    pub(crate) fn new(windows: Windows) -> Self {
        let root = BusNode {
            kind: BusKind::Root,
            number: BusNumber::new(0),
            above: None,
            route: None,
            places: BTreeMap::new(),
        };
        Self { windows, buses: vec![root], nodes: Vec::new() }
    }

    /// Reserves a place.
    pub(crate) fn reserve(&mut self, bus: Bus, device: u8, function: u8) -> Result<Slot, PlaceError> {
        let node = &mut self.buses[bus.0];
        if !node.kind.devices().contains(&device) || function > 7 {
            return Err(PlaceError::NoSuchPlace { device, function });
        }
        if node.places.contains_key(&(device, function)) {
            return Err(PlaceError::Taken { device, function });
        }
        node.places.insert((device, function), None);
        let route = match node.route {
            None => InterruptRoute::on_root_bus(device),
            Some(bridge) => bridge.behind(device),
        };
        let number = node.number.clone();
        let (location, express) = match node.kind {
            BusKind::Root => (Location::new(number, device, function), Some(ExpressKind::IntegratedEndpoint)),
            BusKind::Link => (Location::new(number, device, function), Some(ExpressKind::Endpoint)),
            BusKind::Conventional => (Location::conventional(number, device, function), None),
        };
        Ok(Slot { bus, location, route, express })
    }

    /// The lowest device number of which no function is taken.
    pub(crate) fn free_device(&self, bus: Bus) -> Option<u8> {
        let node = &self.buses[bus.0];
        node.kind.devices().find(|&device| node.places.range((device, 0)..=(device, 7)).next().is_none())
    }

    /// Puts a function in its slot.
    pub(crate) fn plug(&mut self, slot: Slot, function: Arc<dyn Function>) -> NodeId {
        let node = Node {
            location: slot.location,
            bus: slot.bus,
            function,
            bridge: None,
            decoded: [None; BAR_COUNT],
            told: [None; BAR_COUNT],
            upstream: true,
            held: Held::default(),
        };
        let id = self.nodes.iter().position(Option::is_none).unwrap_or(self.nodes.len());
        let place = (node.location.device(), node.location.function());
        self.buses[slot.bus.0].places.insert(place, Some(id));
        if id == self.nodes.len() {
            self.nodes.push(Some(node));
        } else {
            self.nodes[id] = Some(node);
        }
        id
    }

    /// Takes everything off a bus that has no bridges on it, reserved places included.
    pub(crate) fn clear(&mut self, bus: Bus) -> Vec<Node> {
        let places = std::mem::take(&mut self.buses[bus.0].places);
        places.into_values().flatten().filter_map(|id| self.nodes[id].take()).collect()
    }

    /// Gives a reserved place up.
    pub(crate) fn give_up(&mut self, slot: &Slot) {
        let place = (slot.location.device(), slot.location.function());
        self.buses[slot.bus.0].places.remove(&place);
    }

    /// The root port above a bus.
    pub(crate) fn port_above(&self, bus: Bus) -> Option<&Arc<RootPort>> {
        let above = self.buses[bus.0].above?;
        self.node(above).bridge.as_ref().and_then(|bridge| bridge.function.root_port())
    }

    /// What a bus is made of.
    pub(crate) fn kind(&self, bus: Bus) -> BusKind {
        self.buses[bus.0].kind
    }

    /// Whether bridges have their place on a bus: it is PCI Express, and what is on it stays.
    pub(crate) fn takes_bridges(&self, bus: Bus) -> bool {
        let stays = self.port_above(bus).is_none_or(|port| port.slot_state().is_none());
        self.kind(bus) != BusKind::Conventional && stays
    }

    /// Puts a bridge in a slot; gives the bus behind it.
    pub(crate) fn plug_bridge(&mut self, slot: Slot, function: BridgeFunction) -> Bus {
        let route = slot.route;
        let (id, kind) = match &function {
            BridgeFunction::RootPort(port) => (self.plug(slot, port.clone()), BusKind::Link),
            BridgeFunction::PciBridge(bridge) => (self.plug(slot, bridge.clone()), BusKind::Conventional),
        };
        let below = Bus(self.buses.len());
        self.buses.push(BusNode {
            kind,
            number: BusNumber::default(),
            above: Some(id),
            route: Some(route),
            places: BTreeMap::new(),
        });
        let forwarding = function.forwarding();
        self.node_mut(id).bridge = Some(Bridge { function, below, forwarding });
        below
    }

    /// The function that has this index.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes[id].as_ref().expect("indices are those of functions on some bus")
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id].as_mut().expect("indices are those of functions on some bus")
    }

    /// One more than the highest index.
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The number of a bus.
    pub(crate) fn number(&self, bus: Bus) -> &BusNumber {
        &self.buses[bus.0].number
    }

    /// How the pins of a function come out on the root bus.
    pub(crate) fn interrupt_route(&self, id: NodeId) -> InterruptRoute {
        let node = self.node(id);
        match self.buses[node.bus.0].route {
            None => InterruptRoute::on_root_bus(node.location.device()),
            Some(bridge) => bridge.behind(node.location.device()),
        }
    }

    /// Whether every bridge above a bus lets requests through.
    pub(crate) fn upstream_of(&self, bus: Bus) -> bool {
        let Some(above) = self.buses[bus.0].above else { return true };
        let node = self.node(above);
        node.bridge.as_ref().is_some_and(|bridge| bridge.forwarding.upstream) && self.upstream_of(node.bus)
    }

    /// How many buses there are: their handles are the numbers below.
    pub(crate) fn bus_count(&self) -> usize {
        self.buses.len()
    }

    /// The functions on a bus, by device and function number.
    pub(crate) fn on_bus(&self, bus: Bus) -> impl Iterator<Item = NodeId> + '_ {
        self.buses[bus.0].places.values().copied().flatten()
    }

    /// Whether the device has a function besides function 0.
    pub(crate) fn is_multifunction(&self, bus: Bus, device: u8) -> bool {
        self.buses[bus.0].places.range((device, 1)..=(device, 7)).any(|(_, place)| place.is_some())
    }

    /// Whether the device has a function 0, without which guests do not look for the others.
    pub(crate) fn has_function_0(&self, bus: Bus, device: u8) -> bool {
        self.buses[bus.0].places.get(&(device, 0)).is_some_and(Option::is_some)
    }

    /// Everything on `bus` and behind it: each bridge comes right before what is behind it.
    pub(crate) fn below(&self, bus: Bus) -> Vec<NodeId> {
        let mut found = Vec::new();
        self.collect(bus, &mut found);
        found
    }

    fn collect(&self, bus: Bus, found: &mut Vec<NodeId>) {
        for id in self.on_bus(bus) {
            found.push(id);
            if let Some(bridge) = &self.node(id).bridge {
                self.collect(bridge.below, found);
            }
        }
    }

    /// Every function, for those who describe the machine.
    pub(crate) fn describe(&self) -> Vec<PlacedFunction> {
        self.below(Self::ROOT)
            .into_iter()
            .map(|id| {
                let node = self.node(id);
                let kind = if node.bridge.is_some() { FunctionKind::Bridge } else { FunctionKind::Endpoint };
                PlacedFunction { bdf: node.location.bdf(), kind, path: self.path(id) }
            })
            .collect()
    }

    fn path(&self, id: NodeId) -> Vec<(u8, u8)> {
        let node = self.node(id);
        let mut path = self.buses[node.bus.0].above.map_or_else(Vec::new, |above| self.path(above));
        path.push((node.location.device(), node.location.function()));
        path
    }
}
