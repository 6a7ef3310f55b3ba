//! After a change: looking at what functions and bridges now say, and telling those whom it concerns.

use std::sync::Arc;

use super::RootComplex;
use crate::map::{Map, Reached};
use crate::topology::{NodeId, Topology};
use crate::{BAR_COUNT, BarRange, Function};

impl RootComplex {
    /// Refreshes if the last write to function `id` changed what it or anything behind it decodes.
    pub(super) fn refresh_after_write(&self, topology: &mut Topology, id: NodeId) {
        let node = topology.node(id);
        let bars_changed = node.function.bars() != node.decoded;
        let bridge_changed =
            node.bridge.as_ref().is_some_and(|bridge| bridge.function.forwarding() != bridge.forwarding);
        if bars_changed || bridge_changed {
            self.refresh(topology);
        }
    }

    /// Brings everything in line with the registers of all functions. On return all of them know.
    pub(super) fn refresh(&self, topology: &mut Topology) {
        note_registers(topology);
        let renumbered = renumber(topology);
        tell_upstream(topology);
        let (map, reached) = Map::draw(topology);
        self.map.store(Arc::new(map));
        for function in renumbered {
            function.renumbered();
        }
        tell_reached(topology, &reached);
    }
}

/// Asks every function and bridge what it decodes. What is behind a link that went down is reset first.
fn note_registers(topology: &mut Topology) {
    for id in topology.below(Topology::ROOT) {
        let node = topology.node_mut(id);
        node.decoded = node.function.bars();
        let Some(bridge) = &mut node.bridge else { continue };
        let forwarding = bridge.function.forwarding();
        let went_down = bridge.forwarding.link_up && !forwarding.link_up;
        bridge.forwarding = forwarding;
        if went_down {
            let below = bridge.below;
            // They come after their bridge, so they will be asked after their reset.
            for id in topology.below(below) {
                topology.node(id).function.reset();
            }
        }
    }
}

/// Gives buses the numbers that their bridges say; returns the functions on those that changed.
fn renumber(topology: &Topology) -> Vec<Arc<dyn Function>> {
    let mut renumbered = Vec::new();
    for id in topology.below(Topology::ROOT) {
        let Some(bridge) = &topology.node(id).bridge else { continue };
        let number = topology.number(bridge.below);
        if number.get() != bridge.forwarding.secondary {
            number.set(bridge.forwarding.secondary);
            let on_bus = topology.on_bus(bridge.below);
            renumbered.extend(on_bus.map(|id| topology.node(id).function.clone()));
        }
    }
    renumbered
}

/// Tells functions whether what they send gets anywhere.
fn tell_upstream(topology: &mut Topology) {
    for id in topology.below(Topology::ROOT) {
        let open = topology.upstream_of(topology.node(id).bus);
        let node = topology.node_mut(id);
        if std::mem::replace(&mut node.upstream, open) != open {
            node.function.upstream(open);
        }
    }
}

/// Tells functions what is reached of them. First all let go of what they lost, so that nobody takes an
/// address that somebody else still holds.
fn tell_reached(topology: &mut Topology, reached: &Reached) {
    let functions = topology.below(Topology::ROOT);
    let new = |id: NodeId| reached.get(id).copied().unwrap_or_default();
    for &id in &functions {
        let (old, new) = (topology.node(id).told, new(id));
        tell(topology, id, std::array::from_fn(|bar| if old[bar] == new[bar] { old[bar] } else { None }));
    }
    for id in functions {
        tell(topology, id, new(id));
    }
}

fn tell(topology: &mut Topology, id: NodeId, bars: [Option<BarRange>; BAR_COUNT]) {
    let node = topology.node_mut(id);
    if node.told != bars {
        node.told = bars;
        node.function.reachable(&bars);
    }
}
