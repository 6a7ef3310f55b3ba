//! A guest that writes whatever it likes: compared, after every write, with a plain reading of the registers.

use proptest::prelude::*;

use super::*;
use crate::testing::{Config, Event, ecam};
use crate::{BAR_COUNT, BarRange, BarSpace};

/// One write to configuration space.
#[derive(Clone, Debug)]
struct Write {
    bdf: Bdf,
    register: u16,
    data: Vec<u8>,
    through_ports: bool,
}

/// Registers that matter, and any other.
fn register() -> impl Strategy<Value = u16> {
    let decoding = proptest::sample::select(vec![0x04, 0x10, 0x18, 0x19, 0x1A, 0x1C, 0x20, 0x24, 0x28, 0x2C]);
    // Bridge Control, link control of the ports, device control and power state of the probes.
    let resets = proptest::sample::select(vec![0x3E, 0x44, 0x58, 0x48, 0x88]);
    prop_oneof![6 => decoding, 1 => resets, 1 => 0u16..4096]
}

/// Bytes with which functions end up in each other's way.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => proptest::sample::select(vec![
            0xC000_0000u32, 0xC010_0000, 0xC010_4000, 0xC000_4000, 0xC010_C000, 0x0000_0007, 0x0000_0003,
            0x0002_0100, 0x0002_0200, 0x00FF_0100, 0x0003_0000, 0xFFFF_FFFF, 0, 0x1000, 0x10F0, 0x40,
        ]),
        1 => any::<u32>(),
    ];
    (word, 1usize..9).prop_map(|(word, length)| [word.to_le_bytes(), [0; 4]].concat()[..length].to_vec())
}

fn write() -> impl Strategy<Value = Write> {
    let known = proptest::sample::select(vec![ROOT, FIRST_PORT, SECOND_PORT, FIRST, SECOND, HOST_BRIDGE]);
    let bdf = prop_oneof![8 => known, 1 => any::<u16>().prop_map(Bdf)];
    (bdf, register(), data(), any::<bool>()).prop_map(|(bdf, register, data, through_ports)| Write {
        bdf,
        register,
        data,
        through_ports,
    })
}

fn apply(complex: &RootComplex, write: &Write) {
    if write.through_ports && write.register < 0x100 {
        let address = 1 << 31 | u32::from(write.bdf.0) << 8 | u32::from(write.register);
        assert!(complex.port_write(0xCF8, &address.to_le_bytes()));
        assert!(complex.port_write(0xCFC, &write.data[..write.data.len().min(4)]));
    } else {
        complex.ecam_write(ecam(write.bdf, write.register), &write.data);
    }
}

/// A root port's registers, read one by one.
struct PortRegisters {
    open: bool,
    secondary: u8,
    subordinate: u8,
    memory: Vec<std::ops::RangeInclusive<u64>>,
    ports: Vec<std::ops::RangeInclusive<u64>>,
}

fn port_registers(complex: &RootComplex, port: Bdf) -> PortRegisters {
    let command = complex.read16(port, 4);
    let reset = complex.read16(port, 0x3E) & 0x40 != 0;
    let disabled = complex.read16(port, 0x58) & 0x10 != 0;
    let on = complex.read16(port, 0x44) & 3 == 0;
    let open = !reset && !disabled && on;
    let word = |register| u64::from(complex.read16(port, register) & 0xFFF0);
    let upper = |register| u64::from(complex.read32(port, register)) << 32;
    let byte = |register| u64::from(complex.read8(port, register) & 0xF0);
    let memory = [
        word(0x20) << 16..=(word(0x22) << 16 | 0xF_FFFF),
        upper(0x28) | word(0x24) << 16..=(upper(0x2C) | word(0x26) << 16 | 0xF_FFFF),
    ];
    let ports = byte(0x1C) << 8..=(byte(0x1D) << 8 | 0xFFF);
    PortRegisters {
        open,
        secondary: complex.read8(port, 0x19),
        subordinate: complex.read8(port, 0x1A),
        memory: memory.into_iter().filter(|_| open && command & 2 != 0).collect(),
        ports: [ports].into_iter().filter(|_| open && command & 1 != 0).collect(),
    }
}

