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
                if env("SHOW") > 0.0 && r >= 92 {
                    println!(
                        "  {seed} {r} {:?} asked {:?} {:?} {rew:.3}",
                        order(5, seed, r, random),
                        p.asked.take().iter().map(|a| (a * 10.0).round() / 10.0).collect::<Vec<_>>(),
                        b
                    );
                } else {
                    p.asked.take();
                }
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

#[test]
fn large() {
    let k = env("K").max(1.0) as usize;
    let n = 200u64;
    let mut params = vec![2304u64; 6];
    params.extend([512, 4608, 9216, 9216, 9216, 9216, 9216, 2048, 18432, 36864, 36864, 36864, 36864, 36864]);
    for prob in 0..3u64 {
        let sens: Vec<f64> = (0..20u64).map(|l| 30f64.powf((mixu(prob, l) % 1000) as f64 / 1000.0)).collect();
        let p = Bits::new(&params, &sens, 2.5);
        // Lagrange
        let mut opt = (0.0, vec![]);
        for i in 0..4000 {
            let lam = 10f64.powf(-9.0 + i as f64 * 0.002);
            let b: Vec<u32> = (0..20)
                .map(|l| {
                    (2..=8u32)
                        .min_by(|x, y| {
                            let f = |b: u32| sens[l] * 0.25f64.powi(b as i32) + lam * params[l] as f64 * b as f64;
                            f(*x).total_cmp(&f(*y))
                        })
                        .unwrap()
                })
                .collect();
            if p.cost(&b) <= p.budget && p.reward(&b) > opt.0 {
                opt = (p.reward(&b), b);
            }
        }
        let t = std::time::Instant::now();
        let mut line = String::new();
        for seed in 0..3u64 {
            let mut a = agent();
            a.prepare(&p.space(if env("RAND") > 0.0 { 4 * n as usize } else { n as usize }, seed)).unwrap();
            let mut best = f64::NEG_INFINITY;
            let mut q = [0.0; 4];
            for r in 0..n {
                let b = p.roll_out(&mut a, &order(20, seed, r, true));
                let rew = p.reward(&b);
                best = best.max(rew);
                q[(r * 4 / n) as usize] += rew / n as f64 * 4.0 / opt.0;
                if r + 1 >= n / 4 && env("RAND") == 0.0 {
                    for _ in 0..20 * k {
                        a.learn().unwrap();
                    }
                }
            }
            line += &format!(" {:.3}({:.2} {:.2} {:.2} {:.2})", best / opt.0, q[0], q[1], q[2], q[3]);
        }
        println!("opt {:.4} {:?} {:.1}s\n  {line}", opt.0, opt.1, t.elapsed().as_secs_f64());
    }
}
