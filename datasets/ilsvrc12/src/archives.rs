//! The original archives: a tar of one tar for each class (training) and a tar of images
//! (validation). Their headers are read once; images are read in place.

use crate::classes::Classes;
use pocketflow_pictures::folders::is_image;
use pocketflow_pictures::interleave::interleave;
use pocketflow_pictures::parallel;
use pocketflow_pictures::source::{ENCODED_MAX, Fault, Problem, Source, no_such_image, read_part};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy)]
struct Member {
    offset: u64,
    length: u32,
    label: u32,
}

/// The images of one archive.
pub struct Archive {
    path: PathBuf,
    members: Vec<Member>,
}

/// A regular file in a tar.
struct Entry {
    name: String,
    offset: u64,
    length: u64,
}

/// A part of a file, read as if it were one.
struct Section {
    file: File,
    start: u64,
    length: u64,
    at: u64,
}

impl Read for Section {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX).min(bytes.len());
        let read = self.file.read(&mut bytes[..left])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let place = at.and_then(|at| Some((at, self.start.checked_add(at)?))).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(place.1))?;
        self.at = place.0;
        Ok(place.0)
    }
}

/// The regular files in the part of `path` that is a tar; offsets count from the start of `path`.
///
/// # Errors
/// A damaged header, or a file that goes on after the end of its archive, with the byte.
fn entries(path: &Path, start: u64, length: u64) -> io::Result<Vec<Entry>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut archive = tar::Archive::new(Section { file, start, length, at: 0 });
    let mut found = Vec::new();
    let mut end = start;
    let located = |end: u64, error: &io::Error| io::Error::new(error.kind(), format!("byte {end}: {error}"));
    for entry in archive.entries_with_seek().map_err(|error| located(end, &error))? {
        let entry = entry.map_err(|error| located(end, &error))?;
        let (offset, size) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(size).is_none_or(|end| end > length) {
            let problem = format!("byte {end}: truncated, a file of {size} bytes goes on after the end of the archive");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        end = start + offset + size;
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = name.rsplit('/').next().unwrap_or_default().to_owned();
            found.push(Entry { name, offset: start + offset, length: size });
        }
    }
    Ok(found)
}

/// The classes in an archive of training images: what its members `n01440764.tar` are named after.
///
/// # Errors
/// As reading the headers; a member with another name.
pub fn wnids(path: &Path) -> io::Result<Vec<String>> {
    let whole = path.metadata()?.len();
    let names = entries(path, 0, whole)?.into_iter().map(|entry| entry.name);
    names
        .map(|name| match name.strip_suffix(".tar") {
            Some(wnid) => Ok(wnid.to_owned()),
            None => Err(io::Error::other(format!("`{name}` in it is no archive of a class, as n01440764.tar is"))),
        })
        .collect()
}

impl Archive {
    /// The training images: the first of every class, then the second of every class, and so on.
    /// What is damaged is left out and the problem returned.
    pub fn training(path: &Path, classes: &Classes, threads: usize) -> (Self, Vec<Problem>) {
        let place = path.display().to_string();
        let outer = match path.metadata().and_then(|metadata| entries(path, 0, metadata.len())) {
            Ok(outer) => outer,
            Err(error) => {
                return (
                    Self { path: path.to_owned(), members: Vec::new() },
                    vec![Problem::new(place, error.to_string())],
                );
            }
        };
        let inner = parallel::map(&outer, threads, |class| entries(path, class.offset, class.length));
        let mut problems = Vec::new();
        let mut grouped = Vec::with_capacity(outer.len());
        for (class, inner) in outer.iter().zip(inner) {
            let place = format!("{place}: {}", class.name);
            let label = class.name.strip_suffix(".tar").and_then(|wnid| classes.label(wnid));
            match (label, inner) {
                (None, _) => problems.push(Problem::new(place, "a class that is not in the list of classes")),
                (_, Err(error)) => problems.push(Problem::new(place, error.to_string())),
                (Some(label), Ok(inner)) => {
                    let images: Vec<Member> = members(&place, inner, &mut problems)
                        .into_iter()
                        .map(|(_, offset, length)| Member { offset, length, label })
                        .collect();
                    if images.is_empty() {
                        problems.push(Problem::new(place, "holds no images"));
                    }
                    grouped.push(images);
                }
            }
        }
        (Self { path: path.to_owned(), members: interleave(grouped) }, problems)
    }

    /// The validation images in the order of their names, with their labels in that order.
    pub fn validation(path: &Path, labels: &[u32]) -> (Self, Vec<Problem>) {
        let place = path.display().to_string();
        let mut problems = Vec::new();
        let mut archive = Self { path: path.to_owned(), members: Vec::new() };
        let found = match path.metadata().and_then(|metadata| entries(path, 0, metadata.len())) {
            Ok(found) => found,
            Err(error) => return (archive, vec![Problem::new(place, error.to_string())]),
        };
        let mut images = members(&place, found, &mut problems);
        images.sort_unstable();
        if images.len() != labels.len() {
            problems.push(Problem::new(
                place,
                format!("holds {} images, and there are {} labels", images.len(), labels.len()),
            ));
            return (archive, problems);
        }
        let labelled = images.into_iter().zip(labels);
        archive.members =
            labelled.map(|((_, offset, length), label)| Member { offset, length, label: *label }).collect();
        (archive, problems)
    }
}

/// Name, offset and length of the images among the files of a tar.
fn members(place: &str, entries: Vec<Entry>, problems: &mut Vec<Problem>) -> Vec<(String, u64, u32)> {
    let mut images = Vec::with_capacity(entries.len());
    for Entry { name, offset, length } in entries.into_iter().filter(|entry| is_image(&entry.name)) {
        match length {
            1..=ENCODED_MAX => images.push((name, offset, length as u32)),
            _ => problems.push(Problem::new(format!("{place}: {name}"), format!("an image of {length} bytes"))),
        }
    }
    images
}

impl Source for Archive {
    fn count(&self) -> u64 {
        self.members.len() as u64
    }

    fn read(&self, index: u64, encoded: &mut Vec<u8>) -> Result<u32, Fault> {
        let member = usize::try_from(index).ok().and_then(|index| self.members.get(index));
        let member = member.ok_or_else(|| no_such_image(index, self.count()))?;
        read_part(&self.path, member.offset, member.length.into(), encoded).map(|()| member.label)
    }

    fn place(&self, index: u64) -> String {
        let member = usize::try_from(index).ok().and_then(|index| self.members.get(index));
        let offset = member.map_or(0, |member| member.offset);
        format!("{}: image {index} (from 0) at byte {offset}", self.path.display())
    }
}
