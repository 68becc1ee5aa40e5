//! Which libraries a program needs at run time, read from the libraries themselves.
//!
//! A list by hand would fit one wheel; the archives of pytorch.org, other wheels and a system's
//! package each bring other libraries along.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use object::read::elf::{Dyn, ElfFile64, FileHeader};
use object::{Endianness, ReadCache, elf};

use crate::error::Error;

/// What a library says about the libraries that it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// File names of libraries.
    pub names: Vec<String>,
    /// Folders to look for them in, `$ORIGIN` standing for the library's own.
    pub search: Vec<String>,
}

impl Needs {
    /// Reads the dynamic section of `file`.
    ///
    /// # Errors
    /// [`Error::Library`] where it is no ELF library, [`Error::Io`] where it cannot be read.
    pub fn of(file: &Path) -> Result<Self, Error> {
        let cache = ReadCache::new(File::open(file).map_err(Error::io("read", file))?);
        let broken = |error: object::Error| Error::Library { path: file.to_path_buf(), problem: error.to_string() };
        let library = ElfFile64::<Endianness, _>::parse(&cache).map_err(broken)?;
        let endian = library.elf_header().endian().map_err(broken)?;
        let sections = library.elf_section_table();
        let mut needs = Self::default();
        let Some((entries, link)) = sections.dynamic(endian, &cache).map_err(broken)? else { return Ok(needs) };
        let strings = sections.strings(endian, &cache, link).map_err(broken)?;
        for entry in entries {
            let text = || entry.string(endian, strings).map(|text| String::from_utf8_lossy(text).into_owned());
            match entry.tag(endian) {
                elf::DT_NEEDED => needs.names.push(text().map_err(broken)?),
                elf::DT_RPATH | elf::DT_RUNPATH => {
                    needs.search.extend(text().map_err(broken)?.split(':').map(String::from));
                }
                _ => {}
            }
        }
        Ok(needs)
    }

    /// Where the library that says this, in `folder`, would find `name`.
    fn find(&self, name: &str, folder: &Path) -> Option<PathBuf> {
        self.search
            .iter()
            .filter_map(|search| search.strip_prefix("$ORIGIN"))
            .map(|relative| folder.join(relative.trim_start_matches('/')).join(name))
            .find(|file| file.is_file())
    }
}

/// The libraries of the libtorch in `lib` that `programs` need, directly or through one another, by
/// the name they are looked for under. What is found neither there nor beside it is the system's.
///
/// `first` are libraries in `lib` that are needed in any case.
///
/// # Errors
/// As [`Needs::of`].
pub fn needed(programs: &[&Path], first: &[&str], lib: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    let mut todo: Vec<(String, PathBuf)> = first.iter().map(|name| (String::from(*name), lib.join(name))).collect();
    for program in programs {
        let names = Needs::of(program)?.names;
        todo.extend(names.into_iter().map(|name| (name.clone(), lib.join(name))).filter(|(_, file)| file.is_file()));
    }
    while let Some((name, file)) = todo.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let needs = Needs::of(&file)?;
        let folder = file.parent().unwrap_or(lib);
        for name in &needs.names {
            let beside = Some(lib.join(name)).filter(|file| file.is_file());
            todo.extend(needs.find(name, folder).or(beside).map(|file| (name.clone(), file)));
        }
        found.insert(name, file);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A shared library made by the C compiler that building this repository needs anyway.
    fn library(file: &Path, needs: &[&Path], search: &str) {
        let source = file.with_extension("c");
        std::fs::create_dir_all(file.parent().expect("has one")).expect("created");
        std::fs::write(&source, "int made_for_a_test(void) { return 1; }\n").expect("written");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"]).arg(file).arg(&source);
        for needed in needs {
            command.arg(format!("-L{}", needed.parent().expect("has one").display()));
            command.arg(format!("-l:{}", needed.file_name().expect("has one").to_string_lossy()));
        }
        if !search.is_empty() {
            command.arg(format!("-Wl,-rpath,{search}"));
        }
        assert!(command.status().expect("cc runs").success());
    }

    #[test]
    fn the_chain_of_needs_is_followed_through_relative_paths() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        let cudart = root.join("nvidia/cu13/lib/libcudart.so");
        library(&cudart, &[], "");
        let c10 = root.join("torch/lib/libc10.so");
        library(&c10, &[], "$ORIGIN");
        let cpu = root.join("torch/lib/libtorch_cpu.so");
        library(&cpu, &[&c10, &cudart], "$ORIGIN/../../nothing:$ORIGIN/../../nvidia/cu13/lib:$ORIGIN");
        library(&root.join("torch/lib/libshm.so"), &[&cpu], "$ORIGIN");
        let plugin = root.join("plugin.so");
        library(&plugin, &[&c10], "/nowhere");

        let lib = root.join("torch/lib");
        let names = |programs: &[&Path], first: &[&str]| -> Vec<String> {
            needed(programs, first, &lib).expect("readable").into_keys().collect()
        };
        assert_eq!(names(&[&plugin], &[]), ["libc10.so"]);
        assert_eq!(names(&[&plugin], &["libtorch_cpu.so"]), ["libc10.so", "libcudart.so", "libtorch_cpu.so"]);
        assert_eq!(names(&[], &[]), [""; 0]);
        let needs = Needs::of(&cpu).expect("readable");
        assert!(needs.names.contains(&"libc10.so".into()) && needs.search.len() == 3, "{needs:?}");
    }

    #[test]
    fn what_is_no_library_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("libtext.so");
        for content in ["", "INPUT(-lfoo)", "\x7fELF\x02\x01\x01 but cut"] {
            std::fs::write(&file, content).expect("written");
            let text = Needs::of(&file).expect_err("no library").to_string();
            assert!(text.contains("libtext.so is not a readable ELF library"), "{text}");
        }
    }
}
