//! Enhanced commands (§11.4.14) and performance monitoring (§11.4.13): where their registers lie, what their bits
//! mean, and which events there are.

use super::mask;
use super::registers::{EVENT_MASKED, EVENT_PENDING};
use crate::{Capabilities, Feature};

// Offsets in bytes.
pub(crate) const PERFCAP: u64 = 0x300;
pub(crate) const PERFCFGOFF: u64 = 0x310;
pub(crate) const PERFFRZOFF: u64 = 0x314;
pub(crate) const PERFOVFOFF: u64 = 0x318;
pub(crate) const PERFCNTROFF: u64 = 0x31C;
pub(crate) const PERFINTRSTS: u64 = 0x324;
/// PERFINTRCTL, PERFINTRDATA, PERFINTRADDR and PERFINTRUADDR follow each other from here.
pub(crate) const PERFINTRCTL: u64 = 0x328;
/// PERFEVNTCAP_REG of group 0; those of the other groups follow.
pub(crate) const PERFEVNTCAP: u64 = 0x380;
pub(crate) const ECMD: u64 = 0x400;
/// The command and bits 15:0 of operand A, in the lower half of ECMD_REG.
pub(crate) const COMMAND_LOW: u32 = (mask(31, 16) | mask(7, 0)) as u32;
/// The other bits of operand A.
pub(crate) const COMMAND_HIGH: u64 = ECMD + 4;
pub(crate) const ECEO: u64 = 0x408;
const OPERAND_HIGH: u64 = ECEO + 4;
pub(crate) const ECRSP: u64 = 0x410;
/// ECCAP_REG of commands 0 to 63; those of the others follow.
pub(crate) const ECCAP: u64 = 0x430;

// What follows lies where we choose, behind the pages that fault records may take.
/// The configuration of counter 0, with its filters.
pub(crate) const CONFIGURATION: u64 = 0x2000;
/// From one counter's configuration to the next.
pub(crate) const CONFIGURATION_STRIDE: u64 = 0x100;
/// Where the last one ends.
const CONFIGURATION_END: u64 = configuration_offset(COUNTERS);
/// PERFFRZSTS: which counters are frozen.
pub(crate) const FREEZE_STATUS: u64 = 0x2F00;
/// PERFOVFSTS: which counters have overflowed.
pub(crate) const OVERFLOW_STATUS: u64 = 0x2F08;
/// Counter 0.
pub(crate) const COUNTER: u64 = 0x4000;
/// From one counter to the next; there is no smaller distance.
pub(crate) const COUNTER_STRIDE: u64 = 0x400;
/// How many bytes the registers take then.
pub(crate) const WINDOW: u64 = 0x8000;

/// There are so many counters.
pub(crate) const COUNTERS: usize = 8;
/// A bit for each.
pub(crate) const EVERY_COUNTER: u32 = mask(COUNTERS as u32 - 1, 0) as u32;
/// Each has so many bits.
pub(crate) const COUNTER_BITS: u32 = 48;

/// Bit PIS of PERFINTRSTS_REG: a counter that is to tell has overflowed.
pub(crate) const INTERRUPT_STATUS: u32 = 1;

/// What can be counted. The discriminant is the place in a tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    /// A request to memory or for a translation.
    Request,
    /// A read of a table's entry.
    MemoryRead,
    /// A page request put into the queue.
    PageRequest,
    ContextLookup,
    ContextHit,
    PasidLookup,
    PasidHit,
    /// The paging-structure caches, which a request comes to if the page itself is not known.
    SecondStageLookup,
    SecondStageHit,
    FirstStageLookup,
    FirstStageHit,
    IotlbLookup,
    IotlbHit,
    InterruptLookup,
    InterruptHit,
    InterruptHitPosted,
}

impl Event {
    pub(crate) const ALL: [Self; 16] = [
        Self::Request,
        Self::MemoryRead,
        Self::PageRequest,
        Self::ContextLookup,
        Self::ContextHit,
        Self::PasidLookup,
        Self::PasidHit,
        Self::SecondStageLookup,
        Self::SecondStageHit,
        Self::FirstStageLookup,
        Self::FirstStageHit,
        Self::IotlbLookup,
        Self::IotlbHit,
        Self::InterruptLookup,
        Self::InterruptHit,
        Self::InterruptHitPosted,
    ];

