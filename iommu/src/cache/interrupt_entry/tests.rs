use super::*;

#[test]
fn an_invalidation_takes_exactly_the_entries_it_names() {
    for (first, count) in [(8, 1), (8, 8), (0, 64), (0, 128), (0x8000, 0x8000), (0xFFFF, 1)] {
        let cache = InterruptEntryCache::new();
        let indices: Vec<u16> = vec![0, 7, 8, 9, 15, 16, 63, 64, 127, 128, 0x7FFF, 0x8000, 0xFFFF];
        for index in &indices {
            cache.fill(cache.epoch(), *index, InterruptEntry([u64::from(*index), 1]));
        }
        cache.invalidate(EntryRange::Some { first, count });
        for index in indices {
            let named = (u32::from(first)..u32::from(first) + count).contains(&u32::from(index));
            let expected = (!named).then_some(InterruptEntry([u64::from(index), 1]));
            assert_eq!(cache.get(index), expected, "{first} {count} {index}");
        }
    }
}

#[test]
fn a_global_invalidation_leaves_nothing() {
    let cache = InterruptEntryCache::new();
    cache.fill(cache.epoch(), 0, InterruptEntry([1, 1]));
    cache.invalidate(EntryRange::All);
    assert_eq!(cache.get(0), None);
}
