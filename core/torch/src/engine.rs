//! What a job computes with: the device, the threads, the precision and the group of workers. A
//! value that is made once from the settings and lent to everything that makes tensors.

use crate::workers::{Alone, Together, Workers};
use crate::{kernels, torch_error};
use pocketflow::Result;
use pocketflow::job::Job;
use pocketflow::option::HostOptions;
use std::sync::Arc;
use tch::{Cuda, Device, Tensor};

/// The device and the manner in which a job computes. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    device: Device,
    mixed: bool,
    workers: Arc<dyn Workers>,
}

impl Engine {
    /// Takes `device`, `threads` and `amp` from the job's settings, prepares libtorch and joins the
    /// job's group of workers: once a job. The number of threads and the memory that is kept are
    /// libtorch's own and hold for the whole process.
    ///
    /// # Errors
    /// A device that is not there; mixed precision on the CPU; several workers on GPUs; a group
    /// that does not come together.
    pub fn new(job: &Job) -> Result<Self> {
        let settings = &job.settings;
        let wanted = settings.get(HostOptions::device())?;
        let gpu = choose(&wanted, Cuda::device_count().max(0))
            .map_err(|problem| settings.invalid(&HostOptions::device(), &problem))?;
        let mixed = settings.get(HostOptions::amp().optional())?.unwrap_or(false);
        if mixed && gpu.is_none() {
            let problem = "mixed precision needs a GPU, and this job runs on the CPU; leave it out";
            return Err(settings.invalid(&HostOptions::amp(), problem));
        }
        if gpu.is_some() && !job.group.is_alone() {
            let problem = "this version trains with one worker on a GPU; give cpu, or leave out the other workers";
            return Err(settings.invalid(&HostOptions::device(), problem));
        }
        let threads = settings.get(HostOptions::threads().optional())?.unwrap_or(0).try_into().unwrap_or(i32::MAX);
        if threads > 0 {
            tch::set_num_threads(threads);
        }
        kernels::keep_memory()?;
        let workers: Arc<dyn Workers> = match job.group.is_alone() {
            true => Arc::new(Alone),
            false => Arc::new(Together::join(&job.group, &facts(job))?),
        };
        Ok(Self { device: gpu.map_or(Device::Cpu, Device::Cuda), mixed, workers })
    }

    /// An engine of one worker on the CPU, as libtorch is: for programs without settings.
    pub fn cpu() -> Self {
        Self { device: Device::Cpu, mixed: false, workers: Arc::new(Alone) }
    }

    /// The engine of a worker of a group.
    #[must_use]
    pub fn with_workers(self, workers: Arc<dyn Workers>) -> Self {
        Self { workers, ..self }
    }

    /// Returns the device that the job's tensors belong on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns the group of workers that train together.
    pub fn workers(&self) -> &dyn Workers {
        &*self.workers
    }

    /// Returns whether the host of any worker asks to stop: all of a group stop at the same place.
    ///
    /// # Errors
    /// A worker that does not answer.
    pub fn stop_asked(&self, job: &Job) -> Result<bool> {
        self.workers.any(job.host.interrupted())
    }

    /// Moves a tensor to the job's device.
    ///
    /// # Errors
    /// Out of memory there.
    pub fn place(&self, tensor: Tensor) -> Result<Tensor> {
        match self.device {
            Device::Cpu => Ok(tensor),
            device => tensor.f_to_device(device).map_err(|error| torch_error("move a tensor to the GPU", &error)),
        }
    }

    /// Runs a forward pass of training: in mixed precision where the job asks for it.
    ///
    /// # Errors
    /// Those of `pass`; libtorch's.
    pub fn training_pass<T>(&self, pass: impl FnOnce() -> Result<T>) -> Result<T> {
        let _mixed = if self.mixed { Some(kernels::MixedPrecision::on()?) } else { None };
        pass()
    }
}

/// What must be the same for all workers of a job: lines of a name, a tab and a value.
fn facts(job: &Job) -> String {
    let info = job.dataset.info();
    let images = format!("data set\t{} of {} and {} images\n", info.name, info.train, info.eval);
    format!("libtorch\t{}\n{images}{}", crate::LIBTORCH_VERSION, job.group.facts)
}

/// Returns the number of the GPU that `wanted` names, `None` for the CPU: `cpu`, `cuda:N`, or
/// `auto`, the first GPU where there is one. Any other word is an error: a misspelt GPU must not
/// become the CPU without a word.
fn choose(wanted: &str, gpus: i64) -> Result<Option<usize>, String> {
    let number = match wanted {
        "auto" => return Ok((gpus > 0).then_some(0)),
        "cpu" => return Ok(None),
        _ => wanted.strip_prefix("cuda:"),
    };
    // Digits alone: `parse` takes signs.
    let number = number.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match number.map(str::parse::<usize>) {
        None | Some(Err(_)) => Err("expected auto, cpu or cuda:N with the number of a GPU, as cuda:0".into()),
        Some(Ok(number)) if (number as i64) < gpus => Ok(Some(number)),
        Some(_) if gpus == 0 => {
            Err("libtorch sees no GPU here: the machine has none, its driver does not work, or this \
                                     libtorch has no CUDA half (point LIBTORCH to a CUDA build of the same version); \
                                     use `cpu` or `auto`"
                .into())
        }
        Some(_) => Err(format!("there are {gpus} GPUs, cuda:0 to cuda:{}", gpus - 1)),
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
