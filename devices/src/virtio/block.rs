//! The block device (section 5.2): what a request means.

use super::chain::Chain;
use super::disk::Disk;
use super::model::{Features, Kind, Model};
use super::queue::QueueError;
use crate::{BusMaster, DmaError};

/// Feature bits of the block device.
mod feature {
    /// `size_max` holds.
    pub(super) const SIZE_MAX: u64 = 1 << 1;
    /// `seg_max` holds.
    pub(super) const SEG_MAX: u64 = 1 << 2;
    /// Writes are refused.
    pub(super) const READ_ONLY: u64 = 1 << 5;
    /// Writes are durable only after a flush.
    pub(super) const FLUSH: u64 = 1 << 9;
}

/// Request types.
mod request {
    pub(super) const READ: u32 = 0;
    pub(super) const WRITE: u32 = 1;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
}

/// How a request ended, as its last byte tells the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Done = 0,
    Failed = 1,
    Unsupported = 2,
}

/// Entries of the request queue.
const QUEUE_SIZE: u16 = 256;
/// Data buffers in one request: what the queue holds besides header and status.
const SEGMENTS: u32 = QUEUE_SIZE as u32 - 2;
/// Bytes in one data buffer.
const SEGMENT_LENGTH: u32 = 1 << 20;
/// Bytes in one request. No driver comes near; it bounds how long one request keeps the others waiting.
const TRANSFER_LENGTH: u64 = 32 << 20;

/// Bytes moved at once between the disk and memory.
const PIECE: usize = 128 << 10;

/// The length of a request's header: type, reserved, sector.
const HEADER: u64 = 16;
/// The length of the device's serial number.
const ID: usize = 20;

/// A disk.
pub(super) struct Block {
    disk: Disk,
    id: [u8; ID],
    piece: Box<[u8]>,
    /// Whether the user has been told that the image fails.
    told: bool,
}

impl Block {
    /// A disk whose serial number is the first 20 bytes of `id`.
    pub(super) fn new(disk: Disk, id: &str) -> Self {
        let mut serial = [0; ID];
        serial.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
        Self { disk, id: serial, piece: vec![0; PIECE].into_boxed_slice(), told: false }
    }

    /// Carries a request out. Gives how it ended and how many bytes of data it wrote to memory.
    fn execute(
        &mut self,
        master: &BusMaster,
        chain: &Chain,
        room: u64,
        durable: bool,
    ) -> Result<(Status, u64), QueueError> {
        let mut header = [0; HEADER as usize];
        chain.readable.read(master, 0, &mut header)?;
        let [t0, t1, t2, t3, _, _, _, _, s0, s1, s2, s3, s4, s5, s6, s7] = header;
        let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let outcome = match u32::from_le_bytes([t0, t1, t2, t3]) {
            request::READ => self.read(master, chain, sector, room).map(|()| room),
            request::WRITE => self.write(master, chain, sector, durable).map(|()| 0),
            request::FLUSH => self.disk.flush().map(|()| 0).map_err(Failure::from),
            request::GET_ID => {
                let length = room.min(ID as u64);
                let id = &self.id[..length as usize];
                chain.writable.write(master, 0, id).map(|()| length).map_err(Failure::from)
            }
            _ => return Ok((Status::Unsupported, 0)),
        };
        Ok(match outcome {
            Ok(written) => (Status::Done, written),
            Err(failure) => {
                self.tell_user(&failure);
                (Status::Failed, 0)
            }
        })
    }

    /// Says once that the image itself fails. What the guest does wrong is for the guest to hear.
    fn tell_user(&mut self, failure: &Failure) {
        if let Failure::Disk(error) = failure
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!("A disk image cannot be read or written: {error}");
        }
    }

    fn read(&mut self, master: &BusMaster, chain: &Chain, sector: u64, length: u64) -> Result<(), Failure> {
        let start = self.locate(sector, length)?;
        self.in_pieces(length, |disk, done, piece| {
            disk.read(start + done, piece)?;
            Ok(chain.writable.write(master, done, piece)?)
        })
    }

    fn write(
        &mut self,
        master: &BusMaster,
        chain: &Chain,
        sector: u64,
        durable: bool,
    ) -> Result<(), Failure> {
        if self.disk.read_only() {
            return Err(Failure::Refused);
        }
        let length = chain.readable.length() - HEADER;
        let start = self.locate(sector, length)?;
        self.in_pieces(length, |disk, done, piece| {
            chain.readable.read(master, HEADER + done, piece)?;
            Ok(disk.write(start + done, piece)?)
        })?;
        if durable {
            self.disk.flush()?;
        }
        Ok(())
    }

    fn locate(&self, sector: u64, length: u64) -> Result<u64, Failure> {
        if length > TRANSFER_LENGTH {
            return Err(Failure::Refused);
        }
        self.disk.locate(sector, length).ok_or(Failure::Refused)
    }

    fn in_pieces(
        &mut self,
        length: u64,
        mut work: impl FnMut(&Disk, u64, &mut [u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(PIECE as u64) as usize;
            work(&self.disk, done, &mut self.piece[..piece])?;
            done += piece as u64;
        }
        Ok(())
    }
}

/// Why a request failed. The driver hears only that it did.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("Sectors that there are not, or that may not be written")]
    Refused,
    #[error("The disk image failed")]
    Disk(#[from] std::io::Error),
    #[error(transparent)]
    Dma(#[from] DmaError),
}

impl Model for Block {
    fn kind(&self) -> Kind {
        // Mass storage, of no kind that has a number.
        Kind { device_type: 2, class: 0x01_80_00, queue_sizes: &[QUEUE_SIZE] }
    }

    fn features(&self) -> u64 {
        let read_only = if self.disk.read_only() { feature::READ_ONLY } else { 0 };
        feature::SIZE_MAX | feature::SEG_MAX | feature::FLUSH | read_only
    }

    fn config(&self) -> Vec<u8> {
        let mut config = self.disk.sectors().to_le_bytes().to_vec();
        config.extend(SEGMENT_LENGTH.to_le_bytes());
        config.extend(SEGMENTS.to_le_bytes());
        config
    }

    fn process(&mut self, master: &BusMaster, chain: &Chain, features: Features) -> Result<u32, QueueError> {
        let Some(room) = chain.writable.length().checked_sub(1) else {
            return Err(QueueError::Chain("no room for a status"));
        };
        if chain.readable.length() < HEADER {
            return Err(QueueError::Chain("no header"));
        }
        // A driver that will never flush is promised that what it wrote is durable.
        let durable = !features.contains(feature::FLUSH);
        let (status, written) = self.execute(master, chain, room, durable)?;
        chain.writable.write(master, room, &[status as u8])?;
        // The length counts from the start of the writable part: a failed request wrote nothing that counts.
        Ok(u32::try_from(written + 1).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests;
