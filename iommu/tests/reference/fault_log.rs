//! Fault records and the fault event (§7.1.3, §11.4.7).

use super::event::Event;
use super::fault::Record;

/// The registers that tell of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultLog {
    /// FRCD_REG; none where F is clear.
    pub records: Vec<Option<Record>>,
    /// Where the next record goes.
    next: usize,
    /// FRI, which means something while a record is pending.
    pub first: Option<usize>,
    /// PFO, IQE.
    pub overflow: bool,
    pub queue_error: bool,
    pub event: Event,
}

impl FaultLog {
    /// An empty one of so many records.
    pub fn new(records: usize) -> Self {
        Self {
            records: vec![None; records],
            next: 0,
            first: None,
            overflow: false,
            queue_error: false,
            event: Event::default(),
        }
    }

    /// PPF.
    pub fn is_pending(&self) -> bool {
        self.records.iter().any(Option::is_some)
    }

    fn has_status(&self) -> bool {
        self.is_pending() || self.overflow || self.queue_error
    }

    /// A fault is to be recorded.
    pub fn record(&mut self, record: Record) {
        if self.overflow {
            return;
        }
        if self.records[self.next].is_some() {
            self.overflow = true;
            return;
        }
        if !self.has_status() {
            self.event.raise();
        }
        if !self.is_pending() {
            self.first = Some(self.next);
        }
        self.records[self.next] = Some(record);
        self.next = (self.next + 1) % self.records.len();
    }

    /// The invalidation queue has stopped.
    pub fn fail_queue(&mut self) {
        if !self.has_status() {
            self.event.raise();
        }
        self.queue_error = true;
    }

    /// Software clears F of a record.
    pub fn clear_record(&mut self, index: usize) {
        self.records[index] = None;
        self.settle();
    }

    /// Software clears PFO.
    pub fn clear_overflow(&mut self) {
        self.overflow = false;
        self.settle();
    }

    /// Software clears IQE, and the queue goes on.
    pub fn clear_queue_error(&mut self) {
        self.queue_error = false;
        self.settle();
    }

    fn settle(&mut self) {
        if !self.is_pending() {
            self.first = None;
        }
        if !self.has_status() {
            self.event.serviced();
        }
    }
}
