//! What is known of library files: from the cache, or from a first opening in processes of their
//! own, several at a time.

use super::loader::Loader;
use crate::discover::cache::{Cache, Identity, Verdict};
use crate::discover::content::ContentHash;
use crate::discover::handshake;
use crate::probe::answer::Answer;
use crate::probe::{self, Probed, limits};
use pocketflow::abi::Declared;
use pocketflow::plugin::Declaration;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What a library holds, without loading it into this process.
#[derive(Debug, Clone)]
pub struct Described {
    pub content: ContentHash,
    pub libtorch: Option<String>,
    pub declarations: Vec<Declaration>,
    /// Plugins of it that cannot say what they are.
    pub failures: Vec<String>,
}

/// A file of more bytes is read whole only if it says that it is a plugin.
const LARGE: u64 = 256 << 20;

/// A file whose verdict is found: `Err` says why it cannot be used.
type Examined = Result<Described, String>;

/// Whether verdicts of earlier probes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    Use,
    /// The library is tried again.
    Renew,
}

/// Examines files; the results are in their order.
pub fn examine(files: &[PathBuf], cache: &mut Cache, memory: Memory) -> Vec<Examined> {
    let (seconds, loader) = (limits::seconds(), Mutex::new(Loader::default()));
    let known = Known { cache: Mutex::new(cache), loader, memory, seconds };
    let results: Vec<Mutex<Option<Examined>>> = files.iter().map(|_| Mutex::new(None)).collect();
    let put = |at: usize, examined| *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(examined);
    // What the cache knows takes microseconds a file, starting a thread more.
    let mut left = Vec::new();
    for (at, path) in files.iter().enumerate() {
        match known.look_up(path) {
            Found::Known(examined) => put(at, examined),
            Found::Unknown(identity) => left.push((at, identity)),
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((at, identity)) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
            put(*at, known.find_out(identity));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(left.len());
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    let taken = results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    taken.map(|examined| examined.unwrap_or_else(|| Err("it was not looked at".into()))).collect()
}

enum Found {
    Known(Examined),
    Unknown(Identity),
}

struct Known<'a> {
    cache: Mutex<&'a mut Cache>,
    loader: Mutex<Loader>,
    memory: Memory,
    seconds: u64,
}

impl Known<'_> {
    fn look_up(&self, path: &Path) -> Found {
        let identity = match Identity::of(path) {
            Ok(identity) => identity,
            Err(error) => return Found::Known(Err(format!("cannot be read: {error}"))),
        };
        let content = self.with_cache(|cache| cache.content(&identity));
        match content.and_then(|content| self.remembered(content)) {
            Some(examined) => Found::Known(examined),
            None => Found::Unknown(identity),
        }
    }

    /// What the cache says of this content, where that still holds.
    fn remembered(&self, content: ContentHash) -> Option<Examined> {
        if self.memory == Memory::Renew {
            return None;
        }
        match self.with_cache(|cache| cache.verdict(&content).cloned())? {
            Verdict::Late { seconds, .. } if seconds < self.seconds => None,
            verdict => Some(self.examined(content, verdict)),
        }
    }

    fn find_out(&self, identity: &Identity) -> Examined {
        if let Err(error) = handshake::read(&identity.path)
            && (identity.size() > LARGE || !error.is_lasting())
        {
            return Err(error.to_string());
        }
        let content = ContentHash::of(&identity.path).map_err(|error| format!("cannot be read: {error}"))?;
        self.with_cache(|cache| cache.put_file(identity.clone(), content));
        if let Some(examined) = self.remembered(content) {
            return examined;
        }
        let verdict = self.try_out(&identity.path)?;
        // A file that was changed meanwhile is another.
        if Identity::of(&identity.path).is_ok_and(|now| now == *identity) {
            self.with_cache(|cache| cache.put_verdict(content, verdict.clone()));
        }
        self.examined(content, verdict)
    }

    /// A verdict to keep, or a reason that may pass.
    fn try_out(&self, path: &Path) -> Result<Verdict, String> {
        let handshake = match handshake::read(path) {
            Ok(handshake) => handshake,
            Err(error) if error.is_lasting() => return Ok(Verdict::Refused { reason: error.to_string() }),
            Err(error) => return Err(error.to_string()),
        };
        let libtorch = handshake.libtorch();
        self.has_libtorch(libtorch.as_deref())?;
        let again = "`host plugins check FILE` tries it again";
        match probe::probe(path, self.seconds) {
            Probed::Answer(Answer::Declared(declared)) => {
                let (mut declarations, mut failures) = (Vec::new(), Vec::new());
                for Declared { kind, name, result } in declared {
                    match result {
                        Ok(declaration) => declarations.push(declaration),
                        Err(error) => failures.push(format!("{kind} `{name}`: {error}")),
                    }
                }
                Ok(Verdict::Plugins { libtorch, declarations, failures })
            }
            Probed::Answer(Answer::Refused { reason }) => Ok(Verdict::Refused { reason }),
            Probed::Ended { reason } => Ok(Verdict::Refused { reason: format!("{reason}; {again}") }),
            Probed::Late { reason, seconds } => {
                let longer = format!("{}=60 gives it longer", limits::SECONDS_VARIABLE);
                Ok(Verdict::Late { reason: format!("{reason}; {again}, {longer}"), seconds })
            }
            Probed::Answer(Answer::Unloadable { reason }) | Probed::Untried { reason } => Err(reason),
        }
    }

    fn examined(&self, content: ContentHash, verdict: Verdict) -> Examined {
        match verdict {
            Verdict::Refused { reason } | Verdict::Late { reason, .. } => Err(reason),
            Verdict::Plugins { libtorch, declarations, failures } => {
                self.has_libtorch(libtorch.as_deref())?;
                Ok(Described { content, libtorch, declarations, failures })
            }
        }
    }

    fn has_libtorch(&self, wanted: Option<&str>) -> Result<(), String> {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.libtorch(wanted).map(drop).map_err(|error| error.to_string())
    }

    fn with_cache<T>(&self, with: impl FnOnce(&mut Cache) -> T) -> T {
        with(*self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
