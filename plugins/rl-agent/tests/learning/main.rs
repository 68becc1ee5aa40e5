mod bits;
use bits::Bits;
use pocketflow::agent::Agent;
use pocketflow::plugin::Plugin;
use pocketflow::settings::Settings;
use pocketflow_rl_agent::RlAgent;

fn agent() -> RlAgent {
    let settings = Settings::defaults([("rl-agent", RlAgent::options())]);
    RlAgent::configure(&settings).unwrap()
}

fn mixu(seed: u64, s: u64) -> u64 {
    pocketflow::dataset::mix(seed, s)
}
fn order(n: usize, seed: u64, r: u64, random: bool) -> Vec<usize> {
    let mut o: Vec<usize> = (0..n).collect();
    if random {
        for last in (1..n).rev() {
            o.swap(last, (mixu(mixu(seed, r), last as u64) % (last as u64 + 1)) as usize);
        }
    }
    o
}
fn env(k: &str) -> f64 {
    std::env::var(k).ok().and_then(|v| v.parse().ok()).unwrap_or(0.0)
}

#[test]
fn experiment() {
    let k = env("K").max(1.0) as usize;
    let random = env("ORD") > 0.0;
    let catch = env("CATCH") as usize;
    let problems = [
        Bits::new(&[432, 2304, 4608, 9216, 640], &[1.0, 0.3, 4.0, 2.0, 0.5], 3.0),
        Bits::new(&[1000, 1000, 1000, 1000, 1000], &[100.0, 10.0, 1.0, 0.1, 30.0], 4.0),
        Bits::new(&[500, 8000, 3000, 1000, 6000], &[1.0, 1.0, 1.0, 1.0, 1.0], 2.5),
    ];
    for p in &problems {
        let (opt, ob) = p.optimum();
        let t = std::time::Instant::now();
        let mut line = String::new();
        let mut hits = 0;
        for seed in env("S0") as u64..env("S0") as u64 + 10 {
            let mut a = agent();
            a.prepare(&p.space(if env("RAND") > 0.0 { 400 } else { 100 }, seed)).unwrap();
            let mut best = f64::NEG_INFINITY;
            let mut seen = std::collections::BTreeSet::new();
            let mut q = [0.0; 4];
            for r in 0..100u64 {
                let b = p.roll_out(&mut a, &order(5, seed, r, random));
                let rew = p.reward(&b);
                seen.insert(b);
                best = best.max(rew);
                q[r as usize / 25] += rew / 25.0 / opt;
                if r >= 24 && env("RAND") == 0.0 {
                    let n = if r == 24 { catch * 5 } else { 5 * k };
                    for _ in 0..n {
                        a.learn().unwrap();
                    }
                }
            }
            hits += (best >= 0.99 * opt) as u32;
            line += &format!(" {:.3}({:.2} {:.2} {:.2} {:.2} n{})", best / opt, q[0], q[1], q[2], q[3], seen.len());
        }
        println!("opt {opt:.4} {ob:?} rl {hits} {:.1}s\n  {line}", t.elapsed().as_secs_f64());
    }
}
