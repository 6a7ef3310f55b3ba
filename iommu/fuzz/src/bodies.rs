//! One function for each target: bytes in, a panic if the unit does what it must never do.

use iommu::{Blocked, MsiMessage, Outcome};

use super::machine::{ECMD, FSTS, GCMD, GSTS, IQA, IQH, IQT, IRTA, Machine, PQA, PQH, RTADDR};
use super::script::Script;

/// Registers that make something happen, or say where.
const PLACES: [u64; 16] = [
    GCMD,
    RTADDR,
    IQT,
    IQA,
    IRTA,
    FSTS,
    0x38,
    PQA,
    ECMD,
    ECMD + 4,
    0x324,
    0x328,
    0x2000,
    0x2008,
    0x2F08,
    0x4000,
];

/// Any registers written in any size, with requests and interrupts between.
pub fn registers(data: &[u8]) {
    let mut script = Script(data);
    let machine = Machine::new(&mut script);
    while !script.ended() {
        step(&machine, &mut script);
    }
    machine.finish();
}

/// One thing that software or a device may do.
pub(crate) fn step(machine: &Machine, script: &mut Script<'_>) {
    let kind = script.byte();
    let offset = match kind & 3 {
        0 => u64::from(script.byte()),
        1 => u64::from(script.byte()) * 4,
        2 => u64::from(script.half()),
        _ => PLACES[usize::from(script.byte()) % PLACES.len()],
    };
    match kind >> 2 & 15 {
        0..3 => machine.set32(offset, script.entry() as u32),
        3 | 4 => machine.set(offset, script.entry()),
        5 | 6 => machine.command(1 << (23 + script.byte() % 9)),
        7 => {
            let value = script.word().to_le_bytes();
            let length = usize::from(script.byte()) % 9;
            machine.unit.write(offset, &value[..length]);
            machine.unit.read(offset, &mut [0; 8][..length]);
        }
        8 | 9 => {
            let (request, iova) = (script.request(), script.iova());
            let _ = machine.request(&request, iova, u64::from(script.half()));
        }
        10 | 11 => machine.store(script.word(), script.entry()),
        12 => interrupt(machine, script),
        13 => machine.translate(&script.translation()),
        14 => machine.page_request(&script.page_request()),
        _ => machine.unit.resume(),
    }
}

/// An interrupt request: what is foreseen happens, but that a posted one may end at its descriptor.
fn interrupt(machine: &Machine, script: &mut Script<'_>) {
    let message = MsiMessage { address: 0xFEE0_0000 | script.word(), data: u32::from(script.half()) };
    let source = script.source();
    let resolution = machine.unit.resolve(source, message);
    let outcome = machine.unit.remap(source, message, |message| message);
    if resolution.outcome == Ok(Outcome::Posted) {
        assert!(outcome.is_ok() || matches!(outcome, Err(Blocked { reason: 0x27 | 0x28 })), "{outcome:?}");
    } else {
        assert_eq!(outcome, resolution.outcome.map(|_| resolution.message()));
    }
}

/// Any descriptors in queues of both widths, by any tails, with page requests between.
pub fn queue(data: &[u8]) {
    let mut script = Script(data);
    let machine = Machine::new(&mut script);
    let kind = script.byte();
    machine.set(RTADDR, 0x1000 | u64::from(kind & 3) << 10);
    machine.command(1 << 30);
    scaffold(&machine, 0x1000, &mut script);
    let wide = kind >> 4 & 1;
    machine.set(IQA, 0x10000 | u64::from(kind >> 2 & 3) | u64::from(wide) << 11);
    machine.set(PQA, 0x1A000);
    machine.command(1 << 26);
    machine.command(1 << 31);
    let (mut at, mut rounds) = (0_u64, 0);
    while !script.ended() && rounds < 64 {
        rounds += 1;
        for _ in 0..script.byte() % 8 {
            // A type that there is and fields with little in them, or anything at all.
            let shape = script.byte();
            let low = if shape & 0x80 == 0 {
                u64::from(shape & 15) | u64::from(script.half()) << 4 | u64::from(script.half()) << 32
            } else {
                script.word()
            };
            let high = if shape & 0x40 == 0 { script.entry() } else { 0 };
            machine.store(0x10000 + at, low);
            machine.store(0x10000 + at + 8, high);
            if wide == 1 {
                let more = if shape & 0x30 == 0x30 { script.entry() } else { 0 };
                machine.store(0x10000 + at + 16, more);
                machine.store(0x10000 + at + 24, 0);
            }
            at = (at + (16 << wide)) % 0x1000;
        }
        let tail = if script.byte() < 200 { at } else { u64::from(script.half()) };
        machine.set32(IQT, tail as u32);
        let status = machine.get32(FSTS);
        if status & 0x50 == 0 && machine.get32(GSTS) >> 26 & 1 == 1 {
            assert_eq!(machine.get32(IQH), machine.get32(IQT), "a queue without an error is done");
        }
        let next = script.byte();
        match next & 7 {
            0..2 => {
                let (request, iova) = (script.request(), script.iova());
                let _ = machine.request(&request, iova, 8);
            }
            2 => machine.page_request(&script.page_request()),
            3 => machine.set32(PQH, u32::from(script.half())),
            4 => machine.translate(&script.translation()),
            _ => {}
        }
        if next & 8 == 0 {
            machine.set32(FSTS, 0x71);
            machine.set32(0xDC, 3);
        }
    }
    machine.finish();
}

