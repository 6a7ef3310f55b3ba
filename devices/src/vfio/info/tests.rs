use super::*;

/// An answer with a head of 16 bytes and capabilities (id, next, content) one after the other.
fn answer(capabilities: &[(u16, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    for (id, next, content) in capabilities {
        bytes.extend_from_slice(&id.to_ne_bytes());
        bytes.extend_from_slice(&1_u16.to_ne_bytes());
        bytes.extend_from_slice(&next.to_ne_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}

#[test]
fn a_capability_is_found_behind_others() {
    let bytes = answer(&[(1, 28, &[1, 1, 1, 1]), (7, 0, &[9, 8, 7, 6])]);
    assert_eq!(capability(&bytes, 16, 7), Some(&[9, 8, 7, 6][..]));
    assert_eq!(capability(&bytes, 16, 2), None);
    assert_eq!(capability(&bytes, 0, 7), None);
}

#[test]
fn a_chain_that_loops_or_leaves_the_answer_ends() {
    let looping = answer(&[(1, 16, &[])]);
    assert_eq!(capability(&looping, 16, 2), None);
    let outside = answer(&[(1, 4000, &[])]);
    assert_eq!(capability(&outside, 16, 2), None);
    assert_eq!(capability(&outside, u32::MAX, 1), None);
}

#[test]
fn words_outside_the_answer_read_zero() {
    assert_eq!(word(&[1, 0, 0, 0], 0), 1);
    assert_eq!(word(&[1, 0, 0, 0], 2), 0);
    assert_eq!(long(&[1, 0, 0, 0], 0), 0);
}
