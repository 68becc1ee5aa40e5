//! The device and the threads that a job runs on.

use crate::kernels;
use pocketflow::Result;
use pocketflow::settings::Settings;

/// Takes `device` and `threads` from the settings and sets libtorch up.
///
/// # Errors
/// A device that is not there; more workers than one.
pub fn prepare(settings: &Settings) -> Result<()> {
    let device: String = settings.get("device")?;
    if device != "auto" && device != "cpu" {
        return Err(settings.invalid("device", "this version computes on the CPU; use `auto` or `cpu`"));
    }
    if settings.find::<u32>("n")?.unwrap_or(1) > 1 {
        return Err(settings.invalid("n", "this version trains with one worker; leave it out"));
    }
    let threads: i32 = settings.find::<u32>("threads")?.unwrap_or(0).try_into().unwrap_or(i32::MAX);
    if threads > 0 {
        tch::set_num_threads(threads);
    }
    kernels::keep_memory()
}