/// Which probe answers configuration accesses to these numbers.
fn expected_function(machine: &Machine, bdf: Bdf) -> Option<u16> {
    if bdf == ROOT {
        return Some(1);
    }
    for (port, mark) in [(FIRST_PORT, 2), (SECOND_PORT, 3)] {
        let registers = port_registers(&machine.complex, port);
        let claimed = registers.secondary..=registers.subordinate;
        if registers.open && bdf.bus() != 0 && claimed.contains(&bdf.bus()) {
            return (bdf == Bdf::new(registers.secondary, 0, 0)).then_some(mark);
        }
    }
    None
}

/// Which probe answers at an address, and in which BAR.
fn expected_decoder(machine: &Machine, space: BarSpace, address: u64) -> Option<(u8, usize)> {
    let inside = |range: &std::ops::Range<u64>| range.contains(&address);
    let passed_on = match space {
        BarSpace::Memory => inside(&WINDOWS.memory32) || inside(&WINDOWS.memory64),
        BarSpace::Port => inside(&WINDOWS.ports),
    };
    let forwards = |port| {
        let registers = port_registers(&machine.complex, port);
        let windows = if space == BarSpace::Memory { registers.memory } else { registers.ports };
        windows.iter().any(|window| window.contains(&address))
    };
    let mut candidates = Vec::new();
    for (probe, mark, port) in probes(machine) {
        for (index, bar) in probe.endpoint.bars().into_iter().enumerate() {
            let hit = bar.is_some_and(|bar| {
                bar.space == space && (bar.base..=bar.base + (bar.length - 1)).contains(&address)
            });
            if hit && passed_on && port.is_none_or(forwards) {
                candidates.push((probe.location.bdf(), mark, index));
            }
        }
    }
    candidates.into_iter().min().map(|(_, mark, index)| (mark, index))
}

fn probes(machine: &Machine) -> [(&Probe, u8, Option<Bdf>); 3] {
    [(&machine.root, 1, None), (&machine.first, 2, Some(FIRST_PORT)), (&machine.second, 3, Some(SECOND_PORT))]
}

fn check_config(machine: &Machine, bdf: Bdf, register: u8) -> Result<(), TestCaseError> {
    let complex = &machine.complex;
    let [mut ecam_data, mut port_data] = [[0; 4]; 2];
    complex.ecam_read(ecam(bdf, u16::from(register & !3)), &mut ecam_data);
    let address = 1 << 31 | u32::from(bdf.0) << 8 | u32::from(register & !3);
    prop_assert!(complex.port_write(0xCF8, &address.to_le_bytes()));
    prop_assert!(complex.port_read(0xCFC, &mut port_data));
    prop_assert_eq!(ecam_data, port_data, "both ways to {} {:#x}", bdf, register);

    let chipset = [HOST_BRIDGE, ISA_BRIDGE, FIRST_PORT, SECOND_PORT].contains(&bdf);
    if !chipset {
        let expected = expected_function(machine, bdf).unwrap_or(0xFFFF);
        prop_assert_eq!(complex.read16(bdf, 2), expected, "who is {}", bdf);
    }
    Ok(())
}

fn check_memory(machine: &Machine, address: u64) -> Result<(), TestCaseError> {
    let mut data = [0x77];
    let claimed = machine.complex.mmio_read(address, &mut data);
    let expected = expected_decoder(machine, BarSpace::Memory, address);
    prop_assert_eq!(claimed, expected.is_some(), "memory {:#x}", address);
    prop_assert_eq!(data[0], expected.map_or(0xFF, |(mark, _)| mark), "memory {:#x}", address);
    Ok(())
}

fn check_port(machine: &Machine, port: u16) -> Result<(), TestCaseError> {
    let mut data = [0x77];
    let claimed = machine.complex.pio_read(port, &mut data);
    let expected = expected_decoder(machine, BarSpace::Port, port.into());
    prop_assert_eq!(claimed, expected.is_some(), "port {:#x}", port);
    prop_assert_eq!(data[0], expected.map_or(0xFF, |(mark, _)| mark), "port {:#x}", port);
    Ok(())
}

