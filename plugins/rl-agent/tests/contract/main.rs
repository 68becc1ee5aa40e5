//! The agent keeps the trait's contract: repeatable, resumable, and clear about what it cannot work
//! with.

use pocketflow::ErrorKind;
use pocketflow::agent::{Agent, AgentLoss, AgentSpace, Transition};
use pocketflow::dataset::mix;
use pocketflow::option::{Key, Value};
use pocketflow::plugin::Plugin;
use pocketflow::settings::Settings;
use pocketflow_rl_agent::RlAgent;
use proptest::prelude::*;

const STEPS: usize = 3;

fn settings(changes: &[(&str, Value)]) -> Settings {
    let mut settings = Settings::defaults([("rl-agent", RlAgent::options())]);
    changes.iter().for_each(|(key, value)| settings.derive(key, value.clone(), "a test"));
    settings
}

fn agent(changes: &[(&str, Value)]) -> RlAgent {
    RlAgent::configure(&settings(changes)).unwrap()
}

fn space() -> AgentSpace {
    AgentSpace { seed: 4, ..AgentSpace::new(2, 1, 6.0, 12, STEPS) }
}

fn prepared(changes: &[(&str, Value)]) -> RlAgent {
    let mut agent = agent(changes);
    agent.prepare(&space()).unwrap();
    agent
}

fn state(rollout: usize, step: usize) -> Vec<f32> {
    vec![step as f32, (mix(rollout as u64, step as u64) % 100) as f32]
}

fn step(action: f32, rollout: usize, step: usize) -> Transition {
    let (state, next_state) = (state(rollout, step), state(rollout, step + 1));
    Transition { state, action: vec![action], next_state, terminal: step + 1 == STEPS }
}

/// Roll-outs with learning from the fourth on; actions and losses.
fn run(agent: &mut dyn Agent, rollouts: std::ops::Range<usize>) -> (Vec<f32>, Vec<AgentLoss>) {
    let (mut actions, mut losses) = (Vec::new(), Vec::new());
    for rollout in rollouts {
        agent.begin().unwrap();
        for index in 0..STEPS {
            let action = agent.act(&state(rollout, index)).unwrap()[0];
            agent.record(step(action, rollout, index)).unwrap();
            actions.push(action);
        }
        agent.finish(actions[actions.len() - 1] - 3.0).unwrap();
        if rollout >= 3 {
            losses.extend((0..4).map(|_| agent.learn().unwrap()));
        }
    }
    (actions, losses)
}

fn kinds_of_noise() -> Vec<Vec<(&'static str, Value)>> {
    let text = |text: &str| Value::Text(text.into());
    let kinds = ["param", "action"].into_iter().flat_map(|kind| ["tdecy", "adapt"].map(|protocol| (kind, protocol)));
    kinds.map(|(kind, protocol)| vec![("ddpg_noise_type", text(kind)), ("ddpg_noise_prtl", text(protocol))]).collect()
}

#[test]
fn the_seed_decides() {
    for changes in kinds_of_noise() {
        let first = run(&mut prepared(&changes), 0..12);
        assert_eq!(first, run(&mut prepared(&changes), 0..12));
        assert!(first.0.iter().all(|action| (0.0..=6.0).contains(action)));
        let mut other = agent(&changes);
        other.prepare(&AgentSpace { seed: 5, ..space() }).unwrap();
        assert_ne!(first, run(&mut other, 0..12));
    }
}

#[test]
fn a_restored_agent_goes_on_exactly() {
    for changes in kinds_of_noise() {
        for stop in [0, 2, 3, 7] {
            let mut whole = prepared(&changes);
            run(&mut whole, 0..stop);
            let saved = whole.save().unwrap();
            let mut restored = prepared(&changes);
            restored.restore(&saved).unwrap();
            assert_eq!(restored.save().unwrap(), saved);
            assert_eq!(run(&mut whole, stop..12), run(&mut restored, stop..12));
            assert_eq!(whole.save().unwrap(), restored.save().unwrap());
        }
    }
}

#[test]
fn in_the_middle_of_a_roll_out_too() {
    let mut whole = prepared(&[]);
    run(&mut whole, 0..5);
    whole.begin().unwrap();
    whole.record(step(1.0, 5, 0)).unwrap();
    // Not prepared: the state says for what.
    let mut restored = agent(&[]);
    restored.restore(&whole.save().unwrap()).unwrap();
    let rest = |agent: &mut RlAgent| {
        let action = agent.act(&state(5, 1)).unwrap();
        agent.record(step(action[0], 5, 1)).unwrap();
        agent.finish(0.5).unwrap();
        (action, agent.learn().unwrap(), agent.save().unwrap())
    };
    assert_eq!(rest(&mut whole), rest(&mut restored));
}

