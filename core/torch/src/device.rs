//! The device and the threads that a job runs on. One for the process's job: whatever makes tensors
//! asks here where they belong.

use crate::{kernels, torch_error};
use pocketflow::Result;
use pocketflow::settings::Settings;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tch::{Cuda, Device, Tensor};

/// The GPU's number; negative: the CPU.
static GPU: AtomicI64 = AtomicI64::new(-1);
static MIXED: AtomicBool = AtomicBool::new(false);

/// Takes `device`, `threads` and `amp` from the settings and sets libtorch up.
///
/// # Errors
/// A device that is not there; mixed precision on the CPU; more workers than one.
pub fn prepare(settings: &Settings) -> Result<()> {
    let wanted: String = settings.get("device")?;
    let gpus = Cuda::device_count().max(0);
    let gpu = choose(&wanted, gpus).map_err(|problem| settings.invalid("device", &problem))?;
    let mixed = settings.find::<bool>("amp")?.unwrap_or(false);
    if mixed && gpu.is_none() {
        return Err(settings.invalid("amp", "mixed precision needs a GPU, and this job runs on the CPU; leave it out"));
    }
    if settings.find::<u32>("n")?.unwrap_or(1) > 1 {
        return Err(settings.invalid("n", "this version trains with one worker; leave it out"));
    }
    GPU.store(gpu.unwrap_or(-1), Ordering::Relaxed);
    MIXED.store(mixed, Ordering::Relaxed);
    let threads: i32 = settings.find::<u32>("threads")?.unwrap_or(0).try_into().unwrap_or(i32::MAX);
    if threads > 0 {
        tch::set_num_threads(threads);
    }
    kernels::keep_memory()
}

/// The GPU of `wanted`: `cpu`, `cuda:N`, or `auto`, the first where there is one. Any other word is
/// an error: a misspelt GPU must not become the CPU without a word.
fn choose(wanted: &str, gpus: i64) -> Result<Option<i64>, String> {
    let number = match wanted {
        "auto" => return Ok((gpus > 0).then_some(0)),
        "cpu" => return Ok(None),
        _ => wanted.strip_prefix("cuda:"),
    };
    // Digits alone: `parse` takes signs.
    let number = number.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match number.map(str::parse::<i64>) {
        None | Some(Err(_)) => Err("expected auto, cpu or cuda:N with the number of a GPU, as cuda:0".into()),
        Some(Ok(number)) if number < gpus => Ok(Some(number)),
        Some(_) if gpus == 0 => {
            Err("libtorch sees no GPU here: the machine has none, its driver does not work, or this \
                                     libtorch has no CUDA half (point LIBTORCH to a CUDA build of the same version); \
                                     use `cpu` or `auto`"
                .into())
        }
        Some(_) => Err(format!("there are {gpus} GPUs, cuda:0 to cuda:{}", gpus - 1)),
    }
}

/// Where the job's tensors belong.
pub fn current() -> Device {
    usize::try_from(GPU.load(Ordering::Relaxed)).map_or(Device::Cpu, Device::Cuda)
}

/// Whether the job trains in mixed precision.
pub fn mixed() -> bool {
    MIXED.load(Ordering::Relaxed)
}

/// The tensor, moved to the job's device.
///
/// # Errors
/// Out of memory there.
pub fn place(tensor: Tensor) -> Result<Tensor> {
    match current() {
        Device::Cpu => Ok(tensor),
        device => tensor.f_to_device(device).map_err(|error| torch_error("move a tensor to the GPU", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn takes_what_is_there_and_says_what_is_not() {
        assert_eq!(choose("auto", 0), Ok(None));
        assert_eq!(choose("cpu", 2), Ok(None));
        assert_eq!(choose("auto", 2), Ok(Some(0)));
        assert_eq!(choose("cuda:1", 2), Ok(Some(1)));
        for unknown in ["gpu", "cuda", "CUDA:0", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "CPU", ""] {
            for gpus in [0, 2] {
                assert!(choose(unknown, gpus).is_err_and(|text| text.contains("cuda:N")), "{unknown} with {gpus} GPUs");
            }
        }
        assert!(choose("cuda:2", 2).unwrap_err().contains("cuda:0 to cuda:1"));
        assert!(choose("cuda:0", 0).unwrap_err().contains("no CUDA half"));
    }
}
