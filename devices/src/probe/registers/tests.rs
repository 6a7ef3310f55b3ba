use super::*;

#[test]
fn what_is_read_only_stays_and_the_rest_is_kept() {
    let mut registers = Registers::new();
    for offset in (0..SIZE).step_by(4) {
        registers.write(offset, 0x8000_0000);
    }
    assert_eq!(registers.get(at::IDENTIFICATION), 0x424F_5250);
    assert_eq!(registers.get(at::STATUS), 0);
    let kept: Vec<_> = (0..SIZE).step_by(4).filter(|at| registers.get(*at) == 0x8000_0000).collect();
    let expected: Vec<_> = (0x1C..0x3C).chain(0x80..0xC0).step_by(4).collect();
    assert_eq!(kept, expected);
}

#[test]
fn one_run_at_a_time() {
    let mut registers = Registers::new();
    registers.write(at::SCRIPT, 0x1000);
    registers.write(at::SCRIPT + 4, 7);
    registers.write(at::SCRIPT_COUNT, 3);
    let script = Script { address: 0x7_0000_1000, count: 3, flags: Flags::empty(), pasid: 0 };
    assert_eq!(registers.write(at::DOORBELL, 2), Effect::Start(Job::Script(script)));
    assert_eq!(registers.get(at::STATUS), status::BUSY);
    assert_eq!(registers.write(at::DOORBELL, 1), Effect::None);
    assert_eq!(registers.write(at::DOORBELL, 4), Effect::Stop);
    assert_eq!(registers.write(at::DOORBELL, 8), Effect::None);
}