#[test]
fn what_cannot_be_restored() {
    let mut first = prepared(&[]);
    run(&mut first, 0..4);
    let saved = first.save().unwrap();
    let message = |agent: &mut RlAgent, bytes: &[u8]| agent.restore(bytes).unwrap_err().to_string();

    let mut other = agent(&[]);
    other.prepare(&AgentSpace { rollouts: 13, ..space() }).unwrap();
    assert!(message(&mut other, &saved).contains("another search"));
    for (key, value) in [("ddpg_actor_width", 32), ("ddpg_critic_depth", 3), ("ddpg_buffer_size", 1000)] {
        let error = agent(&[(key, Value::Int(value))]).restore(&saved).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{key}: {error}");
    }
    assert!(message(&mut agent(&[]), b"toy").contains("not saved by"));
    assert!(message(&mut agent(&[]), b"").contains("not saved by"));
    assert!(message(&mut agent(&[]), b"rl-agent\x09rest").contains("version"));
    assert!(message(&mut agent(&[]), &saved[..saved.len() - 3]).contains("damaged"));
    // An agent that could not be restored is the one it was.
    assert!(message(&mut first, b"toy").contains("not saved by"));
    assert_eq!(first.save().unwrap(), saved);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn damaged_bytes_are_an_error_or_an_agent(position in 0usize..20_000, value: u8, cut in 0usize..20_000) {
        let small = [("ddpg_actor_width", Value::Int(4)), ("ddpg_critic_width", Value::Int(4))];
        let mut first = prepared(&small);
        run(&mut first, 0..4);
        let mut bytes = first.save().unwrap();
        let (position, len) = (position % bytes.len(), bytes.len());
        bytes[position] = value;
        bytes.truncate(len - if cut % 3 == 0 { cut % len } else { 0 });
        let mut restored = agent(&small);
        if restored.restore(&bytes).is_ok() {
            // Numbers may be others, but nothing breaks.
            let _ = restored.begin();
            let _ = restored.act(&[0.0, 1.0]);
            let _ = restored.record(step(1.0, 0, 0));
            let _ = restored.finish(1.0);
            let _ = restored.learn();
        }
    }
}

#[test]
fn what_is_no_number_is_named() {
    let mut agent = prepared(&[]);
    agent.begin().unwrap();
    let mut message = |call: &dyn Fn(&mut RlAgent) -> pocketflow::Result<()>| call(&mut agent).unwrap_err().to_string();
    let act = message(&|agent| agent.act(&[0.0, f32::NAN]).map(drop));
    assert!(act.contains("a state whose value 1 (from 0) of 2 is NaN"), "{act}");
    assert!(message(&|agent| agent.act(&[0.0]).map(drop)).contains("a state of 1 values"));
    let with = |change: fn(&mut Transition)| {
        let mut transition = step(1.0, 0, 0);
        change(&mut transition);
        transition
    };
    for (transition, text) in [
        (with(|step| step.state[0] = f32::INFINITY), "a state whose value 0"),
        (with(|step| step.next_state[1] = f32::NAN), "a next state whose value 1"),
        (with(|step| step.action[0] = f32::NAN), "an action whose value 0"),
        (with(|step| step.action[0] = 6.5), "an action of 6.5, out of the range 0 to 6"),
        (with(|step| step.action.push(1.0)), "an action of 2 values"),
    ] {
        let error = message(&|agent| agent.record(transition.clone()));
        assert!(error.contains(text), "{error}");
    }
    assert!(message(&|agent| agent.finish(f32::NAN)).contains("the reward of roll-out 1 is NaN"));
    // None of it left a trace.
    agent.record(step(1.0, 0, 0)).unwrap();
    agent.finish(1.0).unwrap();
}

#[test]
fn calls_out_of_turn() {
    let mut unprepared = agent(&[]);
    assert!(unprepared.begin().is_err() && unprepared.learn().is_err() && unprepared.save().is_err());
    let mut agent = prepared(&[]);
    assert!(agent.act(&[0.0, 0.0]).unwrap_err().to_string().contains("no roll-out"));
    assert!(agent.record(step(1.0, 0, 0)).is_err() && agent.finish(1.0).is_err());
    assert!(agent.learn().unwrap_err().to_string().contains("nothing to learn from"));
    // A roll-out that is begun anew forgets the one before.
    agent.begin().unwrap();
    agent.record(step(1.0, 0, 0)).unwrap();
    agent.begin().unwrap();
    agent.finish(1.0).unwrap();
    assert!(agent.learn().is_err());
}

