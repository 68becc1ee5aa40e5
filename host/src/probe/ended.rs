//! How a process ended and what it said before, as people read it, in one line.

use super::limits::OUTPUT;
use std::fs::File;
use std::io;
use std::process::ExitStatus;

/// The most that is repeated of what a library printed, in characters.
const SAID: usize = 200;

/// What a library did to its process: `it ended its process with status 3`.
pub fn how(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(number) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match number {
            libc::SIGXFSZ => format!("it wrote more than {} MiB", OUTPUT >> 20),
            libc::SIGXCPU => "it used up its time on the processor".into(),
            libc::SIGKILL => "its process was killed (SIGKILL: by itself, by somebody, or for want of memory)".into(),
            _ => format!("its process ended by {}", signal(number)),
        };
    }
    status.code().map_or_else(|| "its process ended".into(), |code| format!("it ended its process with status {code}"))
}

/// A signal's name and what it commonly means. Safe in signal handlers.
#[cfg(unix)]
pub fn signal(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => "SIGABRT (abort)",
        libc::SIGSEGV => "SIGSEGV (an address that is not its own, or no room left on its stack)",
        libc::SIGBUS => "SIGBUS (an address that is not there)",
        libc::SIGILL => "SIGILL (an instruction that this processor does not know)",
        libc::SIGFPE => "SIGFPE (a division by zero)",
        libc::SIGTRAP => "SIGTRAP (a breakpoint)",
        libc::SIGSYS => "SIGSYS (a system call that does not exist)",
        libc::SIGTERM => "SIGTERM",
        libc::SIGALRM => "SIGALRM",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGHUP => "SIGHUP",
        _ => "a signal",
    }
}

/// A file without a name for what a library prints, in memory where the system has such files:
/// unlike a pipe it never fills, and nobody waits for its end.
///
/// # Errors
/// The system has none to give.
pub fn file() -> io::Result<File> {
    #[cfg(target_os = "linux")]
    if let Ok(file) = rustix::fs::memfd_create("pocketflow-probe", rustix::fs::MemfdFlags::CLOEXEC) {
        return Ok(file.into());
    }
    tempfile::tempfile()
}

/// The first bytes of a file. The process that writes it may share its position.
#[cfg(unix)]
fn prefix(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len().min(limit);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(not(unix))]
fn prefix(mut file: &File, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `; it said: …`, or nothing.
pub fn said(file: &File) -> String {
    let bytes = prefix(file, 4096).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(plain).filter(|line| !line.is_empty()).collect();
    let joined = lines.join(" / ");
    let cut = joined.chars().nth(SAID).map_or("", |_| "…");
    let joined: String = joined.chars().take(SAID).collect();
    if joined.is_empty() { joined } else { format!("; it said: {joined}{cut}") }
}

/// Without what would move the cursor or change colours.
fn plain(line: &str) -> String {
    let text: String = line.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_said_is_one_short_line() {
        let mut file = file().unwrap();
        assert_eq!(said(&file), "");
        file.write_all(b"\n\x1b[31mfirst\n  second \n").unwrap();
        assert_eq!(said(&file), "; it said: [31mfirst / second");
        file.write_all(&[b'x'; 10_000]).unwrap();
        assert!(said(&file).ends_with("xxx…") && said(&file).chars().count() < 230);
    }
}
