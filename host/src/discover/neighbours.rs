//! Whether a library looks for others beside itself: then it must be loaded from where it lies.

use super::content::open_regular;
use object::elf;
use object::read::elf::{Dyn, ElfFile, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};
use std::path::Path;

/// Whether its run path begins at its own folder (`$ORIGIN`). A file of another form than ELF may
/// name its folder in other ways, and does; one that cannot be read is told of by who opens it.
pub fn are_looked_for(library: &Path) -> bool {
    let Ok(file) = open_regular(library) else { return false };
    let cache = ReadCache::new(file);
    match object::File::parse(&cache) {
        Ok(object::File::Elf64(file)) => in_run_path(&file, &cache).unwrap_or(false),
        Ok(object::File::Elf32(file)) => in_run_path(&file, &cache).unwrap_or(false),
        Ok(_) => true,
        Err(_) => false,
    }
}

/// `None`: the library is damaged, or has no run path. Found by segment, as the system's loader
/// does: section headers may be stripped.
fn in_run_path<'data, E: FileHeader, R: ReadRef<'data>>(file: &ElfFile<'data, E, R>, data: R) -> Option<bool> {
    let (endian, segments) = (file.endian(), file.elf_program_headers());
    let entries = segments.iter().find_map(|segment| segment.dynamic(endian, data).ok().flatten())?;
    let values = |tag: elf::DynamicTag| {
        entries.iter().filter(move |entry| entry.tag(endian) == tag).map(move |entry| entry.val(endian))
    };
    let (texts, size) = (values(elf::DT_STRTAB).next()?, values(elf::DT_STRSZ).next()?);
    let texts = segments.iter().find_map(|segment| segment.data_range(endian, data, texts, size).ok().flatten())?;
    let named = |start: u64| {
        let text = usize::try_from(start).ok().and_then(|start| texts.get(start..))?;
        text.split(|byte| *byte == 0).next()
    };
    let begins_here = |path: &[u8]| [&b"$ORIGIN"[..], b"${ORIGIN}"].iter().any(|own| find(path, own));
    Some([elf::DT_RPATH, elf::DT_RUNPATH].into_iter().flat_map(values).filter_map(named).any(begins_here))
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_run_path_tells() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str, flags: &[&str]| {
            let path = dir.path().join(name);
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-nostdlib", "-x", "c", "/dev/null", "-o"]).arg(&path).args(flags);
            assert!(compiler.status().unwrap().success(), "a C compiler is needed");
            path
        };
        for (name, flags, beside) in [
            ("plain", &[][..], false),
            ("elsewhere", &["-Wl,-rpath,/opt/lib"], false),
            ("runpath", &["-Wl,-rpath,/opt/lib:$ORIGIN/lib,--enable-new-dtags"], true),
            ("rpath", &["-Wl,-rpath,${ORIGIN},--disable-new-dtags"], true),
            ("stripped", &["-Wl,-rpath,$ORIGIN", "-s"], true),
        ] {
            assert_eq!(are_looked_for(&made(name, flags)), beside, "{name}");
        }
        assert!(!are_looked_for(&dir.path().join("nowhere")));
        std::fs::write(dir.path().join("text"), "no library").unwrap();
        assert!(!are_looked_for(&dir.path().join("text")));
    }
}
