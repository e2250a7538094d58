//! How training shows where it is: a bar on a terminal, a line every few seconds elsewhere, a line an epoch on both.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nin::Trainer;
use nin::train::{DEAD_EPOCHS, EpochReport, Event, GUESSING, StepReport};

use super::terminal::Terminal;
use super::visible::visible;

/// Time between two lines where there is no bar.
const PAUSE: Duration = Duration::from_secs(5);
/// What a terminal shows where it has [`ROOM`], and where it has not: the message is cut to what is left of a line.
const WIDE: &str = "{bar:24} {pos}/{len} {wide_msg} {eta} left";
const NARROW: &str = "{pos}/{len} {wide_msg}";
/// Columns that the bar and the figures around the message need.
const ROOM: u16 = 60;

/// A run as it is shown.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// How the bar is drawn now.
    wide: bool,
    epochs: u32,
    classes: Vec<String>,
    /// When and after how many images the last line was printed.
    line: Instant,
    start: Instant,
    first_step: u64,
    images: usize,
    images_at_line: usize,
}

impl Progress {
    pub(crate) fn new(terminal: &Terminal, trainer: &Trainer<'_>) -> Progress {
        let target = if terminal.shows_bar() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(trainer.steps()), target);
        bar.set_style(style(is_wide()));
        bar.set_position(trainer.step());
        bar.reset_eta();
        let now = Instant::now();
        Progress {
            bar,
            wide: is_wide(),
            epochs: trainer.recipe().epochs,
            classes: trainer.classes().iter().map(|name| visible(name).into_owned()).collect(),
            line: now,
            start: now,
            first_step: trainer.step(),
            images: 0,
            images_at_line: 0,
        }
    }

    /// Shows what has happened.
    pub(crate) fn show(&mut self, event: &Event, terminal: &Terminal) {
        match event {
            Event::Step(report) => self.step(report, terminal),
            Event::Epoch(report) => self.epoch(report, terminal),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn step(&mut self, report: &StepReport, terminal: &Terminal) {
        self.images += report.images;
        if report.guessing {
            self.bar.suspend(|| self.warn_of_guessing(report, terminal));
        }
        let message = || {
            format!(
                "epoch {}/{}: loss {:.4}, accuracy {:.2} %, {:.0} images/s",
                report.epoch,
                self.epochs,
                report.epoch_loss,
                100.0 * report.epoch_accuracy,
                report.images_per_s
            )
        };
        if terminal.shows_bar() {
            if self.wide != is_wide() {
                self.wide = !self.wide;
                self.bar.set_style(style(self.wide));
            }
            self.bar.set_message(message());
            self.bar.set_position(report.step);
        } else if self.line.elapsed() >= PAUSE {
            let speed =
                (self.images - self.images_at_line) as f64 / self.line.elapsed().as_secs_f64();
            let done = (report.step - self.first_step) as f64;
            let left =
                self.start.elapsed().as_secs_f64() / done * (report.steps - report.step) as f64;
            let StepReport { epoch, step, steps, epoch_loss, epoch_accuracy, .. } = report;
            terminal.note(format_args!(
                "step {step}/{steps}, epoch {epoch}/{}: loss {epoch_loss:.4}, accuracy {:.2} %, {speed:.0} images/s, {left:.0} s left",
                self.epochs,
                100.0 * epoch_accuracy,
            ));
            (self.line, self.images_at_line) = (Instant::now(), self.images);
        }
    }

    fn warn_of_guessing(&self, report: &StepReport, terminal: &Terminal) {
        let classes = self.classes.len();
        terminal.warn(format_args!(
            "the loss has been ln({classes}) = {:.4} for {GUESSING} steps, up to step {} of {}: the network answers every \
             image alike, perhaps because its outputs died at the start. If it does not fall soon, try `--reseed`, a lower \
             `--lr`, a longer warm-up (`schedule.warmup`), or a last convolution that starts small and positive \
             (`last_layer`) or has no ReLU",
            (classes as f64).ln(),
            report.step,
            report.steps
        ));
    }

    fn epoch(&self, report: &EpochReport, terminal: &Terminal) {
        let validation = report.validation.as_ref().map_or(String::new(), |validation| {
            format!(", validation {:.2} %", 100.0 * validation.accuracy())
        });
        // Evaluation is not a step's time: the bar's estimate goes by steps.
        let line = format!(
            "epoch {}/{}: train loss {:.4}, accuracy {:.2} %{validation}; test loss {:.4}, accuracy {:.2} %; {:.1} s",
            report.epoch,
            self.epochs,
            report.train_loss,
            100.0 * report.train_accuracy,
            report.test.loss,
            100.0 * report.test.accuracy(),
            report.seconds
        );
        self.bar.suspend(|| {
            terminal.note(line);
            if !report.test.dead.is_empty() {
                let dead: Vec<&str> =
                    report.test.dead.iter().map(|&class| self.classes[class].as_str()).collect();
                terminal.warn(format_args!(
                    "dead outputs: {} (zero on every test image; behind a ReLU they learn no more: try `--reseed`, a lower \
                     learning rate, or a last convolution without a ReLU)",
                    dead.join(", ")
                ));
            }
            if report.guessing {
                terminal.warn(format_args!(
                    "every test image has got the same answer for {DEAD_EPOCHS} epochs: a layer has probably died, and the \
                     ones after it have learnt nothing but how frequent the classes are. Try `--reseed`, a lower learning \
                     rate (`lr`), or a longer warm-up (`schedule.warmup`)"
                ));
            }
        });
    }
}

/// Whether the terminal has room for a bar; people change that while it runs.
fn is_wide() -> bool {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.is_none_or(|(width, _)| width.0 >= ROOM)
}

fn style(wide: bool) -> ProgressStyle {
    let template = if wide { WIDE } else { NARROW };
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    style.progress_chars("=> ")
}