#[test]
fn spaces_that_are_none() {
    for space in [
        AgentSpace { state_dims: 0, ..space() },
        AgentSpace { action_dims: 0, ..space() },
        AgentSpace { rollouts: 0, ..space() },
        AgentSpace { steps: 0, ..space() },
        AgentSpace { action_max: 0.0, ..space() },
        AgentSpace { action_max: f32::NAN, ..space() },
        AgentSpace { filling: 13, ..space() },
    ] {
        assert!(agent(&[]).prepare(&space).is_err(), "{space:?}");
    }
}

#[test]
fn settings_that_do_not_go_together() {
    let text = |text: &str| Value::Text(text.into());
    let error = |changes: &[(&str, Value)]| match RlAgent::configure(&settings(changes)) {
        Ok(_) => panic!("{changes:?}"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config);
            error.to_string()
        }
    };
    assert!(error(&[("ddpg_buffer_size", Value::Int(63))]).starts_with("`ddpg_buffer_size` = 63 (derived: a test)"));
    assert!(error(&[("ddpg_noise_std_finl", Value::Float(2.0))]).contains("`ddpg_noise_std_finl` = 2.0"));
    let ratio = [("ddpg_noise_prtl", text("adapt")), ("ddpg_noise_adpt_rat", Value::Float(1.0))];
    assert!(error(&ratio).contains("`ddpg_noise_adpt_rat` = 1.0"));
}

#[test]
fn the_first_quarter_must_fit_into_the_buffer() {
    let small = [("ddpg_batch_size", Value::Int(4)), ("ddpg_buffer_size", Value::Int(8))];
    let error = agent(&small).prepare(&space()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let says = ["`ddpg_buffer_size` = 8", "9 steps", "first 3 roll-outs"];
    assert!(says.iter().all(|said| error.to_string().contains(said)), "{error}");
    // Later ones overwrite the oldest.
    let fits = [("ddpg_batch_size", Value::Int(4)), ("ddpg_buffer_size", Value::Int(9))];
    run(&mut prepared(&fits), 0..12);
}

#[test]
fn every_so_manieth_step_is_remembered() {
    let options = |every: i64| {
        let whole = [("ddpg_batch_size", 1), ("ddpg_buffer_size", 3), ("ddpg_record_step", every)];
        whole.map(|(key, value)| (key, Value::Int(value)))
    };
    // One of three steps each: the three random roll-outs fill the buffer.
    run(&mut prepared(&options(3)), 0..12);
    let error = agent(&[("ddpg_record_step", Value::Int(200))]).prepare(&space()).unwrap_err();
    assert!(error.to_string().contains("`ddpg_record_step` = 200"), "{error}");
    // One or two each are too many.
    assert!(agent(&options(2)).prepare(&space()).is_err());
}

#[test]
fn divergence_is_an_error() {
    let mut agent = prepared(&[("ddpg_lrn_rate", Value::Float(1.0)), ("ddpg_enbl_bsln_func", Value::Bool(false))]);
    agent.begin().unwrap();
    (0..STEPS).for_each(|index| agent.record(step(1.0, 0, index)).unwrap());
    agent.finish(3e38).unwrap();
    let error = agent.learn().unwrap_err();
    assert!(error.to_string().contains("diverged") && error.to_string().contains("ddpg_lrn_rate"), "{error}");
}

#[test]
fn every_documented_default() {
    let settings = settings(&[]);
    let floats = [
        ("ddpg_tau", 0.01),
        ("ddpg_gamma", 0.9),
        ("ddpg_lrn_rate", 1e-3),
        ("ddpg_loss_w_dcy", 0.0),
        ("ddpg_bsln_decy_rate", 0.95),
        ("ddpg_noise_std_init", 1.0),
        ("ddpg_noise_std_finl", 1e-5),
        ("ddpg_noise_dst_finl", 1e-2),
        ("ddpg_noise_adpt_rat", 1.03),
    ];
    floats.iter().for_each(|(key, value)| assert_eq!(settings.get(Key::<f64>::new(key)).unwrap(), *value, "{key}"));
    let whole = [
        ("ddpg_record_step", 1),
        ("ddpg_batch_size", 64),
        ("ddpg_actor_depth", 2),
        ("ddpg_actor_width", 64),
        ("ddpg_critic_depth", 2),
        ("ddpg_critic_width", 64),
    ];
    for (key, value) in whole {
        assert_eq!(settings.get(Key::<u32>::new(key)).unwrap(), value, "{key}");
    }
    assert!(settings.get(Key::<bool>::new("ddpg_enbl_bsln_func")).unwrap());
    assert_eq!(settings.get(Key::<String>::new("ddpg_noise_type")).unwrap(), "param");
    assert_eq!(settings.get(Key::<String>::new("ddpg_noise_prtl")).unwrap(), "tdecy");
}
