//! Workers that are processes of their own, on one machine or several: they find each other through
//! libtorch's TCPStore and add tensors up with Gloo.

use super::{Reduction, Workers};
use crate::kernels::Processes;
use pocketflow::error::Context;
use pocketflow::workers::Group;
use pocketflow::{Error, Result};
use std::net::{ToSocketAddrs, UdpSocket};
use tch::Tensor;

/// This process and the others of its group.
pub struct Together {
    group: Group,
    processes: Processes,
}

impl Together {
    /// Joins the group, and sees to it that all workers have the same `facts`: lines of a name, a
    /// tab and a value.
    ///
    /// # Errors
    /// A group that does not come together within its time; a fact that differs, with both values.
    pub fn join(group: &Group, facts: &str) -> Result<Self> {
        let Group { rank, size, host, port, .. } = group;
        if rank >= size {
            return Err(Error::config(format!(
                "this worker has the rank {rank} in a group of {size}: ranks go from 0 to {}",
                size - 1
            )));
        }
        let met = || {
            let address = own_address(host, *port)?;
            Processes::join(group, &address)
        };
        let processes = met().with_context(|| {
            format!(
                "worker {rank} of {size} did not meet the others at {host}:{port} within {} s; see that all of them \
                 run, reach that address, and have ranks of their own",
                group.join_seconds()
            )
        })?;
        let together = Self { group: group.clone(), processes };
        together.compare(facts)?;
        Ok(together)
    }

    /// Compares what must be the same for all with worker 0's.
    fn compare(&self, facts: &str) -> Result<()> {
        let first = String::from_utf8_lossy(&self.share(facts.as_bytes().to_vec())?).into_owned();
        let difference = difference(&first, facts);
        let any = self.any(difference.is_some())?;
        match difference {
            Some((name, theirs, ours)) => Err(Error::config(format!(
                "`{name}` is {ours} for worker {} and {theirs} for worker 0: give all workers the same",
                self.group.rank
            ))),
            None if any => Err(Error::config("another worker was started with other settings than this one")),
            None => Ok(()),
        }
    }

    fn answered<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| {
            let Group { rank, size, timeout, .. } = self.group;
            format!(
                "worker {rank} of {size} waits for another one that ended, or did not answer within {timeout} s; what \
                 that one says is the cause"
            )
        })
    }
}

impl Workers for Together {
    fn rank(&self) -> u32 {
        self.group.rank
    }

    fn size(&self) -> u32 {
        self.group.size
    }

    fn reduce(&self, tensors: &mut [Tensor], how: Reduction) -> Result<()> {
        self.answered(self.processes.reduce(tensors, how))
    }

    fn broadcast(&self, tensors: &mut [Tensor]) -> Result<()> {
        self.answered(self.processes.broadcast(tensors))
    }
}

/// Returns the first fact that is not the same in both, with both values.
fn difference<'a>(first: &'a str, second: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let parsed = |text: &'a str| text.lines().filter_map(|line| line.split_once('\t'));
    let absent = "not there";
    let value =
        |text: &'a str, name: &str| parsed(text).find(|(own, _)| *own == name).map_or(absent, |(_, value)| value);
    let names = parsed(first).chain(parsed(second)).map(|(name, _)| name);
    names.map(|name| (name, value(first, name), value(second, name))).find(|(_, first, second)| first != second)
}

/// Returns the address of this machine from which `host` is reached: the others reach it there.
fn own_address(host: &str, port: u16) -> Result<String> {
    let resolved = (host, port).to_socket_addrs().map_err(Error::from);
    let to = resolved
        .and_then(|mut all| all.next().ok_or_else(|| Error::config("the name has no address")))
        .with_context(|| format!("`{host}` is no address of a machine"))?;
    let local = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // Nothing is sent: the system only chooses the way.
    let chosen = UdpSocket::bind(local).and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
    Ok(chosen.map_err(Error::from).with_context(|| format!("no way leads to {to}"))?.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use tch::{Device, Kind};

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn group(rank: u32, size: u32, port: u16) -> Group {
        let mut group = Group::alone();
        (group.rank, group.size, group.port, group.timeout) = (rank, size, port, 60);
        (group.host, group.serves) = ("127.0.0.1".into(), true);
        group
    }

    /// What each worker of three makes of itself, in the order of ranks.
    fn each<T: Send + 'static>(work: fn(&Together) -> T) -> Vec<T> {
        let port = free_port();
        let workers: Vec<_> = (0..3)
            .map(|rank| std::thread::spawn(move || work(&Together::join(&group(rank, 3, port), "seed\t1").unwrap())))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    }

    #[test]
    fn tensors_become_sums_means_and_extremes() {
        let found = each(|workers| {
            let rank = f64::from(workers.rank());
            let own = || [Tensor::full([2, 2], rank, (Kind::Float, Device::Cpu)), Tensor::from(rank as f32 + 10.0)];
            let results = [Reduction::Sum, Reduction::Min, Reduction::Max].map(|how| {
                let mut tensors = own();
                workers.reduce(&mut tensors, how).unwrap();
                [tensors[0].double_value(&[1, 1]), tensors[1].double_value(&[])]
            });
            let mut mean = own();
            workers.mean(&mut mean).unwrap();
            (results, mean[0].double_value(&[0, 0]))
        });
        assert_eq!(found, vec![([[3.0, 33.0], [0.0, 10.0], [2.0, 12.0]], 1.0); 3]);
    }

    #[test]
    fn worker_0_gives_and_everybody_is_asked() {
        let found = each(|workers| {
            let mut tensor = [Tensor::from_slice(&[i64::from(workers.rank()) + 5])];
            workers.broadcast(&mut tensor).unwrap();
            let bytes = workers.share(vec![workers.rank() as u8; 3 + workers.rank() as usize]).unwrap();
            let nothing = workers.share(Vec::new()).unwrap();
            let any = [workers.any(workers.rank() == 2).unwrap(), workers.any(false).unwrap()];
            (tensor[0].int64_value(&[0]), bytes, nothing, any)
        });
        assert_eq!(found, vec![(5, vec![0, 0, 0], vec![], [true, false]); 3]);
    }

    #[test]
    fn what_differs_is_named_by_all() {
        let port = free_port();
        let join = move |rank, facts: &'static str| {
            std::thread::spawn(move || {
                Together::join(&group(rank, 2, port), facts).err().expect("they differ").to_string()
            })
        };
        let (first, second) = (join(0, "seed\t1\nnet\ta"), join(1, "seed\t1\nnet\tb"));
        assert!(first.join().unwrap().contains("another worker was started with other settings"));
        assert_eq!(second.join().unwrap(), "`net` is b for worker 1 and a for worker 0: give all workers the same");
    }

    #[test]
    fn nobody_there_is_an_error_with_the_address() {
        let mut lonely = group(1, 2, free_port());
        lonely.timeout = 1;
        let error = Together::join(&lonely, "").err().expect("nobody serves").to_string();
        assert!(error.contains(&format!("127.0.0.1:{}", lonely.port)) && error.contains("within 4 s"), "{error}");
        let out = Together::join(&group(2, 2, 1), "").err().unwrap().to_string();
        assert!(out.contains("rank 2 in a group of 2"), "{out}");
    }
}
