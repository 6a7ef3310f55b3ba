//! One counter of the 8254, as a function of time: what it shows and puts out follows from when it was
//! started.

/// Time in ticks of the counters' clock.
pub(super) type Tick = u64;

/// A counter. Its count takes effect when it is written, in the periodic modes as well, where the real one
/// finishes its period first.
#[derive(Clone)]
pub(super) struct Counter {
    mode: Mode,
    /// Counts in binary-coded decimal.
    decimal: bool,
    access: Access,
    /// The count as written.
    count: u16,
    run: Run,
    gate: bool,
    /// The low byte of a count whose high byte is still to come.
    low_written: Option<u8>,
    /// The next read of an unlatched count gives its high byte.
    high_next: bool,
    latched_count: Option<Latch>,
    latched_status: Option<u8>,
}

/// The counting modes by their numbers in the data sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// 0: the output rises when the count is done.
    TerminalCount = 0,
    /// 1: the same, started by the gate.
    OneShot = 1,
    /// 2: the output falls for the last tick of each period.
    RateGenerator = 2,
    /// 3: the output is high for half of each period.
    SquareWave = 3,
    /// 4: the output falls for one tick when the count is done.
    SoftwareStrobe = 4,
    /// 5: the same, started by the gate.
    HardwareStrobe = 5,
}

/// Which bytes of the count are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Low = 1,
    High = 2,
    /// The low one first.
    Both = 3,
}

/// How far counting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// No count yet.
    Empty,
    /// A count, and the gate has yet to start it.
    Armed,
    Since(Tick),
    /// Held by the gate after so many ticks.
    Held(Tick),
}

/// A count that was latched and has not been read to its end.
#[derive(Clone, Copy)]
struct Latch {
    value: u16,
    high_next: bool,
}

impl Mode {
    /// The mode of a control word; bit 2 has no say in the periodic ones.
    const fn of(control: u8) -> Self {
        match control >> 1 & 7 {
            0 => Self::TerminalCount,
            1 => Self::OneShot,
            2 | 6 => Self::RateGenerator,
            3 | 7 => Self::SquareWave,
            4 => Self::SoftwareStrobe,
            _ => Self::HardwareStrobe,
        }
    }

    const fn is_periodic(self) -> bool {
        matches!(self, Self::RateGenerator | Self::SquareWave)
    }

    /// A rise of the gate begins the count; in the other modes a low gate merely holds it.
    const fn is_started_by_gate(self) -> bool {
        !matches!(self, Self::TerminalCount | Self::SoftwareStrobe)
    }
}