/// What every function was last told is what really reaches it.
fn check_told(machine: &Machine, told: &mut [[Option<BarRange>; BAR_COUNT]; 3]) -> Result<(), TestCaseError> {
    for ((probe, mark, _), told) in probes(machine).into_iter().zip(told) {
        for event in probe.events() {
            if let Event::Reachable(bars) = event {
                *told = bars;
            }
        }
        for (index, range) in told.iter().enumerate() {
            let Some(range) = range else { continue };
            for address in [range.base, range.base + (range.length - 1)] {
                let expected = expected_decoder(machine, range.space, address);
                prop_assert_eq!(expected, Some((mark, index)), "told {:?}", range);
            }
        }
    }
    Ok(())
}

const MORE_BARS: [(usize, Bar); 4] = [
    (0, Bar { kind: BarKind::Memory32, size: 0x4000 }),
    (1, Bar { kind: BarKind::Port, size: 32 }),
    (2, Bar { kind: BarKind::Prefetchable64, size: 0x8000 }),
    (4, Bar { kind: BarKind::Memory32, size: 0x10_0000 }),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn accesses_reach_whom_the_registers_say_and_nobody_else(
        writes in proptest::collection::vec(write(), 1..60),
        samples in proptest::collection::vec(any::<(u16, u8, u32)>(), 4),
        conventional in any::<bool>(),
    ) {
        let machine = machine_of(&MORE_BARS, conventional);
        let bars = probes(&machine).map(|(probe, ..)| probe.endpoint.bars());
        let mut told = bars;
        for write in &writes {
            apply(&machine.complex, write);
            check_told(&machine, &mut told)?;
            for bdf in [ROOT, FIRST, SECOND, Bdf::new(3, 0, 0), write.bdf] {
                check_config(&machine, bdf, write.register as u8)?;
            }
            for bar in probes(&machine).iter().flat_map(|(probe, ..)| probe.endpoint.bars()).flatten() {
                let last = bar.base + (bar.length - 1);
                for address in [bar.base.saturating_sub(1), bar.base, last, last.saturating_add(1)] {
                    match bar.space {
                        BarSpace::Memory => check_memory(&machine, address)?,
                        BarSpace::Port => check_port(&machine, address as u16)?,
                    }
                }
            }
            for (bdf, register, address) in &samples {
                check_config(&machine, Bdf(*bdf), *register)?;
                check_memory(&machine, u64::from(*address))?;
                check_port(&machine, *address as u16)?;
            }
            for (probe, ..) in probes(&machine) {
                probe.events();
            }
        }
    }
}

/// Threads that write, read and reset at the same time neither hang nor leave the picture behind.
#[test]
fn accesses_from_several_threads_at_once() {
    let machine = machine_of(&MORE_BARS, false);
    let base = machine.root.endpoint.bars()[0].unwrap().base;
    let step = |seed: u32| {
        let complex = &machine.complex;
        match seed % 7 {
            0 => complex.write16(ROOT, 4, seed as u16 >> 4 & 7),
            1 => complex.write32(ROOT, 0x10, base as u32 + (seed >> 4 & 1) * 0x4000),
            2 => complex.write32(FIRST_PORT, 0x18, 0x0005_0000 | (1 + (seed >> 4 & 3)) << 8),
            3 => complex.write16(FIRST_PORT, 0x3E, (seed >> 4) as u16 & 0x40),
            4 => drop(complex.read32(Bdf::new((seed >> 4) as u8 & 7, 0, 0), 0)),
            5 => drop(complex.mmio_read(base + u64::from(seed >> 4 & 0x7FFF), &mut [0; 8])),
            _ => drop(complex.mmio_write(base + u64::from(seed >> 4 & 0x7FFF), &[0; 8])),
        }
    };
    std::thread::scope(|scope| {
        for thread in 1..5u32 {
            scope.spawn(move || {
                let mut seed = thread;
                for _ in 0..2000 {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    step(seed >> 8);
                }
            });
        }
    });
    machine.complex.reset();
    machine.complex.assign_resources(|_| 0).unwrap();
    for (probe, mark, _) in probes(&machine) {
        let mut data = [0];
        assert!(machine.complex.mmio_read(probe.endpoint.bars()[0].unwrap().base, &mut data));
        assert_eq!(data, [mark]);
    }
}
