//! The common configuration structure (section 4.1.4.3) and the initialisation it leads through (3.1).

use super::model::Features;
use super::queue::{Layout, Queue};

/// Bits of the device status field (section 2.1).
pub(super) mod status {
    /// The driver accepted the features, and the device that choice.
    pub(in crate::virtio) const FEATURES_OK: u8 = 8;
    /// The driver is ready: the device may use the queues.
    pub(in crate::virtio) const DRIVER_OK: u8 = 4;
    /// The device cannot go on.
    pub(in crate::virtio) const NEEDS_RESET: u8 = 64;
    /// What a driver may set.
    pub(in crate::virtio) const DRIVER: u8 = 0x8F;
}

/// No interrupt vector.
pub(super) const NO_VECTOR: u16 = 0xFFFF;

/// The length of the structure in bytes, queue_notify_data and queue_reset included.
const LENGTH: usize = 0x40;

/// What a register write asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing more.
    None,
    /// The driver resets the device; the structure is as after power-on already.
    Reset,
    /// The device may begin.
    Start,
    /// The driver broke the rules.
    Broken,
}

/// One queue: as the driver sets it up and, once enabled, at work.
pub(super) struct QueueSlot {
    largest: u16,
    layout: Layout,
    /// The interrupt vector for used buffers.
    pub(super) vector: u16,
    /// The queue, while it is enabled.
    pub(super) running: Option<Queue>,
    /// Whether requests have been given back that the driver has not been told of.
    pub(super) untold: bool,
}

impl QueueSlot {
    fn new(largest: u16) -> Self {
        let layout = Layout { size: largest, ..Layout::default() };
        Self { largest, layout, vector: NO_VECTOR, running: None, untold: false }
    }
}

/// The structure and the state behind it.
pub(super) struct Common {
    offered: Features,
    required: Features,
    accepted: Features,
    offered_select: u32,
    accepted_select: u32,
    status: u8,
    /// The interrupt vector for changes of the configuration.
    pub(super) config_vector: u16,
    queue_select: u16,
    /// The queues.
    pub(super) queues: Vec<QueueSlot>,
}

impl Common {
    /// The structure of a device that offers `offered` features, works only with the `required` ones, and
    /// has a queue for each of the largest sizes.
    pub(super) fn new(offered: Features, required: Features, sizes: &[u16]) -> Self {
        Self {
            offered,
            required,
            accepted: Features::default(),
            offered_select: 0,
            accepted_select: 0,
            status: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            queues: sizes.iter().map(|&size| QueueSlot::new(size)).collect(),
        }
    }

    /// Back to the state after power-on: the queues stop here.
    pub(super) fn reset(&mut self) {
        let sizes: Vec<_> = self.queues.iter().map(|queue| queue.largest).collect();
        *self = Self::new(self.offered, self.required, &sizes);
    }

    /// Whether the queues may be used.
    pub(super) fn working(&self) -> bool {
        self.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// The features agreed on.
    pub(super) fn features(&self) -> Features {
        self.accepted
    }

    /// Gives up until the driver resets the device. Tells whether the driver is to be told.
    pub(super) fn fail(&mut self) -> bool {
        self.status |= status::NEEDS_RESET;
        self.status & status::DRIVER_OK != 0
    }

    /// Reads any part of the structure; past its end there are zeros.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        let image = self.image();
        let start = usize::try_from(offset).unwrap_or(LENGTH).min(LENGTH);
        data.fill(0);
        data.iter_mut().zip(&image[start..]).for_each(|(to, from)| *to = *from);
    }

