use super::*;
use crate::budget::tests::layer;
use pocketflow::ErrorKind;
use pocketflow::dataset::mix;

/// Asks for bits that depend on all it was told, and fails on demand.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Memory {
    digest: u64,
    begun: usize,
    learned: usize,
}

struct Told {
    memory: Memory,
    fails_at: Option<usize>,
    fails_as: ErrorKind,
}

fn agent(fails_at: Option<usize>) -> Box<dyn Agent> {
    Box::new(Told { memory: Memory::default(), fails_at, fails_as: ErrorKind::Failed })
}

impl Told {
    fn take(&mut self, values: &[f32]) {
        values.iter().for_each(|value| self.memory.digest = mix(self.memory.digest, u64::from(value.to_bits())));
    }
}

impl Agent for Told {
    fn prepare(&mut self, space: &AgentSpace) -> Result<()> {
        self.memory = Memory { digest: space.seed, ..Memory::default() };
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.memory.begun += 1;
        match self.fails_at == Some(self.memory.begun) {
            true => Err(Error::new(self.fails_as, "out of ideas")),
            false => Ok(()),
        }
    }

    fn act(&mut self, state: &[f32]) -> Result<Vec<f32>> {
        self.take(state);
        Ok(vec![(self.memory.digest % 700) as f32 / 100.0])
    }

    fn record(&mut self, transition: Transition) -> Result<()> {
        self.take(&transition.action);
        self.take(&transition.next_state);
        Ok(())
    }

    fn finish(&mut self, reward: f32) -> Result<()> {
        self.take(&[reward]);
        Ok(())
    }

    fn learn(&mut self) -> Result<AgentLoss> {
        self.memory.learned += 1;
        match self.fails_at {
            Some(at) if at + 100 == self.memory.begun => Err(Error::failed("diverged")),
            _ => Ok(AgentLoss { actor: -1.0, critic: 2.0 }),
        }
    }

