use super::environment::Environment;
use super::*;
use crate::options::host_options;
use pocketflow::settings::Settings;

fn read(variables: &[(&str, &str)]) -> Result<Environment> {
    Environment::read(&|name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned()))
}

fn group(rank: u32, size: u32, local: u32, serves: bool) -> Environment {
    let said_by = String::new();
    Environment::Group { rank, size, local, host: "10.0.0.1".into(), port: 29_500, serves, said_by }
}

/// The environment without the words for messages.
fn heard(variables: &[(&str, &str)]) -> Environment {
    match read(variables).unwrap() {
        Environment::Group { rank, size, local, host, port, serves, .. } => {
            Environment::Group { rank, size, local, host, port, serves, said_by: String::new() }
        }
        Environment::Silent => Environment::Silent,
    }
}

#[test]
fn every_starter_is_understood() {
    let master = ("MASTER_ADDR", "10.0.0.1");
    assert_eq!(heard(&[]), Environment::Silent);
    assert_eq!(heard(&[master, ("RANK", "0"), ("WORLD_SIZE", "1")]), Environment::Silent);
    assert_eq!(heard(&[master, ("RANK", "1"), ("WORLD_SIZE", "4")]), group(1, 4, 1, true));
    let agent = ("TORCHELASTIC_USE_AGENT_STORE", "True");
    assert_eq!(heard(&[master, ("RANK", "1"), ("WORLD_SIZE", "4"), agent]), group(1, 4, 1, false));
    assert_eq!(heard(&[master, ("SLURM_PROCID", "2"), ("SLURM_STEP_NUM_TASKS", "3")]), group(2, 3, 1, true));
    assert_eq!(
        heard(&[("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"), ("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "3")]),
        group(0, 3, 1, true)
    );
    let mpi = [master, ("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")];
    assert_eq!(heard(&mpi), group(1, 2, 1, true));
    let pet = [
        ("PET_NNODES", "3"),
        ("PET_NODE_RANK", "1"),
        ("PET_NPROC_PER_NODE", "2"),
        ("PET_MASTER_ADDR", "10.0.0.1"),
        ("PET_MASTER_PORT", "29500"),
    ];
    assert_eq!(heard(&pet), group(2, 6, 2, true));
    // The workers that such a process starts are told as torchrun tells them.
    assert_eq!(heard(&[&pet[..], &[master, ("RANK", "3"), ("WORLD_SIZE", "6")]].concat()), group(3, 6, 1, true));
    // A batch job of Slurm that is no step of srun has no ranks.
    assert_eq!(heard(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]), Environment::Silent);
}

#[test]
fn what_does_not_go_together_is_named() {
    let master = ("MASTER_ADDR", "10.0.0.1");
    for (variables, words) in [
        (vec![master, ("RANK", "0")], "WORLD_SIZE is not"),
        (vec![master, ("RANK", "4"), ("WORLD_SIZE", "4")], "worker 4 of 4"),
        (vec![master, ("RANK", "-1"), ("WORLD_SIZE", "4")], "RANK = `-1`"),
        (vec![("RANK", "1"), ("WORLD_SIZE", "4")], "MASTER_ADDR is not set"),
        (vec![master, ("RANK", "1"), ("WORLD_SIZE", "4"), ("MASTER_PORT", "0")], "MASTER_PORT = `0`"),
        (vec![master, ("RANK", "1"), ("WORLD_SIZE", "4"), ("MASTER_PORT", "high")], "MASTER_PORT = `high`"),
        (vec![("PET_NNODES", "2")], "PET_NODE_RANK is not"),
    ] {
        let error = read(&variables).unwrap_err().to_string();
        assert!(error.contains(words), "{variables:?}: {error}");
    }
}

fn settings(n: u32) -> Settings {
    let mut settings = Settings::defaults([(OWNER, host_options())]);
    settings.derive(HostOptions::n().name(), i64::from(n), "a test");
    settings
}

#[test]
fn n_starts_workers_here_and_the_environment_says_otherwise() {
    let alone = Place::by(&settings(1), &Environment::Silent).unwrap();
    assert!(alone.group.is_alone() && alone.starts.is_empty());
    let three = Place::by(&settings(3), &Environment::Silent).unwrap();
    assert_eq!((three.group.rank, three.group.size, three.starts), (0, 3, vec![1, 2]));
    assert!(three.group.serves && three.group.port > 0 && three.group.host == "127.0.0.1");
    let told = Place::by(&settings(1), &group(2, 6, 2, true)).unwrap();
    assert_eq!((told.group.rank, told.group.size, told.starts), (2, 6, vec![3]));
    let other = Place::by(&settings(4), &group(0, 2, 1, true)).unwrap_err().to_string();
    assert!(other.contains("`n` = 4") && other.contains("2 workers"), "{other}");
}

#[test]
fn facts_leave_out_paths_and_what_is_each_machines_own() {
    let specs = host_options();
    let facts = facts(&settings(2), specs.iter());
    assert!(facts.contains("seed\t0\n") && facts.contains("n\t2\n"), "{facts}");
    for key in ["save_path", "threads", "device", "resume", "run_dir"] {
        assert!(!facts.contains(&format!("{key}\t")), "{key}: {facts}");
    }
}