    fn image(&self) -> [u8; LENGTH] {
        let half = |features: Features, select: u32| match select {
            0 => features.0 as u32,
            1 => (features.0 >> 32) as u32,
            _ => 0,
        };
        let mut image = [0; LENGTH];
        let mut put = |offset: usize, bytes: &[u8]| image[offset..][..bytes.len()].copy_from_slice(bytes);
        put(0x00, &self.offered_select.to_le_bytes());
        put(0x04, &half(self.offered, self.offered_select).to_le_bytes());
        put(0x08, &self.accepted_select.to_le_bytes());
        put(0x0C, &half(self.accepted, self.accepted_select).to_le_bytes());
        put(0x10, &self.config_vector.to_le_bytes());
        put(0x12, &(self.queues.len() as u16).to_le_bytes());
        put(0x14, &[self.status]);
        put(0x16, &self.queue_select.to_le_bytes());
        // A queue that does not exist is all zeros.
        if let Some(queue) = self.queues.get(self.queue_select as usize) {
            put(0x18, &queue.layout.size.to_le_bytes());
            put(0x1A, &queue.vector.to_le_bytes());
            put(0x1C, &u16::from(queue.running.is_some()).to_le_bytes());
            put(0x1E, &self.queue_select.to_le_bytes());
            put(0x20, &queue.layout.descriptors.to_le_bytes());
            put(0x28, &queue.layout.available.to_le_bytes());
            put(0x30, &queue.layout.used.to_le_bytes());
        }
        image
    }

    /// Writes one field, or half of a 64-bit one. What is neither is ignored.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Effect {
        match *data {
            [value] if offset == 0x14 => return self.write_status(value),
            [b0, b1] => return self.write_u16(offset, u16::from_le_bytes([b0, b1])),
            [b0, b1, b2, b3] => self.write_u32(offset, u32::from_le_bytes([b0, b1, b2, b3])),
            [b0, b1, b2, b3, ref high @ ..] if high.len() == 4 && matches!(offset, 0x20 | 0x28 | 0x30) => {
                self.write_u32(offset, u32::from_le_bytes([b0, b1, b2, b3]));
                return self.write(offset + 4, high);
            }
            _ => {}
        }
        Effect::None
    }

    fn write_status(&mut self, value: u8) -> Effect {
        if value == 0 {
            self.reset();
            return Effect::Reset;
        }
        let mut added = value & status::DRIVER & !self.status;
        if added & status::FEATURES_OK != 0 && !self.acceptable() {
            added &= !status::FEATURES_OK;
        }
        self.status |= added;
        if added & status::DRIVER_OK == 0 {
            Effect::None
        } else if self.status & status::FEATURES_OK == 0 {
            self.status &= !status::DRIVER_OK;
            Effect::Broken
        } else {
            Effect::Start
        }
    }

    fn acceptable(&self) -> bool {
        self.offered.contains(self.accepted.0) && self.accepted.contains(self.required.0)
    }

    fn write_u16(&mut self, offset: u64, value: u16) -> Effect {
        // One vector for each queue and one for the configuration.
        let known = if value <= self.queues.len() as u16 { value } else { NO_VECTOR };
        match offset {
            0x10 => self.config_vector = known,
            0x16 => self.queue_select = value,
            _ => {
                if let Some(queue) = self.queues.get_mut(self.queue_select as usize) {
                    match offset {
                        0x18 if queue.running.is_none() => queue.layout.size = value.min(queue.largest),
                        0x1A => queue.vector = known,
                        0x1C if value == 1 && queue.running.is_none() => {
                            queue.running = Queue::new(queue.layout).ok();
                            if queue.running.is_none() {
                                return Effect::Broken;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        Effect::None
    }

    fn write_u32(&mut self, offset: u64, value: u32) {
        let low = |old: u64| old & !0xFFFF_FFFF | value as u64;
        let high = |old: u64| old & 0xFFFF_FFFF | (value as u64) << 32;
        match offset {
            0x00 => self.offered_select = value,
            0x08 => self.accepted_select = value,
            0x0C if self.status & status::FEATURES_OK == 0 => match self.accepted_select {
                0 => self.accepted.0 = low(self.accepted.0),
                1 => self.accepted.0 = high(self.accepted.0),
                // The driver accepts what there is not.
                _ => {}
            },
            _ => {
                let queue = self.queues.get_mut(self.queue_select as usize);
                if let Some(QueueSlot { layout, running: None, .. }) = queue {
                    match offset {
                        0x20 => layout.descriptors = low(layout.descriptors),
                        0x24 => layout.descriptors = high(layout.descriptors),
                        0x28 => layout.available = low(layout.available),
                        0x2C => layout.available = high(layout.available),
                        0x30 => layout.used = low(layout.used),
                        0x34 => layout.used = high(layout.used),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