    /// The event's group and its bit there.
    pub(crate) const fn place(self) -> (u8, u32) {
        match self {
            Self::Request => (0, 1 << 1),
            Self::MemoryRead => (1, 1 << 0),
            Self::PageRequest => (1, 1 << 6),
            Self::ContextLookup => (2, 1 << 0),
            Self::ContextHit => (2, 1 << 1),
            Self::PasidLookup => (2, 1 << 2),
            Self::PasidHit => (2, 1 << 3),
            Self::SecondStageLookup => (2, 1 << 4),
            Self::SecondStageHit => (2, 1 << 5),
            Self::FirstStageLookup => (2, 1 << 6),
            Self::FirstStageHit => (2, 1 << 7),
            Self::IotlbLookup => (3, 1 << 0),
            Self::IotlbHit => (3, 1 << 1),
            Self::InterruptLookup => (4, 1 << 0),
            Self::InterruptHit => (4, 1 << 1),
            Self::InterruptHitPosted => (4, 1 << 2),
        }
    }

    /// Whether a unit with `capabilities` ever sees it.
    const fn occurs(self, capabilities: &Capabilities) -> bool {
        let feature = match self {
            Self::Request
            | Self::MemoryRead
            | Self::ContextLookup
            | Self::ContextHit
            | Self::SecondStageLookup
            | Self::SecondStageHit
            | Self::IotlbLookup
            | Self::IotlbHit => return true,
            Self::PageRequest => Feature::PageRequests,
            Self::PasidLookup | Self::PasidHit => Feature::Scalable,
            Self::FirstStageLookup | Self::FirstStageHit => Feature::FirstStage,
            Self::InterruptLookup | Self::InterruptHit => Feature::InterruptRemapping,
            Self::InterruptHitPosted => Feature::PostedInterrupts,
        };
        capabilities.has(feature)
    }
}

/// Groups of events.
const GROUPS: u64 = 5;

/// PERFEVNTCAP_REG of a group.
fn event_capability(group: u64, capabilities: &Capabilities) -> u32 {
    let events = Event::ALL.into_iter().filter(|event| event.occurs(capabilities));
    let places = events.map(Event::place).filter(|(of, _)| u64::from(*of) == group);
    places.fold(0, |events, (_, event)| events | event)
}

/// A filter of a counter: its register's number, and the bits that it compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Filter {
    Requester = 0,
    Domain = 1,
    /// Requests with this PASID. The mode of the filter in bits 21:20 is 0.
    Pasid = 2,
    /// A bit for each address type: untranslated, translation request, translated.
    AddressType = 3,
}

impl Filter {
    pub(crate) const ALL: [Self; 4] = [Self::Requester, Self::Domain, Self::Pasid, Self::AddressType];

    /// Bit EN.
    const ENABLED: u32 = 1 << 31;

    /// Where the register of `counter` lies.
    pub(crate) const fn offset(self, counter: usize) -> u64 {
        configuration_offset(counter) + 8 + self as u64 * 4
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Requester | Self::Domain => mask(15, 0) as u32,
            Self::Pasid => mask(19, 0) as u32,
            Self::AddressType => mask(2, 0) as u32,
        }
    }

    /// What software wants in the register's value; none if everything passes.
    pub(crate) const fn wanted(self, value: u32) -> Option<u32> {
        if value & Self::ENABLED == 0 { None } else { Some(value & self.bits()) }
    }
}

/// PERFCNTRCFG of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Configuration(pub(crate) u64);

impl Configuration {
    const INTERRUPT: u64 = 1 << 1;
    /// INT, EGI and ES.
    const WRITABLE: u64 = Self::INTERRUPT | mask(11, 8) | mask(59, 32);

    /// Whether software is to be told of an overflow.
    pub(crate) const fn interrupts(self) -> bool {
        self.0 & Self::INTERRUPT != 0
    }

    /// Whether the counter counts `event`.
    pub(crate) const fn selects(self, event: Event) -> bool {
        let (group, bit) = event.place();
        self.0 >> 8 & 0xF == group as u64 && self.0 >> 32 & bit as u64 != 0
    }
}

