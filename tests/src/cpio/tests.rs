use super::Archive;

/// Reads an archive back: (name, mode, content) of every entry before the trailer.
fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let field = |at: usize, index: usize| {
        let start = at + 6 + index * 8;
        u32::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16).unwrap()
    };
    let mut at = 0;
    let mut found = Vec::new();
    loop {
        assert_eq!(&bytes[at..at + 6], b"070701", "entry {} is misaligned", found.len());
        let (mode, size, name_size) = (field(at, 1), field(at, 6) as usize, field(at, 11) as usize);
        let name = String::from_utf8(bytes[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
        let content = (at + 110 + name_size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            return found;
        }
        found.push((name, mode, bytes[content..content + size].to_vec()));
        at = (content + size).next_multiple_of(4);
    }
}

#[test]
fn entries_come_back_with_their_content() {
    let mut archive = Archive::new();
    archive.program("/bin/tool", b"abc").link("/bin/alias", "tool").character_device("/dev/console", 5, 1);
    let bytes = archive.finish();
    assert_eq!(bytes.len() % 512, 0);
    let entries = entries(&bytes);
    let names: Vec<_> = entries.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["bin", "bin/tool", "bin/alias", "dev", "dev/console"]);
    assert_eq!(entries[1].1, 0o100_755);
    assert_eq!(entries[1].2, b"abc");
    assert_eq!(entries[2].2, b"tool");
}

#[test]
fn a_folder_is_written_once_and_before_what_it_holds() {
    let mut archive = Archive::new();
    archive.file("a/b/c", 0o644, b"1").file("a/b/d", 0o644, b"2").folder("a/b");
    let names: Vec<_> = entries(&archive.finish()).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d"]);
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let write = || {
        let mut archive = Archive::new();
        archive.file("x", 0o600, &[7; 1000]);
        archive.finish()
    };
    assert_eq!(write(), write());
}
