//! INTx on its way from a function's pin to the wires of the root bus.

use crate::InterruptPin;

/// An INTx wire where it leaves the root bus: what the platform routes to its interrupt controller, and what
/// `_PRT` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterruptWire {
    /// The device on the root bus: the function itself, or the root port above it.
    pub device: u8,
    /// The pin of that device.
    pub pin: InterruptPin,
}

/// How the pins of one place map to the root bus: each bridge on the way turns the pins by the number of the
/// device below it (PCI-to-PCI Bridge Architecture, 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterruptRoute {
    root_device: u8,
    turn: u8,
}

impl InterruptRoute {
    /// The route of a device on the root bus.
    pub(crate) fn on_root_bus(device: u8) -> Self {
        Self { root_device: device, turn: 0 }
    }

    /// The route of a device behind the bridge that has this route.
    pub(crate) fn behind(self, device: u8) -> Self {
        Self { turn: (self.turn + device) % 4, ..self }
    }

    pub(crate) fn wire(self, pin: InterruptPin) -> InterruptWire {
        InterruptWire { device: self.root_device, pin: InterruptPin::from_index(pin.index() + self.turn) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_of_the_root_bus_are_not_turned() {
        let route = InterruptRoute::on_root_bus(7);
        assert_eq!(route.wire(InterruptPin::C), InterruptWire { device: 7, pin: InterruptPin::C });
    }

    #[test]
    fn each_bridge_turns_pins_by_the_device_below_it() {
        let route = InterruptRoute::on_root_bus(3);
        assert_eq!(route.behind(0).wire(InterruptPin::B).pin, InterruptPin::B);
        assert_eq!(route.behind(1).wire(InterruptPin::B).pin, InterruptPin::C);
        let deep = route.behind(31).behind(30);
        assert_eq!(deep.wire(InterruptPin::A), InterruptWire { device: 3, pin: InterruptPin::B });
    }
}
