//! Translation requests (§4.1.2): a device is told what its own requests would meet. So the model lets it read,
//! write and execute, and puts together what becomes of that.

use iommu::{Access, Permissions, Request, TranslationRequest};

use super::bits::in_interrupt_range;
use super::dispatch::judge_for;
use super::second_stage::World;
use super::trace::{Answer, Marks, Outcome, merge};

/// How a translation request may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// These permissions, for the page at this address if there are any.
    Success { permissions: Permissions, address: u64 },
    /// An error status, and a fault that is recorded or not.
    Refused { reason: u8, recorded: bool },
    /// An error status without a fault.
    Aborted,
    /// An address of interrupts: anything but the permission to write there with translated requests.
    Interrupts,
}

/// One permitted reply, with the accessed and dirty bits as for other requests.
#[derive(Clone, Debug)]
pub struct Permitted {
    pub reply: Reply,
    pub must: Marks,
    pub may: Marks,
}

/// What a condition that faults other requests does to a translation request (§7.1.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The page is not there or not allowed: a reply without the permission.
    Missing,
    /// The tables cannot be used: an error.
    Error,
    /// Not specified.
    Either,
}

fn kind(reason: u8) -> Kind {
    match reason {
        0x05 | 0x06 | 0x71 | 0x79 | 0x81 | 0x82 | 0x84..=0x86 => Kind::Missing,
        // Addresses beyond a width, not canonical, or reached through a second stage that does not map the
        // tables; a dirty bit that cannot be set.
        0x04 | 0x74..=0x77 | 0x7C | 0x80 | 0x83 | 0x90 => Kind::Either,
        _ => Kind::Error,
    }
}

/// The request that would use the translation.
pub fn probe(request: &TranslationRequest, access: Access, execute: bool) -> Request {
    Request {
        source: request.source,
        pasid: request.pasid,
        privileged: request.privileged,
        execute,
        access,
        translated: false,
    }
}

/// Every permitted reply under the root table address register `root`, with translation on.
pub fn judge(world: World, root: u64, request: &TranslationRequest) -> Vec<Permitted> {
    let address = request.iova.0 & !0xFFF;
    if in_interrupt_range(address) && request.pasid.is_none() {
        return vec![Permitted { reply: Reply::Interrupts, must: Marks::new(), may: Marks::new() }];
    }
    let ask = |access, execute| judge_for(world, root, &probe(request, access, execute), true, address, 1);
    let reads = ask(Access::Read, false);
    let writes = ask(Access::Write, false);
    let executes = if request.execute && request.pasid.is_some() {
        ask(Access::Read, true).into_iter().map(Some).collect()
    } else {
        vec![None]
    };
    let mut permitted = Vec::new();
    for read in &reads {
        for write in &writes {
            for execute in &executes {
                combine(&mut permitted, world, request, [Some(read), Some(write), execute.as_ref()]);
            }
        }
    }
    permitted
}

/// What a device is told whose reads, writes and instruction fetches would end like this.
fn combine(
    permitted: &mut Vec<Permitted>,
    world: World,
    request: &TranslationRequest,
    probes: [Option<&Outcome>; 3],
) {
    const WHAT: [Permissions; 3] = [Permissions::READ, Permissions::WRITE, Permissions::EXECUTE];
    let (mut permissions, mut address) = (Permissions::empty(), None);
    let (mut must, mut may) = (Marks::new(), Marks::new());
    let mut definite = true;
    for (outcome, what) in probes.into_iter().zip(WHAT).filter_map(|(outcome, what)| Some((outcome?, what))) {
        merge(&mut may, &outcome.may);
        // Under a first stage that does not let the page be written, the second stage's own leaf may become
        // dirty all the same: more than is needed, but nothing is lost by it.
        may.extend(
            outcome.must.iter().filter(|(_, bits)| **bits & 0x300 == 0x100).map(|(at, _)| (*at, 0x300)),
        );
        // Nothing says that the unit asks the tables again for the flag that the device does not want.
        let unasked = what == Permissions::WRITE && request.no_write && world.caps.no_write();
        if unasked && matches!(outcome.answer, Answer::Reaches { .. }) {
            if outcome.must.iter().any(|(at, bits)| bits & !must.get(at).copied().unwrap_or(0) != 0) {
                // A page that nobody was to make dirty.
                continue;
            }
            let without = Reply::Success { permissions, address: address.unwrap_or(0) };
            permitted.push(Permitted { reply: without, must: must.clone(), may: may.clone() });
        }
        match outcome.answer {
            Answer::Reaches { address: at, .. } => {
                merge(&mut must, &outcome.must);
                permissions |= what;
                address = Some(at);
            }
            Answer::Aborted => {
                permitted.push(Permitted { reply: Reply::Aborted, must: Marks::new(), may });
                return;
            }
            Answer::Blocked { reason, recorded } => {
                merge(&mut may, &outcome.must);
                let kind = kind(reason);
                if kind != Kind::Missing {
                    let mut may = may.clone();
                    merge(&mut may, &must);
                    let reply = Reply::Refused { reason, recorded };
                    permitted.push(Permitted { reply, must: Marks::new(), may });
                }
                definite &= kind != Kind::Error;
            }
        }
    }
    if definite {
        let address = address.unwrap_or(0);
        permitted.push(Permitted { reply: Reply::Success { permissions, address }, must, may });
    }
}
