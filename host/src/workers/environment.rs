//! What programs that start workers say of them in the environment. The first that says anything
//! counts:
//!
//! - `RANK`, `WORLD_SIZE`: torchrun's, and those of `host -n` itself. With
//!   `TORCHELASTIC_USE_AGENT_STORE` torchrun keeps the store at which workers meet;
//!   `TORCHELASTIC_ERROR_FILE` is where it looks for the cause of a failure.
//! - `PET_NNODES`, `PET_NODE_RANK`, `PET_NPROC_PER_NODE`: Kubeflow's TrainJob. This process starts
//!   the other workers of its node.
//! - `SLURM_PROCID`, `SLURM_STEP_NUM_TASKS`: Slurm's srun.
//! - `OMPI_COMM_WORLD_RANK`, `OMPI_COMM_WORLD_SIZE`: Open MPI's mpirun.
//!
//! Worker 0 is at `MASTER_ADDR` and `MASTER_PORT`, else at `PET_MASTER_ADDR` and
//! `PET_MASTER_PORT`, else at `SLURM_LAUNCH_NODE_IPADDR`.

use pocketflow::{Error, Result};

/// The port where nobody chose one; PyTorch's.
const PORT: u16 = 29_500;

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// Nothing of workers.
    Silent,
    Group {
        rank: u32,
        size: u32,
        /// How many workers, this one included, this process is to be on its machine.
        local: u32,
        host: String,
        port: u16,
        serves: bool,
        /// Names the variables.
        said_by: String,
    },
}

impl Environment {
    pub fn of_process() -> Result<Self> {
        Self::read(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Reads variables.
    ///
    /// # Errors
    /// One that is missing beside the others, or no number; a rank beyond the group.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str| -> Result<Option<u32>> {
            let parse = |text: String| {
                text.parse().map_err(|_| Error::config(format!("{name} = `{text}` is no number of workers or rank")))
            };
            get(name).map(parse).transpose()
        };
        // By pairs of rank and size: where one is there, so is the other.
        let pairs = [
            ("RANK", "WORLD_SIZE"),
            ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
            ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ];
        let (mut rank, mut size, mut local, mut names) = (0, 1, 1, String::new());
        if let Some(nodes) = number("PET_NNODES")?.filter(|_| get("RANK").is_none()) {
            let node = number("PET_NODE_RANK")?
                .ok_or_else(|| Error::config("PET_NNODES is set, and PET_NODE_RANK is not: set both, or none"))?;
            local = number("PET_NPROC_PER_NODE").unwrap_or_default().unwrap_or(1);
            (rank, size, names) = (node * local, nodes * local, "PET_NNODES".into());
        } else {
            for (rank_name, size_name) in pairs {
                match (number(rank_name)?, number(size_name)?) {
                    (Some(own), Some(all)) => {
                        (rank, size, names) = (own, all, format!("{rank_name} and {size_name}"));
                        break;
                    }
                    (Some(_), None) if rank_name == "RANK" => {
                        return Err(Error::config(format!(
                            "{rank_name} is set, and {size_name} is not: set both, or none"
                        )));
                    }
                    _ => {}
                }
            }
        }
        if size <= 1 {
            return Ok(Self::Silent);
        }
        if rank >= size {
            return Err(Error::config(format!(
                "the environment ({names}) says that this is worker {rank} of {size}: ranks go from 0 to {}",
                size - 1
            )));
        }
        let host = ["MASTER_ADDR", "PET_MASTER_ADDR", "SLURM_LAUNCH_NODE_IPADDR"].into_iter().find_map(get);
        let host = host.ok_or_else(|| {
            Error::config(format!(
                "the environment ({names}) says that there are {size} workers, and MASTER_ADDR is not set: give the \
                 address of worker 0"
            ))
        })?;
        let port = ["MASTER_PORT", "PET_MASTER_PORT"].into_iter().find_map(|name| Some((name, get(name)?)));
        let port = match port {
            None => PORT,
            Some((name, text)) => text
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| Error::config(format!("{name} = `{text}` is no port: a number from 1 to 65535")))?,
        };
        let agent = get("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Ok(Self::Group { rank, size, local, host, port, serves: !agent, said_by: format!("the environment ({names})") })
    }
}

/// How many workers share this machine, this one included.
pub fn local_size() -> usize {
    let names = ["LOCAL_WORLD_SIZE", "PET_NPROC_PER_NODE", "SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_LOCAL_SIZE"];
    let said = names.into_iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
    said.unwrap_or(1).max(1)
}
