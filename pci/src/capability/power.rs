//! Power management (PCI Express Base, 7.5.2): D0 and D3hot.

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Register};

/// PM capabilities: version 3, neither D1 nor D2, no PME.
const CAPABILITIES: u16 = 3;
/// Control and status: going from D3hot to D0 loses nothing.
const NO_SOFT_RESET: u16 = 1 << 3;
const STATE: u16 = 0b11;
const D0: u16 = 0;
const D3_HOT: u16 = 3;

/// The power management capability of one function; its registers are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub struct PowerManagement {
    control: u16,
}

impl PowerManagement {
    /// Adds the capability.
    pub fn add(config: &mut ConfigSpace) -> Result<Self, NoRoom> {
        let body = [
            Register::u16(CAPABILITIES),
            Register::u16(NO_SOFT_RESET).writable(u32::from(STATE)),
            Register::u16(0),
        ];
        let at = config.add_capability(id::POWER_MANAGEMENT, &body)?;
        Ok(Self { control: at + 4 })
    }

    /// Whether the function is in D0. In D3hot it answers nothing but configuration accesses, and sends
    /// nothing.
    pub fn is_on(self, config: &ConfigSpace) -> bool {
        config.u16(self.control) & STATE == D0
    }

    /// Ends a write to configuration space: a state that does not exist is not entered. `before` is the
    /// control register as it was.
    pub fn settle(self, config: &mut ConfigSpace, before: u16) {
        let now = config.u16(self.control);
        if now & STATE != D0 && now & STATE != D3_HOT {
            config.set_u16(self.control, now & !STATE | before & STATE);
        }
    }

    /// The control and status register.
    pub fn control(self, config: &ConfigSpace) -> u16 {
        config.u16(self.control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_do_not_exist_are_not_entered() {
        let mut config = ConfigSpace::new();
        let power = PowerManagement::add(&mut config).unwrap();
        for (write, state) in [(1, 0), (3, 3), (2, 3), (1, 3), (0, 0)] {
            let before = power.control(&config);
            config.write(power.control, &[write]);
            power.settle(&mut config, before);
            assert_eq!(power.control(&config) & STATE, state, "after writing {write}");
            assert_eq!(power.is_on(&config), state == 0);
        }
    }
}