impl Counter {
    /// A counter that was never programmed.
    pub(super) const fn new(gate: bool) -> Self {
        Self {
            mode: Mode::TerminalCount,
            decimal: false,
            access: Access::Both,
            count: 0,
            run: Run::Empty,
            gate,
            low_written: None,
            high_next: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// Takes the mode of a control word and awaits a count.
    pub(super) fn program(&mut self, control: u8, access: Access) {
        *self = Self {
            mode: Mode::of(control),
            decimal: control & 1 != 0,
            access,
            count: self.count,
            ..Self::new(self.gate)
        };
    }

    /// Writes a byte of the count; whether counting begins anew or ends with it.
    pub(super) fn write(&mut self, byte: u8, now: Tick) -> bool {
        let count = match (self.access, self.low_written.take()) {
            (Access::Low, _) => byte.into(),
            (Access::High, _) => u16::from(byte) << 8,
            (Access::Both, Some(low)) => u16::from_le_bytes([low, byte]),
            (Access::Both, None) => {
                self.low_written = Some(byte);
                if self.mode != Mode::TerminalCount {
                    return false;
                }
                self.run = Run::Empty;
                return true;
            }
        };
        self.count = count;
        self.run = match self.mode {
            Mode::OneShot | Mode::HardwareStrobe => Run::Armed,
            _ if self.gate => Run::Since(now),
            mode if mode.is_periodic() => Run::Armed,
            _ => Run::Held(0),
        };
        true
    }

    /// Reads the next byte: of a latched status, of a latched count, or of the count as it stands.
    pub(super) fn read(&mut self, now: Tick) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let latch = self.latched_count.take();
        let Latch { value, high_next } =
            latch.unwrap_or(Latch { value: self.value(now), high_next: self.high_next });
        let [low, high] = value.to_le_bytes();
        match self.access {
            Access::Low => return low,
            Access::High => return high,
            Access::Both => {}
        }
        if latch.is_none() {
            self.high_next = !high_next;
        } else if !high_next {
            self.latched_count = Some(Latch { value, high_next: true });
        }
        if high_next { high } else { low }
    }

    /// Holds the count for the next reads; a second time has no effect before it is read.
    pub(super) fn latch_count(&mut self, now: Tick) {
        let value = self.value(now);
        self.latched_count.get_or_insert(Latch { value, high_next: false });
    }

    /// Holds the status for the next read.
    pub(super) fn latch_status(&mut self, now: Tick) {
        let output = u8::from(self.output(now)) << 7;
        let no_count = u8::from(self.run == Run::Empty || self.low_written.is_some()) << 6;
        let control = (self.access as u8) << 4 | (self.mode as u8) << 1 | u8::from(self.decimal);
        self.latched_status.get_or_insert(output | no_count | control);
    }

    pub(super) const fn gate(&self) -> bool {
        self.gate
    }

    /// Opens or closes the gate.
    pub(super) fn set_gate(&mut self, gate: bool, now: Tick) {
        let rises = gate && !self.gate;
        self.gate = gate;
        self.run = match self.run {
            Run::Empty => Run::Empty,
            _ if rises && self.mode.is_started_by_gate() => Run::Since(now),
            Run::Held(elapsed) if rises => Run::Since(now.saturating_sub(elapsed)),
            Run::Since(_) if !gate && self.mode.is_periodic() => Run::Armed,
            Run::Since(start) if !gate && !self.mode.is_started_by_gate() => {
                Run::Held(now.saturating_sub(start))
            }
            run => run,
        };
    }

    /// The output.
    pub(super) fn output(&self, now: Tick) -> bool {
        let Some(elapsed) = self.elapsed(now) else {
            return self.mode != Mode::TerminalCount;
        };
        let length = self.length();
        match self.mode {
            Mode::TerminalCount | Mode::OneShot => elapsed >= length,
            Mode::RateGenerator => elapsed % length != length - 1,
            Mode::SquareWave => elapsed % length < length.div_ceil(2),
            Mode::SoftwareStrobe | Mode::HardwareStrobe => elapsed != length,
        }
    }

    /// How often the output has risen since the count began.
    pub(super) fn rises(&self, now: Tick) -> u64 {
        let Some(elapsed) = self.elapsed(now) else { return 0 };
        match self.mode {
            Mode::RateGenerator | Mode::SquareWave => elapsed / self.length(),
            _ => u64::from(elapsed >= self.single_rise()),
        }
    }

    /// When the output will next rise.
    pub(super) fn next_rise(&self, now: Tick) -> Option<Tick> {
        let Run::Since(start) = self.run else { return None };
        match self.mode {
            Mode::RateGenerator | Mode::SquareWave => Some(start + (self.rises(now) + 1) * self.length()),
            _ => Some(start + self.single_rise()).filter(|&rise| rise > now),
        }
    }

    /// Ticks between two rises, in the periodic modes.
    pub(super) fn period(&self) -> Option<Tick> {
        self.mode.is_periodic().then(|| self.length())
    }

    /// Ticks from the beginning to the one rise of a mode that is not periodic.
    fn single_rise(&self) -> Tick {
        match self.mode {
            Mode::SoftwareStrobe | Mode::HardwareStrobe => self.length() + 1,
            _ => self.length(),
        }
    }

    /// Ticks since counting began; `None` if it has not.
    fn elapsed(&self, now: Tick) -> Option<Tick> {
        match self.run {
            Run::Empty | Run::Armed => None,
            Run::Since(start) => Some(now.saturating_sub(start)),
            Run::Held(elapsed) => Some(elapsed),
        }
    }

    /// Numbers a count can be: the counter wraps there.
    const fn modulus(&self) -> Tick {
        if self.decimal { 10_000 } else { 0x1_0000 }
    }

    /// The count as a number, at least 1; written as 0 it is the greatest there is.
    fn length(&self) -> Tick {
        if self.count == 0 {
            return self.modulus();
        }
        if !self.decimal {
            return self.count.into();
        }
        (0..4).rev().fold(0, |number, digit| number * 10 + Tick::from(self.count >> (4 * digit) & 0xF))
    }

    /// What the counter holds, in its notation.
    fn value(&self, now: Tick) -> u16 {
        let Some(elapsed) = self.elapsed(now) else { return self.count };
        let (length, modulus) = (self.length(), self.modulus());
        let number = match self.mode {
            Mode::RateGenerator => length - elapsed % length,
            // Counts down by two, twice in each period.
            Mode::SquareWave => (length - elapsed * 2 % length) & !1,
            _ => (length + modulus - elapsed % modulus) % modulus,
        };
        if self.decimal { to_decimal(number) } else { number as u16 }
    }
}

/// Four binary-coded decimal digits.
fn to_decimal(number: Tick) -> u16 {
    [1000, 100, 10, 1].into_iter().fold(0, |digits, weight| digits << 4 | (number / weight % 10) as u16)
}

#[cfg(test)]
mod tests;