/// Where the configuration of a counter lies.
pub(crate) const fn configuration_offset(counter: usize) -> u64 {
    CONFIGURATION + counter as u64 * CONFIGURATION_STRIDE
}

/// Enhanced commands. The discriminant is the command's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Command {
    /// The counter that operand A names starts.
    Enable = 0xF0,
    /// It stops.
    Disable = 0xF1,
    /// All counters stand still.
    Freeze = 0xF4,
    /// Those that have been started go on.
    Unfreeze = 0xF5,
}

impl Command {
    const ALL: [Self; 4] = [Self::Enable, Self::Disable, Self::Freeze, Self::Unfreeze];

    /// The command with this code.
    pub(crate) fn decode(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|command| *command as u8 == code)
    }
}

/// How an enhanced command went: ECRSP_REG.SC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CommandStatus {
    Success = 0,
    /// There is no such command here.
    Unsupported = 1,
    /// An operand means nothing.
    InvalidOperand = 2,
}

impl CommandStatus {
    /// ECRSP_REG with nothing in progress.
    pub(crate) const fn response(self) -> u32 {
        (self as u32) << 1
    }
}

/// PERFCAP_REG: counters, their width, groups, filters, interrupts on overflow; counters lie as close together
/// as they can.
fn performance_capability() -> u64 {
    let filters = Filter::ALL.into_iter().fold(0, |filters, filter| filters | 1 << filter as u8);
    COUNTERS as u64 | u64::from(COUNTER_BITS) << 16 | GROUPS << 24 | filters << 32 | 1 << 50
}

/// What the word at `offset` holds after power-on, if it belongs to enhanced commands or counters.
pub(crate) fn reset_value(offset: u64, capabilities: &Capabilities) -> u32 {
    if !capabilities.has(Feature::PerformanceMonitoring) {
        return 0;
    }
    // The upper half of a 64-bit register has the bits from 32 on.
    let half = |value: u64| if offset & 4 == 0 { value as u32 } else { (value >> 32) as u32 };
    let group = offset.wrapping_sub(PERFEVNTCAP) / 8;
    match offset {
        PERFCFGOFF => CONFIGURATION as u32,
        PERFFRZOFF => FREEZE_STATUS as u32,
        PERFOVFOFF => OVERFLOW_STATUS as u32,
        PERFCNTROFF => COUNTER as u32,
        PERFINTRCTL => EVENT_MASKED,
        _ if offset & !7 == PERFCAP => half(performance_capability()),
        _ if group < GROUPS => half(event_capability(group, capabilities).into()),
        _ if offset & !7 == ECCAP + 3 * 8 => {
            half(Command::ALL.into_iter().fold(0, |known, command| known | 1 << (command as u8 & 0x3F)))
        }
        _ => 0,
    }
}

/// The bits that a write to the word at `offset` simply stores, where there are commands and counters.
pub(crate) fn writable(offset: u64) -> u32 {
    match offset {
        // The lower half of ECMD_REG is a command.
        COMMAND_HIGH | ECEO | OPERAND_HIGH => u32::MAX,
        CONFIGURATION..CONFIGURATION_END => match offset % CONFIGURATION_STRIDE {
            0 => Configuration::WRITABLE as u32,
            4 => (Configuration::WRITABLE >> 32) as u32,
            place => {
                let found = Filter::ALL.into_iter().find(|filter| filter.offset(0) == CONFIGURATION + place);
                found.map_or(0, |filter| filter.bits() | Filter::ENABLED)
            }
        },
        _ => 0,
    }
}

/// The bits that the unit itself changes in the word at `offset`, if it belongs to enhanced commands or counters.
pub(crate) fn set_by_unit(offset: u64, capabilities: &Capabilities) -> u32 {
    let commands = capabilities.has(Feature::EnhancedCommands);
    let monitoring = capabilities.has(Feature::PerformanceMonitoring);
    match offset {
        ECMD if commands => COMMAND_LOW,
        ECRSP if commands => mask(7, 1) as u32,
        PERFINTRSTS if monitoring => INTERRUPT_STATUS,
        PERFINTRCTL if monitoring => EVENT_MASKED | EVENT_PENDING,
        FREEZE_STATUS | OVERFLOW_STATUS if monitoring => EVERY_COUNTER,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