    fn save(&self) -> Result<Vec<u8>> {
        let Memory { digest, begun, learned } = self.memory;
        Ok([digest, begun as u64, learned as u64].iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    fn restore(&mut self, saved: &[u8]) -> Result<()> {
        let mut numbers = saved.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next().ok_or_else(|| Error::failed("too short"));
        self.memory = Memory { digest: next()?, begun: next()? as usize, learned: next()? as usize };
        Ok(())
    }
}

/// Rewards bits in the first layer, and counts how often it is asked.
#[derive(Default)]
struct First {
    asked: usize,
    fails_at: Option<usize>,
    nan_at: Option<usize>,
}

impl Evaluate for First {
    fn reward(&mut self, bits: &[u32]) -> Result<f64> {
        self.asked += 1;
        match (self.fails_at, self.nan_at) {
            (Some(at), _) if at == self.asked => Err(Error::interrupted("stopped")),
            (_, Some(at)) if at == self.asked => Ok(f64::NAN),
            _ => Ok(f64::from(bits[0]) + 0.01 * f64::from(bits[1])),
        }
    }
}

fn budget() -> BitBudget {
    BitBudget::new(vec![layer(100, 0), layer(300, 0), layer(50, 0)], 2, 8, 3.0).unwrap()
}

fn plan(rollouts: usize) -> Plan {
    Plan { rollouts, random_layers: true, seed: 5, starts: Vec::new() }
}

fn run(search: &mut Search<'_>, evaluate: &mut First) {
    while search.roll_out(evaluate).unwrap().is_some() {}
}

#[test]
fn equal_allocations_are_evaluated_once_and_the_best_is_kept() {
    let budget = budget();
    let mut evaluate = First::default();
    let mut search = Search::new(&budget, plan(60), agent(None)).unwrap();
    run(&mut search, &mut evaluate);
    let state = search.state();
    assert!(search.is_over() && state.done.len() == 60 && state.failure.is_none());
    assert_eq!(evaluate.asked, state.done.iter().filter(|rollout| !rollout.known).count());
    assert!(evaluate.asked < 60, "this budget allows few allocations");
    assert!(state.done.iter().all(|rollout| budget.allows(&rollout.bits)));
    assert!(state.done.iter().all(|rollout| rollout.reward <= state.best().unwrap().reward));
    let learned = state.done.iter().position(|rollout| rollout.loss.is_some());
    assert_eq!(learned, Some(14), "after a quarter");
    assert_eq!(state.done[14].loss, Some(AgentLoss { actor: -1.0, critic: 2.0 }));
}

#[test]
fn a_resumed_search_is_the_same() {
    let budget = budget();
    let mut whole = Search::new(&budget, plan(30), agent(None)).unwrap();
    run(&mut whole, &mut First::default());
    for stop in [1, 7, 29] {
        let mut first = Search::new(&budget, plan(30), agent(None)).unwrap();
        (0..stop).for_each(|_| assert!(first.roll_out(&mut First::default()).is_ok()));
        let mut rest = Search::resume(&budget, plan(30), agent(None), first.state().clone()).unwrap();
        run(&mut rest, &mut First::default());
        assert_eq!(rest.state(), whole.state());
    }
}

#[test]
fn an_interrupted_evaluation_leaves_the_state_before_it() {
    let budget = budget();
    let mut whole = Search::new(&budget, plan(30), agent(None)).unwrap();
    run(&mut whole, &mut First::default());
    let mut search = Search::new(&budget, plan(30), agent(None)).unwrap();
    let mut evaluate = First { fails_at: Some(4), ..First::default() };
    let error = loop {
        if let Err(error) = search.roll_out(&mut evaluate) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    let mut rest = Search::resume(&budget, plan(30), agent(None), search.state().clone()).unwrap();
    run(&mut rest, &mut First::default());
    assert_eq!(rest.state(), whole.state());
}

#[test]
fn an_agent_that_fails_leaves_the_best_so_far() {
    let budget = budget();
    let mut search = Search::new(&budget, plan(30), agent(Some(9))).unwrap();
    run(&mut search, &mut First::default());
    let state = search.state().clone();
    assert_eq!(state.done.len(), 8);
    assert!(state.failure.as_ref().unwrap().contains("roll-out 9: out of ideas"));
    assert!(state.best().is_some() && search.is_over());
    // Such a search is over for good.
    let resumed = Search::resume(&budget, plan(30), agent(None), state).unwrap();
    assert!(resumed.is_over());
    // In the first roll-out there is nothing to keep, unless there are starts to go on with.
    let mut search = Search::new(&budget, plan(30), agent(Some(1))).unwrap();
    assert!(search.roll_out(&mut First::default()).is_err());
    let started = Plan { starts: vec![budget.uniform()], ..plan(30) };
    let mut search = Search::new(&budget, started, agent(Some(1))).unwrap();
    assert_eq!(search.roll_out(&mut First::default()).unwrap(), None);
    assert!(search.is_over() && search.state().best().is_none());
    let wrong = Told { memory: Memory::default(), fails_at: Some(2), fails_as: ErrorKind::Config };
    let mut search = Search::new(&budget, plan(30), Box::new(wrong)).unwrap();
    assert!(search.roll_out(&mut First::default()).is_ok());
    assert_eq!(search.roll_out(&mut First::default()).unwrap(), None);
    assert!(search.state().best().is_some(), "whatever kind of error it is");
}

#[test]
fn an_agent_that_diverges_while_learning_keeps_the_reward_paid_for() {
    let budget = budget();
    let plan = Plan { rollouts: 200, ..plan(0) };
    let mut search = Search::new(&budget, plan, agent(Some(0))).unwrap();
    run(&mut search, &mut First::default());
    assert_eq!(search.state().done.len(), 100);
    assert!(search.state().failure.as_ref().unwrap().contains("roll-out 100: diverged"));
}

#[test]
fn starts_come_first_and_the_agent_is_told() {
    let budget = budget();
    let starts = vec![budget.uniform(), vec![4, 2, 2]];
    let plan = Plan { starts: starts.clone(), ..plan(12) };
    let mut search = Search::new(&budget, plan, agent(None)).unwrap();
    run(&mut search, &mut First::default());
    let done = &search.state().done;
    assert_eq!(done[0].bits, starts[0]);
    assert_eq!(done[1].bits, starts[1], "though it leaves bits");
}

#[test]
fn rewards_and_plans_that_are_none() {
    let budget = budget();
    let mut search = Search::new(&budget, plan(30), agent(None)).unwrap();
    let mut evaluate = First { nan_at: Some(1), ..First::default() };
    let error = search.roll_out(&mut evaluate).unwrap_err().to_string();
    assert!(error.contains("roll-out 1 is NaN"), "{error}");
    assert!(Search::new(&budget, plan(0), agent(None)).is_err());
    let plan_of = |start: &[u32]| Plan { starts: vec![start.to_vec()], ..plan(5) };
    for start in [&[8, 8, 8][..], &[2, 2], &[1, 2, 2]] {
        assert!(Search::new(&budget, plan_of(start), agent(None)).is_err(), "{start:?}");
    }
    let mut done = Search::new(&budget, plan(5), agent(None)).unwrap();
    run(&mut done, &mut First::default());
    assert!(Search::resume(&budget, plan(4), agent(None), done.state().clone()).is_err());
}
