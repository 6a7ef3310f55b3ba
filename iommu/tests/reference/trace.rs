//! What may come of a request: every permitted outcome, gathered on the way through the tables.

use std::collections::BTreeMap;

use super::fault::is_qualified;

/// Bits set in words of memory, by address of the word.
pub type Marks = BTreeMap<u64, u64>;

/// Adds `marks` to others.
pub fn merge(into: &mut Marks, marks: &Marks) {
    for (address, bits) in marks {
        *into.entry(*address).or_default() |= bits;
    }
}

/// How a request may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It reaches memory, and no more than so many bytes lie there contiguously.
    Reaches { address: u64, at_most: u64 },
    /// It is blocked with a fault reason, which is recorded or not.
    Blocked { reason: u8, recorded: bool },
    /// It is blocked, and nothing is recorded.
    Aborted,
}

/// One permitted outcome: the answer, the accessed and dirty bits that have been set by then, and those that
/// may have been.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub answer: Answer,
    pub must: Marks,
    pub may: Marks,
}

/// The way of one request through the tables.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What may have come of it so far.
    pub outcomes: Vec<Outcome>,
    /// Fault processing is disabled (FPD) by an entry met so far.
    pub fault_processing_disabled: bool,
    /// The request cannot succeed any more, but the unit may find out later, by another fault.
    denied: bool,
    must: Marks,
    may: Marks,
}

impl Trace {
    /// The request may end here with one of these reasons, or go on.
    pub fn may_fault(&mut self, reasons: &[u8]) {
        for reason in reasons {
            let recorded = !(self.fault_processing_disabled && is_qualified(*reason));
            self.end(Answer::Blocked { reason: *reason, recorded });
        }
    }

    /// The request ends with one of these reasons, here or, with another reason, further on.
    pub fn deny(&mut self, reasons: &[u8]) {
        if !reasons.is_empty() {
            self.may_fault(reasons);
            self.denied = true;
        }
    }

    /// The request ends here.
    pub fn stop<T>(&mut self, reasons: &[u8]) -> Option<T> {
        self.may_fault(reasons);
        None
    }

    /// The request ends here if there are reasons.
    pub fn stop_for(&mut self, reasons: &[u8]) -> Option<()> {
        if reasons.is_empty() { Some(()) } else { self.stop(reasons) }
    }

    /// The request is blocked, and nothing is recorded.
    pub fn abort(&mut self) {
        self.end(Answer::Aborted);
    }

    /// The request reaches memory, unless something has denied it on the way.
    pub fn reach(&mut self, address: u64, at_most: u64) {
        if !self.denied {
            self.end(Answer::Reaches { address, at_most });
        }
    }

    /// The unit sets `bits` of the word at `address`, since it uses the entry. Of a request that has been
    /// denied it need not.
    pub fn mark(&mut self, address: u64, bits: u64) {
        if bits != 0 {
            let marks = if self.denied { &mut self.may } else { &mut self.must };
            *marks.entry(address).or_default() |= bits;
        }
    }

    /// The unit may set `bits` of the word at `address`.
    pub fn may_mark(&mut self, address: u64, bits: u64) {
        *self.may.entry(address).or_default() |= bits;
    }

    /// No more than `length` bytes go the same way.
    pub fn limit(&mut self, length: u64) {
        for outcome in &mut self.outcomes {
            if let Answer::Reaches { at_most, .. } = &mut outcome.answer {
                *at_most = length.min(*at_most);
            }
        }
    }

    fn end(&mut self, answer: Answer) {
        self.outcomes.push(Outcome { answer, must: self.must.clone(), may: self.may.clone() });
    }
}
