//! Carrying out commands.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use iommu::Iova;

use super::command::{Answer, Command, Flags, Operation, Status};
use super::{BUFFER_SIZE, Inner};
use crate::{Attributes, Requests};

/// Carries out one command after the other.
pub(super) struct Engine<'a> {
    inner: &'a Inner,
    /// The run the commands belong to: when another has begun, this one is over.
    run: u64,
    data: Box<[u8]>,
}

impl<'a> Engine<'a> {
    pub(super) fn new(inner: &'a Inner, run: u64) -> Self {
        Self { inner, run, data: vec![0; BUFFER_SIZE].into() }
    }

    /// Whether the run has been stopped.
    pub(super) fn stopped(&self) -> bool {
        self.inner.run() != self.run
    }

    /// Carries out a command as often as it says.
    pub(super) fn execute(&mut self, command: &Command) -> Answer {
        let mut answer = Answer::new(Status::Done);
        let attributes = command.flags.attributes(command.pasid);
        if !self.enabled(attributes) {
            return Answer::new(Status::NotEnabled);
        }
        let mut address = command.address;
        for repetition in 0..command.repetitions {
            if self.stopped() {
                answer.status = Status::Stopped;
                break;
            }
            let begin = Instant::now();
            let result = self.once(command, attributes, Iova(address));
            let took = begin.elapsed().as_nanos() as u64;
            answer.total += took;
            answer.longest = answer.longest.max(took);
            answer.shortest = if repetition == 0 { took } else { answer.shortest.min(took) };
            match result {
                Ok(value) => answer.value = value,
                Err(status) => {
                    answer.status = status;
                    break;
                }
            }
            answer.repetitions += 1;
            address = address.wrapping_add(command.stride);
        }
        answer
    }

    /// Whether software has enabled what requests with these attributes need.
    fn enabled(&self, attributes: Attributes) -> bool {
        let services = self.inner.function.translation_services();
        let Attributes { pasid, privileged, execute, translated } = attributes;
        (services.pasids || pasid.is_none())
            && (services.privileged || !privileged)
            && (services.execute || !execute)
            && (services.translations || !translated)
    }

    fn once(&mut self, command: &Command, attributes: Attributes, iova: Iova) -> Result<u64, Status> {
        let requests = self.inner.function.master().requests(attributes);
        match command.operation {
            Operation::Nothing => Ok(0),
            Operation::Read => self.read(&requests, command, iova),
            Operation::Write => self.write(&requests, command, iova),
            Operation::FetchAdd | Operation::Swap | Operation::CompareSwap => {
                atomic(&requests, command, iova)
            }
            Operation::Interrupt => {
                self.inner.function.raise(command.selector as u16);
                Ok(0)
            }
        }
    }

    fn read(&mut self, requests: &Requests<'_>, command: &Command, iova: Iova) -> Result<u64, Status> {
        let data = &mut self.data[..command.length as usize];
        if data.is_empty() {
            requests.touch(iova)?;
            return Ok(0);
        }
        requests.read(iova, data)?;
        if !command.flags.contains(Flags::IMMEDIATE) {
            self.inner.buffer()[command.offset as usize..][..data.len()].copy_from_slice(data);
        }
        Ok(data.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn write(&mut self, requests: &Requests<'_>, command: &Command, iova: Iova) -> Result<u64, Status> {
        let data = &mut self.data[..command.length as usize];
        if command.flags.contains(Flags::IMMEDIATE) {
            for piece in data.chunks_mut(8) {
                piece.copy_from_slice(&command.operand.to_le_bytes()[..piece.len()]);
            }
        } else {
            data.copy_from_slice(&self.inner.buffer()[command.offset as usize..][..data.len()]);
        }
        requests.write(iova, data)?;
        Ok(0)
    }
}

/// An AtomicOp of 4 or 8 bytes; gives what was there before.
fn atomic(requests: &Requests<'_>, command: &Command, iova: Iova) -> Result<u64, Status> {
    /// The operation on integers of one size. Memory is little-endian, and so are the machines we run on.
    macro_rules! operation {
        ($atomic:ty, $integer:ty) => {{
            let (operand, compare) = (command.operand as $integer, command.compare as $integer);
            requests.atomic(iova, |word: &$atomic| match command.operation {
                Operation::FetchAdd => word.fetch_add(operand, Ordering::SeqCst),
                Operation::CompareSwap => word
                    .compare_exchange(compare, operand, Ordering::SeqCst, Ordering::SeqCst)
                    .unwrap_or_else(|found| found),
                _ => word.swap(operand, Ordering::SeqCst),
            })
        }};
    }
    Ok(if command.length == 4 { operation!(AtomicU32, u32)?.into() } else { operation!(AtomicU64, u64)? })
}
