use super::*;
use crate::host_dma::testing::{BAR, LENGTH, bar_file};

const RAM: u64 = 0x10_0000;

fn targets() -> Targets {
    Targets::new(Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap()))
}

fn bar() -> Arc<Mapping> {
    Arc::new(Mapping::new(bar_file(), 0, LENGTH).unwrap())
}

fn found(targets: &Targets, guest: u64, length: u64) -> Result<Vec<(u64, u64)>, MapError> {
    let pieces = targets.pieces(GuestAddress(guest), length)?;
    Ok(pieces.iter().map(|piece| (piece.host, piece.length)).collect())
}

#[test]
fn a_bar_is_a_target_where_and_while_the_guest_sees_it() {
    let (targets, bar) = (targets(), bar());
    let host = bar.address() as u64;
    let nothing = Err(MapError::NotMemory(GuestAddress(BAR)));
    assert_eq!(found(&targets, BAR, 0x1000), nothing);
    targets.show(BAR, bar.clone());
    assert_eq!(found(&targets, BAR, LENGTH), Ok(vec![(host, LENGTH)]));
    assert_eq!(found(&targets, BAR + 0x3000, 0x1000), Ok(vec![(host + 0x3000, 0x1000)]));
    targets.hide(BAR);
    assert_eq!(found(&targets, BAR, 0x1000), nothing);
}

#[test]
fn nothing_beside_a_bar_is_a_target() {
    let targets = targets();
    targets.show(BAR, bar());
    let end = BAR + LENGTH;
    assert_eq!(found(&targets, BAR - 0x1000, 0x2000), Err(MapError::NotMemory(GuestAddress(BAR - 0x1000))));
    assert_eq!(found(&targets, BAR, LENGTH + 0x1000), Err(MapError::NotMemory(GuestAddress(end))));
    assert_eq!(found(&targets, end, 0x1000), Err(MapError::NotMemory(GuestAddress(end))));
    assert!(found(&targets, u64::MAX - 0xFFF, 0x2000).is_err());
}

#[test]
fn neighbours_are_pieces_of_one_range() {
    let targets = targets();
    let bars = [bar(), bar()];
    targets.show(RAM, bars[0].clone());
    targets.show(RAM + LENGTH, bars[1].clone());
    let pieces = found(&targets, RAM - 0x1000, 0x1000 + LENGTH + 0x1000).unwrap();
    assert_eq!(pieces[1..], [(bars[0].address() as u64, LENGTH), (bars[1].address() as u64, 0x1000)]);
    assert_eq!(pieces[0].1, 0x1000);
}

#[test]
fn a_bar_stays_mapped_while_a_piece_of_it_is_in_use() {
    let (targets, bar) = (targets(), bar());
    targets.show(BAR, bar.clone());
    let pieces = targets.pieces(GuestAddress(BAR), LENGTH).unwrap();
    targets.hide(BAR);
    assert_eq!(Arc::strong_count(&bar), 2);
    drop(pieces);
    assert_eq!(Arc::strong_count(&bar), 1);
}