/// Any tables, in every mode, with any requests. What a request comes to does not change while the tables do not:
/// neither by what is remembered of it nor when that is forgotten.
pub fn tables(data: &[u8]) {
    let mut script = Script(data);
    let machine = Machine::new(&mut script);
    let kind = script.byte();
    let root = if kind & 4 == 0 { 0 } else { 0x1000 };
    machine.set(RTADDR, root | u64::from(kind & 3) << 10);
    machine.command(1 << 30);
    machine.set(IRTA, script.page() | u64::from(script.byte() & 15) | u64::from(script.byte() & 1) << 11);
    machine.command(1 << 24);
    machine.command(1 << 25);
    if root != 0 {
        scaffold(&machine, root, &mut script);
    }
    for _ in 0..script.byte() {
        let place = script.page() + u64::from(script.half()) * 8 % 0x1000;
        let entry = script.entry();
        machine.store(place, entry);
    }
    machine.command(1 << 31);
    let mut before = machine.bytes();
    for _ in 0..16 {
        let (request, iova) = (script.request(), script.iova());
        let length = u64::from(script.half());
        let first = machine.request(&request, iova, length);
        if machine.bytes() == before {
            assert_eq!(machine.request(&request, iova, length), first, "{request:?} at {iova:?}");
            // A new root pointer, the same: the unit forgets everything then.
            machine.command(1 << 30);
            assert_eq!(machine.request(&request, iova, length), first, "{request:?} at {iova:?}");
        }
        machine.translate(&script.translation());
        // Marks that requests set may have changed tables that others of them have used.
        let after = machine.bytes();
        if after != before {
            machine.command(1 << 30);
            before = after;
        }
        interrupt(&machine, &mut script);
        if script.ended() {
            break;
        }
    }
    machine.finish();
}

/// Structures that lead somewhere, in the mode that the root pointer names, from which the script may deviate: every
/// function of bus 0 and 1 has the same context entries, those of scalable mode the same PASID directory and table.
fn scaffold(machine: &Machine, root: u64, script: &mut Script<'_>) {
    let (contexts, directory, pasids, first, second) =
        (root + 0x1000, root + 0x2000, root + 0x3000, root + 0x4000, root + 0x7000);
    let (options, kinds, snoops) = (script.half(), script.half(), script.byte());
    let scalable = machine.get(RTADDR) >> 10 & 3 == 1;
    for half in 0..4 {
        machine.store(root + half * 8, if scalable || half % 2 == 0 { contexts | 1 } else { 0 });
    }
    for index in 0..128 {
        let place = contexts + index * if scalable { 32 } else { 16 };
        if scalable {
            machine.store(place, directory | 1 | u64::from(options & 0x1E));
            machine.store(place + 8, u64::from(options >> 5 & 3));
        } else {
            machine.store(place, second | 1 | u64::from(options & 6) << 1);
            machine.store(place + 8, 2 | u64::from(index as u8 & 3) << 8);
        }
    }
    machine.store(directory, pasids | 1);
    for pasid in 0..64 {
        let place = pasids + pasid * 64;
        // Types go round by PASID, from one that the script chooses.
        let kind = 1 + (pasid + u64::from(kinds)) % 4;
        machine.store(place, second | 1 | 2 << 2 | kind << 6 | u64::from(options >> 7 & 1) << 9);
        machine.store(place + 8, (pasid % 3) | u64::from(snoops & 3) << 23);
        machine.store(place + 16, first | u64::from(options >> 8) & 0x93);
    }
    // Three levels of tables over one page of leaves each, with few entries; large pages here and there.
    for (table, bits) in [(first, 7), (second, 3)] {
        for level in 0..3 {
            let next = table + (level + 1) % 3 * 0x1000;
            for entry in 0..4 {
                let flags = if level == 2 && script.byte() & 15 == 0 { 1 << 7 } else { 0 };
                machine.store(table + level * 0x1000 + entry * 8, next | bits | flags);
            }
        }
    }
}
