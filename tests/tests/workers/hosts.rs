//! Two machines: network namespaces joined by a pair of virtual devices. They need the right to
//! make them, which root has; elsewhere the tests say that they were left out.

use super::{FULL, LONG, NET, losses, turn, under_way};
use pocketflow_tests::place::{Place, finish};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Two machines with an address each; gone with the value.
struct Machines {
    names: [String; 2],
}

fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split_whitespace()).output();
    done.is_ok_and(|output| output.status.success())
}

impl Machines {
    /// `None` where the system does not let this process make any.
    fn joined() -> Option<Self> {
        let names = [0, 1].map(|rank| format!("pocketflow-{}-{rank}", std::process::id()));
        let machines = Self { names };
        let [one, two] = &machines.names;
        let ready = ip(&format!("netns add {one}"))
            && ip(&format!("netns add {two}"))
            && ip(&format!("-n {one} link add wire type veth peer name wire netns {two}"))
            && (0..2).all(|rank| {
                let name = &machines.names[rank];
                ip(&format!("-n {name} address add 10.77.0.{}/24 dev wire", rank + 1))
                    && ip(&format!("-n {name} link set wire up"))
                    && ip(&format!("-n {name} link set lo up"))
            });
        if !ready {
            eprintln!("LEFT OUT: `ip netns` makes no network namespaces here (it needs root and iproute2)");
        }
        ready.then_some(machines)
    }

    fn start(&self, rank: usize, place: &Place, flags: &str) -> Child {
        let program = place.command(flags);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[rank]]).arg(program.get_program()).args(program.get_args());
        command.current_dir(place.path("")).env("RANK", rank.to_string()).env("WORLD_SIZE", "2");
        command.env("XDG_CONFIG_HOME", place.path(".config")).env_remove("RUST_LOG");
        command.env("MASTER_ADDR", "10.77.0.1").env("MASTER_PORT", "29555");
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    }

    fn cut(&self) {
        assert!(ip(&format!("-n {} link set wire down", self.names[1])));
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns delete {name}"));
        }
    }
}

#[test]
fn two_machines_train_what_two_workers_on_one_train() {
    let _turn = turn();
    let Some(machines) = Machines::joined() else { return };
    let [here, first, second] = [(); 3].map(|()| Place::new());
    let flags = format!("{FULL} {NET} --batch_size=32 --run_dir=run");
    let workers = [machines.start(0, &first, &flags), machines.start(1, &second, &flags)];
    let [_, other] = workers.map(|worker| finish(worker).expect(0));
    assert!(other.stdout.is_empty() && !second.path("run").exists());
    here.host(&format!("{flags} -n=2")).expect(0);
    assert_eq!(losses(&first, "run"), losses(&here, "run"));
    assert!(first.bytes("models/model.ckpt") == here.bytes("models/model.ckpt"), "another model");
}

#[test]
fn a_link_that_breaks_ends_the_run_on_both_machines_and_it_goes_on_later() {
    let _turn = turn();
    let Some(machines) = Machines::joined() else { return };
    let [first, second] = [(); 2].map(|()| Place::new());
    let flags = format!("{LONG} {NET} --batch_size=32 --save_step=1 --worker_timeout=8");
    let workers = [machines.start(0, &first, &flags), machines.start(1, &second, &flags)];
    under_way(&first);
    machines.cut();
    let start = Instant::now();
    let [one, two] = workers.map(|worker| finish(worker).expect(1).stderr);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(one.contains("worker 0 of 2 waits") && one.contains("the run in `run` failed"), "{one}");
    assert!(two.contains("worker 1 of 2 failed") && two.contains("within 8 s"), "{two}");
    let steps = losses(&first, "run").len();
    assert!(steps > 0 && first.path("run/checkpoints").exists());
    // One machine alone takes up what both have left.
    let child = first.start(&format!("{LONG} {NET} --batch_size=64 --save_step=1 --resume"));
    let start = Instant::now();
    while losses(&first, "run").len() <= steps {
        assert!(start.elapsed() < Duration::from_secs(120), "no step is taken after the break");
        std::thread::sleep(Duration::from_millis(50));
    }
    super::signal("-INT", child.id());
    let said = finish(child).expect(130).stderr;
    assert!(said.contains("of them done before"), "{said}");
}
