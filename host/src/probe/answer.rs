//! What a probe says, through a pipe that is read while it works and whose end nobody waits for:
//! that comes late where the library has started processes of its own. (A file would fall under the
//! user's limit on file sizes.)
//!
//! One byte for each stage that was begun, then a mark, the length and the answer as MessagePack.

use pocketflow::abi::Declared;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};

/// The most that a library may declare. The largest of this repository declares a thousandth of it.
pub const MAX_DECLARED: usize = 4 << 20;

/// After the stages.
const MARK: u8 = b'=';

/// What a library answers, or the program that opened it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Declared(Vec<Declared>),
    /// The library's own fault.
    Refused {
        reason: String,
    },
    /// The fault of another file, as a library that it needs.
    Unloadable {
        reason: String,
    },
}

/// How far a probe has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Start,
    Libtorch,
    Opening,
    Asking,
}

impl Stage {
    /// Tells the waiting process.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(self, mut file: &File) -> io::Result<()> {
        file.write_all(&[self as u8])
    }

    /// The last stage that was begun.
    pub fn reached(heard: &[u8]) -> Self {
        let stages = [Self::Libtorch, Self::Opening, Self::Asking];
        let begun = |stage: &Self| heard.iter().take(3).any(|byte| *byte == *stage as u8);
        stages.into_iter().rev().find(begun).unwrap_or(Self::Start)
    }
}

impl fmt::Display for Stage {
    /// When that was: after the name of what happened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "before it was opened",
            Self::Libtorch => "while libtorch was opened for it",
            Self::Opening => "while it was opened",
            Self::Asking => "when it was asked for its plugins",
        })
    }
}

/// # Errors
/// The answer cannot be written.
pub fn write(mut file: impl Write, answer: &Answer) -> io::Result<()> {
    let bytes = rmp_serde::to_vec_named(answer).map_err(io::Error::other)?;
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    file.write_all(&[&[MARK][..], &length.to_le_bytes(), &bytes].concat())
}

/// `None`: there is no whole answer.
pub fn read(heard: &[u8]) -> Option<Answer> {
    let start = heard.iter().position(|byte| *byte == MARK)?;
    let (length, rest) = heard[start + 1..].split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    rmp_serde::from_slice(rest.get(..length)?).ok()
}

/// The waiting end.
#[derive(Debug)]
pub struct Ear {
    pipe: PipeReader,
    pub heard: Vec<u8>,
}

impl Ear {
    /// # Errors
    /// The system refuses to read without waiting.
    pub fn new(pipe: PipeReader) -> io::Result<Self> {
        #[cfg(unix)]
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe, heard: Vec::new() })
    }

    /// Takes what was said since, without waiting for more.
    pub fn listen(&mut self) {
        let mut buffer = [0; 1 << 14];
        // Nobody says more than that; the rest stays in the pipe and stops who does.
        while self.heard.len() < 2 * MAX_DECLARED {
            match self.pipe.read(&mut buffer) {
                Ok(count) if count > 0 => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_whole_or_not_at_all() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut ear = Ear::new(reader).unwrap();
        ear.listen();
        assert_eq!(Stage::reached(&ear.heard), Stage::Start);
        for stage in [Stage::Libtorch, Stage::Opening, Stage::Asking] {
            writer.write_all(&[stage as u8]).unwrap();
            ear.listen();
            assert_eq!(Stage::reached(&ear.heard), stage);
            assert!(read(&ear.heard).is_none());
        }
        write(&writer, &Answer::Refused { reason: "it is old".into() }).unwrap();
        ear.listen();
        assert!(matches!(read(&ear.heard), Some(Answer::Refused { reason }) if reason == "it is old"));
        for cut in 0..ear.heard.len() {
            assert!(read(&ear.heard[..cut]).is_none(), "of {cut} bytes");
        }
    }
}
