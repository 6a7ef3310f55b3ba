//! What can be asked of a machine that runs, what it answers, and what it tells.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request: one line such as `{"command": "add", "vfio": "0000:03:00.0"}`.
///
/// A slot has the number that the guest knows it by (`/sys/bus/pci/slots/N` in Linux).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Take a function from the host and put it into a slot, or into the first that is empty.
    Add {
        /// The function, as `0000:BB:DD.F`.
        vfio: String,
        /// The slot.
        slot: Option<u16>,
    },
    /// Ask the guest to let go of what is in a slot, and give it back to the host when it has. The answer
    /// comes at once, and the event `removed` when it is done.
    Remove {
        /// The slot; or else the function that is in it.
        slot: Option<u16>,
        /// The function, as `0000:BB:DD.F`.
        vfio: Option<String>,
        /// Pull it out without asking: the guest sees a surprise removal.
        #[serde(default)]
        force: bool,
    },
    /// Tell what is in which slot, and which functions are not in slots.
    List {},
    /// Compare what the host maps for each assigned function with what the guest's tables say.
    Audit {},
    /// Tell what has been asked of the host for each assigned function.
    Statistics {},
}

/// The answer to one request: `{"answer": …}`, or `{"error": "A sentence"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done; what there is to say.
    Answer(Value),
    /// It was not; why, and what to do.
    Error(String),
}

/// Something that happened, told to everybody: `{"event": "removed", …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// A function was put into a slot.
    Added {
        /// The slot.
        slot: u16,
        /// The function.
        vfio: String,
    },
    /// A function has left its slot, and the host has it back.
    Removed {
        /// The slot.
        slot: u16,
        /// The function.
        vfio: String,
        /// Whether the guest had let go of it.
        orderly: bool,
    },
}

impl Request {
    /// Reads a line.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| {
            format!(
                "This is no request ({error}): write one line of JSON such as {{\"command\": \"list\"}}; the commands \
                 are add, remove, list, audit and statistics"
            )
        })
    }
}
