//! What a person sees while a run goes on, on stderr: a bar on a terminal; elsewhere plain lines,
//! few enough for a log.

use crate::plain;
use crate::report::numbers::{clock, compact, duration, grouped, percent, trimmed};
use crate::report::split_name;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pocketflow::job::Event;
use pocketflow::names::shown_text;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Plain lines tell of training steps at most this often.
const QUIET: Duration = Duration::from_secs(10);

const NAME: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Shows events. May be called from any thread.
pub struct Progress {
    screen: Mutex<Screen>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    color: bool,
}

struct Screen {
    out: Out,
    stage: Option<Stage>,
    /// When a line about steps was last written.
    spoke: Option<Instant>,
}

enum Out {
    Terminal(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

/// The phase that is going on.
struct Stage {
    name: String,
    steps: u64,
    done: u64,
    began: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// On stderr: a bar where it is a terminal, in colour unless `NO_COLOR` is set and not empty.
    pub fn new() -> Self {
        let out = if std::io::stderr().is_terminal() {
            Out::Terminal(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()))
        } else {
            Out::Lines(Box::new(std::io::stderr()))
        };
        let color =
            matches!(out, Out::Terminal(_)) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::on(out, color, Instant::now)
    }

    /// Plain lines to `out`, by the clock `now`.
    #[cfg(test)]
    fn lines(out: impl Write + Send + 'static, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self::on(Out::Lines(Box::new(out)), false, now)
    }

    fn on(out: Out, color: bool, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self { screen: Mutex::new(Screen { out, stage: None, spoke: None }), now: Box::new(now), color }
    }

    /// Shows nothing from now on.
    pub fn silence(&self) {
        let mut screen = self.screen();
        screen.end();
        screen.out = Out::Lines(Box::new(std::io::sink()));
    }

    /// Shows one event.
    pub fn event(&self, event: &Event) {
        let now = (self.now)();
        let mut screen = self.screen();
        match &plain::event(event) {
            Event::Phase { name, steps, done } => {
                let stage = Stage { name: name.clone(), steps: *steps, done: *done, began: now };
                screen.spoke = Some(now);
                let resumed =
                    if *done > 0 { format!(", {} of them done before", grouped(*done)) } else { String::new() };
                screen.say(&format!("{}  {} steps{resumed}", self.paint(NAME, name), grouped(*steps)));
                screen.begin(&stage, self.color);
                screen.stage = Some(stage);
            }
            event @ (Event::Step { step, .. } | Event::Tick { step, .. }) => {
                let Some(figures) = Figures::of(event, screen.stage.as_ref(), now) else { return };
                if let Out::Terminal(bar) = &screen.out {
                    bar.set_position(*step);
                    bar.set_message(figures.narrow());
                } else if screen.spoke.is_none_or(|before| now.duration_since(before) >= QUIET) {
                    screen.spoke = Some(now);
                    screen.say(&figures.line());
                }
            }
            Event::Progress { phase, step, text } => {
                let stage = screen.stage.as_ref().filter(|stage| stage.name == *phase);
                let count = stage
                    .map_or_else(|| grouped(*step), |stage| format!("{}/{}", grouped(*step), grouped(stage.steps)));
                let left = stage.and_then(|stage| stage.left(*step, now));
                let left = left.map(|left| format!("  {} left", duration(left))).unwrap_or_default();
                if let Out::Terminal(bar) = &screen.out {
                    bar.set_position(*step);
                    bar.set_message(format!("{count}  {text}{left}"));
                } else if screen.spoke.is_none_or(|before| now.duration_since(before) >= QUIET) {
                    screen.spoke = Some(now);
                    screen.say(&format!("{phase}  {count}  {text}{left}"));
                }
            }
            Event::Evaluation { phase, split, epoch, loss, top1, top5, .. } => {
                let [epoch, loss] = [trimmed(*epoch, 2), format!("{loss:.4}")];
                let [top1, top5] = [top1, top5].map(|fraction| percent(*fraction));
                let name = self.paint(NAME, phase);
                let rest = self.paint(FAINT, &format!("top-5 {top5}  loss {loss}"));
                screen.say(&format!("{name}  epoch {epoch}  {}: top-1 {top1}  {rest}", split_name(split)));
            }
            Event::PhaseEnd { name, seconds } => {
                screen.end();
                let time = crate::report::numbers::seconds(*seconds);
                screen.say(&format!("{}  done in {time}", self.paint(NAME, name)));
            }
            Event::Note { text, warning } => {
                let text = match warning {
                    true => format!("{} {text}", self.paint(WARNING, "warning:")),
                    false => text.clone(),
                };
                screen.say(&text);
            }
            // For the report, and for comparisons: nobody can read numbers that fly by.
            _ => {}
        }
    }

    /// Runs `f` with the bar out of the way, for others who write to the terminal. `f` must not
    /// report events itself: the bar it would change is held back until it returns.
    pub fn suspend(&self, f: impl FnOnce()) {
        let bar = match &self.screen().out {
            Out::Terminal(bar) => Some(bar.clone()),
            Out::Lines(_) => None,
        };
        // The lock is free again here: `f` may take its time.
        match bar {
            Some(bar) => bar.suspend(f),
            None => f(),
        }
    }

    /// Takes the bar away for good: what comes now is the end of the program, whether or not the
    /// phase ended.
    pub fn finish(&self) {
        self.screen().end();
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A panic elsewhere while the lock was held must not take the display down too.
    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Screen {
    /// A line that stays, above the bar. A stderr that is closed is no reason to stop a training.
    fn say(&mut self, line: &str) {
        match &mut self.out {
            Out::Terminal(bar) => bar.suspend(|| eprintln!("{line}")),
            Out::Lines(out) => {
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        }
    }

    fn begin(&mut self, stage: &Stage, color: bool) {
        let Out::Terminal(bar) = &mut self.out else { return };
        bar.finish_and_clear();
        let (shape, faint) = if color { ("{bar:8.cyan/dim}", "{wide_msg:.dim}") } else { ("{bar:8}", "{wide_msg}") };
        let template = format!("{{prefix}} {shape} {faint}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        *bar = ProgressBar::with_draw_target(Some(stage.steps.max(1)), ProgressDrawTarget::stderr());
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_prefix(stage.name.clone());
        bar.set_position(stage.done);
    }

    fn end(&mut self) {
        self.stage = None;
        if let Out::Terminal(bar) = &self.out {
            bar.finish_and_clear();
        }
    }
}

/// What is told of a step.
struct Figures<'a> {
    phase: &'a str,
    /// `1,200/9,775`.
    count: String,
    epoch: f64,
    loss: f64,
    top1: f64,
    speed: String,
    left: Option<Duration>,
}

impl<'a> Figures<'a> {
    fn of(event: &'a Event, stage: Option<&Stage>, now: Instant) -> Option<Self> {
        let (Event::Step { phase, step, epoch, loss, top1, images_per_second, .. }
        | Event::Tick { phase, step, epoch, loss, top1, images_per_second }) = event
        else {
            return None;
        };
        let stage = stage.filter(|stage| stage.name == *phase);
        let of = stage.map(|stage| format!("/{}", grouped(stage.steps))).unwrap_or_default();
        Some(Self {
            phase,
            count: format!("{}{of}", grouped(*step)),
            epoch: *epoch,
            loss: *loss,
            top1: *top1,
            speed: format!("{} images/s", compact(images_per_second.round())),
            left: stage.and_then(|stage| stage.left(*step, now)),
        })
    }

    fn line(&self) -> String {
        let Self { phase, count, epoch, loss, speed, .. } = self;
        let top1 = percent(self.top1);
        let left = self.left.map(|left| format!("  {} left", duration(left))).unwrap_or_default();
        format!("{phase}  step {count}  epoch {epoch:.2}  loss {loss:.4}  top-1 {top1}  {speed}{left}")
    }

    /// Beside the bar, to fit 80 columns but for the count of steps; what does not fit is cut off
    /// at the end.
    fn narrow(&self) -> String {
        let Self { count, epoch, loss, speed, .. } = self;
        let left = self.left.map(|left| format!("  {} left", clock(left))).unwrap_or_default();
        format!("epoch {epoch:.1}  loss {loss:.3}  top-1 {:.1} %{left}  {speed}  step {count}", self.top1 * 100.0)
    }
}

impl Stage {
    /// The time the rest takes at the mean speed so far; `None` before a step of this process is
    /// done.
    fn left(&self, step: u64, now: Instant) -> Option<Duration> {
        let own = step.checked_sub(self.done).filter(|own| *own > 0)?;
        let rest = self.steps.saturating_sub(step);
        let each = now.duration_since(self.began).as_secs_f64() / own as f64;
        Duration::try_from_secs_f64(each * rest as f64).ok()
    }
}

/// The lines at the start of a run, names aligned: learner, net, data, device, … Further lines of a
/// value are indented to its first. Ends with a line break.
pub fn header(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        let mut name = *name;
        // Values hold names of plugins and paths.
        for line in shown_text(value).split('\n') {
            let gap = width.saturating_sub(name.chars().count()) + 2;
            text += format!("{name}{:gap$}{line}", "").trim_end();
            text += "\n";
            name = "";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// Plain lines by a clock that is turned by hand, in seconds.
    fn plain() -> (Progress, Paper, Arc<AtomicU64>) {
        let (paper, seconds) = (Paper::default(), Arc::new(AtomicU64::new(0)));
        let (start, clock) = (Instant::now(), seconds.clone());
        let now = move || start + Duration::from_secs(clock.load(Ordering::Relaxed));
        (Progress::lines(paper.clone(), now), paper, seconds)
    }

    fn step(step: u64) -> Event {
        let (phase, epoch) = ("uniform".into(), step as f64 / 391.0);
        Event::Step { phase, step, epoch, loss: 0.4512, top1: 0.84375, lrn_rate: 1e-3, images_per_second: 812.4 }
    }

    #[test]
    fn plain_lines_are_few_and_say_it_all() {
        let (progress, paper, seconds) = plain();
        progress.event(&Event::Note { text: "cifar10 not found".into(), warning: true });
        progress.event(&Event::Phase { name: "uniform".into(), steps: 3910, done: 391 });
        for second in 1..=25 {
            seconds.store(second, Ordering::Relaxed);
            progress.event(&step(391 + 10 * second));
        }
        let (phase, split) = ("uniform".into(), "eval".into());
        let (loss, top1, top5) = (0.41235, 0.8621, 0.9934);
        progress.event(&Event::Evaluation { phase, split, step: 782, epoch: 2.0, loss, top1, top5 });
        progress.event(&Event::Scalar { phase: "uniform".into(), name: "reward".into(), step: 1, value: 1.0 });
        progress.event(&Event::PhaseEnd { name: "uniform".into(), seconds: 245.2 });
        insta::assert_snapshot!(paper.text(), @r#"
    warning: cifar10 not found
    uniform  3,910 steps, 391 of them done before
    uniform  step 491/3,910  epoch 1.26  loss 0.4512  top-1 84.38 %  812 images/s  5 min 42 s left
    uniform  step 591/3,910  epoch 1.51  loss 0.4512  top-1 84.38 %  812 images/s  5 min 32 s left
    uniform  epoch 2  test: top-1 86.21 %  top-5 99.34 %  loss 0.4123
    uniform  done in 4 min 05 s
    "#);
    }

    #[test]
    fn roll_outs_say_what_they_found_and_how_long_it_takes() {
        let (progress, paper, seconds) = plain();
        progress.event(&Event::Phase { name: "search".into(), steps: 200, done: 0 });
        for second in 1..=20 {
            seconds.store(second, Ordering::Relaxed);
            let text = format!("reward {second}.0 %");
            progress.event(&Event::Progress { phase: "search".into(), step: second, text });
        }
        insta::assert_snapshot!(paper.text(), @r#"
    search  200 steps
    search  10/200  reward 10.0 %  3 min 10 s left
    search  20/200  reward 20.0 %  3 min 00 s left
    "#);
    }

    #[test]
    fn figures_that_are_no_numbers_do_not_stop_it() {
        let (progress, paper, _) = plain();
        let (phase, split) = (String::from("p"), "validation".into());
        let nan = f64::NAN;
        progress.event(&Event::PhaseEnd { name: phase.clone(), seconds: nan });
        progress.event(&Event::Evaluation { phase, split, step: 0, epoch: nan, loss: nan, top1: nan, top5: nan });
        progress.event(&Event::Phase { name: "uniform".into(), steps: 0, done: 9 });
        progress.event(&step(3));
        assert_eq!(paper.text().lines().count(), 3, "{}", paper.text());
    }

    #[test]
    fn what_plugins_call_things_moves_no_cursor_and_fills_no_screen() {
        let (progress, paper, seconds) = plain();
        let bad = "a\u{1b}[2Jb\r".to_owned();
        progress.event(&Event::Phase { name: bad.clone(), steps: 10, done: 0 });
        seconds.store(20, Ordering::Relaxed);
        progress.event(&Event::Progress { phase: bad.clone(), step: 2, text: "x".repeat(1 << 20) });
        progress.event(&Event::Note { text: bad.clone(), warning: true });
        let text = paper.text();
        assert!(text.starts_with("a\\u{1b}[2Jb\\r  10 steps\na\\u{1b}[2Jb\\r  2/10  xxx"), "{text}");
        assert!(text.ends_with("warning: a\\u{1b}[2Jb\\r\n") && text.len() < 5_000, "{text}");
        assert!(header(&[("net", bad)]).ends_with("a\\u{1b}[2Jb\\r\n"));
    }

    #[test]
    fn others_write_while_a_second_thread_reports() {
        let (progress, paper, _) = plain();
        progress.suspend(|| {
            let report = || progress.event(&Event::Note { text: "from a thread".into(), warning: false });
            std::thread::scope(|scope| scope.spawn(report).join().unwrap());
        });
        assert_eq!(paper.text(), "from a thread\n");
    }

    #[test]
    fn the_header_is_aligned() {
        let lines =
            [("learner", "uniform".into()), ("data", "cifar10\nSTAND-IN DATA".into()), ("run folder", "runs/a".into())];
        insta::assert_snapshot!(header(&lines), @r#"
    learner     uniform
    data        cifar10
                STAND-IN DATA
    run folder  runs/a
    "#);
    }
}
