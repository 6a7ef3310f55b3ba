//! Carrying out commands.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use iommu::{Access, Iova};

use super::command::{Answer, Command, Flags, Found, Operation, Status, response_code};
use super::{BUFFER_SIZE, Inner};
use crate::{Attributes, PageWish, Requests};

/// Carries out one command after the other.
pub(super) struct Engine<'a> {
    pub(super) inner: &'a Inner,
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
        if !self.enabled(command, attributes) {
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
                Ok(found) => answer.found = found,
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
    fn enabled(&self, command: &Command, attributes: Attributes) -> bool {
        let services = self.inner.function.translation_services();
        let Attributes { pasid, privileged, execute, translated } = attributes;
        let translates = command.flags.contains(Flags::CACHED) || command.operation == Operation::Translate;
        let asks_for_pages =
            command.flags.contains(Flags::PAGES) || command.operation == Operation::PageRequest;
        (services.pasids || pasid.is_none())
            && (services.privileged || !privileged)
            && (services.execute || !execute)
            && (services.translations || !(translated || translates))
            && (services.page_requests > 0 || !asks_for_pages)
    }

    fn once(&mut self, command: &Command, attributes: Attributes, iova: Iova) -> Result<Found, Status> {
        match command.operation {
            Operation::Nothing => Ok(Found::default()),
            Operation::Read => self.read(command, attributes, iova).map(Found::from),
            Operation::Write => self.write(command, attributes, iova).map(|()| Found::default()),
            Operation::FetchAdd | Operation::Swap | Operation::CompareSwap => {
                let length = command.length.into();
                self.send(command, attributes, iova, length, Access::Atomic, |requests, iova, _| {
                    atomic(requests, command, iova).map(Found::from)
                })
            }
            Operation::Interrupt => {
                self.inner.function.raise(command.selector as u16);
                Ok(Found::default())
            }
            Operation::Translate => {
                let generation = self.inner.translations().generation();
                let requests = self.inner.function.master().requests(attributes);
                let no_write = command.flags.contains(Flags::NO_WRITE);
                self.ask(&requests, generation, attributes, iova, no_write).map(Found::from)
            }
            Operation::PageRequest => self.page_request(command, attributes, iova),
            Operation::Forget => {
                self.inner.translations().clear();
                Ok(Found::default())
            }
        }
    }

    fn read(&mut self, command: &Command, attributes: Attributes, iova: Iova) -> Result<u64, Status> {
        let mut data = std::mem::take(&mut self.data);
        let result = self.read_into(&mut data[..command.length as usize], command, attributes, iova);
        self.data = data;
        result
    }

    fn read_into(
        &self,
        data: &mut [u8],
        command: &Command,
        attributes: Attributes,
        iova: Iova,
    ) -> Result<u64, Status> {
        if data.is_empty() {
            return self.send(command, attributes, iova, 0, Access::Read, |requests, iova, _| {
                Ok(requests.touch(iova).map(|()| 0)?)
            });
        }
        let mut done = 0;
        while done < data.len() {
            let (from, rest) = (beyond(iova, done)?, &mut data[done..]);
            let length = rest.len() as u64;
            done +=
                self.send(command, attributes, from, length, Access::Read, |requests, iova, length| {
                    let length = length as usize;
                    Ok(requests.read(iova, &mut rest[..length]).map(|()| length)?)
                })?;
        }
        if !command.flags.contains(Flags::IMMEDIATE) {
            self.inner.buffer()[command.offset as usize..][..data.len()].copy_from_slice(data);
        }
        Ok(data.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn write(&mut self, command: &Command, attributes: Attributes, iova: Iova) -> Result<(), Status> {
        let data = &mut self.data[..command.length as usize];
        if command.flags.contains(Flags::IMMEDIATE) {
            for piece in data.chunks_mut(8) {
                piece.copy_from_slice(&command.operand.to_le_bytes()[..piece.len()]);
            }
        } else {
            data.copy_from_slice(&self.inner.buffer()[command.offset as usize..][..data.len()]);
        }
        let data = &self.data[..command.length as usize];
        let mut done = 0;
        while done < data.len() {
            let (to, rest) = (beyond(iova, done)?, &data[done..]);
            let length = rest.len() as u64;
            done += self.send(command, attributes, to, length, Access::Write, |requests, iova, length| {
                let length = length as usize;
                Ok(requests.write(iova, &rest[..length]).map(|()| length)?)
            })?;
        }
        Ok(())
    }

    fn page_request(&self, command: &Command, attributes: Attributes, iova: Iova) -> Result<Found, Status> {
        let wish = PageWish {
            read: command.flags.contains(Flags::PAGE_READ),
            write: command.flags.contains(Flags::PAGE_WRITE),
            last: command.flags.contains(Flags::PAGE_LAST),
            group: command.selector as u16,
        };
        let awaited = command.flags.contains(Flags::PAGE_WAIT);
        let requests = self.inner.function.master().requests(attributes);
        self.request_page(&requests, attributes, iova, wish, awaited)?;
        if awaited { Ok(u64::from(response_code(self.await_answer()?)).into()) } else { Ok(Found::default()) }
    }
}

/// The address `done` bytes after `iova`, if there is one.
fn beyond(iova: Iova, done: usize) -> Result<Iova, Status> {
    iova.0.checked_add(done as u64).map(Iova).ok_or(Status::Unreachable)
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
