//! Signals in every phase of a run: it stops where it can be resumed, or goes on if the signal was to be ignored.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use crate::os::{ignoring, send};
use crate::stage::{Moments, Stage, quiet, times};

const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Loading, compiling, setting up, training, evaluating, writing: at random moments of them all.
#[test]
fn a_run_that_was_asked_to_stop_ends_in_the_same_bits() {
    let stage = Stage::new();
    let mut moments = Moments(5);
    for number in 0..times().max(2) {
        let (run, signal) = (format!("run{number}"), SIGNALS[number % 3]);
        let share = moments.next();
        let mut child = stage.start(&stage.begin(&run));
        thread::sleep(stage.took.mul_f64(share));
        send(&child, signal);
        let status = child.wait().unwrap();
        let story = format!("signal {signal} after {share:.3} of a run: {status}");
        // Before there is anything to save, a signal does what it does to any process.
        let stopped = status.code() == Some(130) || status.signal() == Some(signal);
        assert!(stopped || status.success(), "{story}");
        stage.run(&stage.go_on(&run));
        stage.assert_same(&run, &story);
    }
}

#[test]
fn a_signal_in_training_saves() {
    let stage = Stage::new();
    for signal in SIGNALS {
        let run = format!("run{signal}");
        let line = format!("{} --isa portable --epochs 1000000", stage.begin(&run));
        let mut command = stage.command(&line);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut notes = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        notes.find(|line| line.starts_with("epoch 2/")).expect("it trains");
        send(&child, signal);
        // A terminal that closes sends its hang-up twice.
        if signal == libc::SIGHUP {
            send(&child, signal);
        }
        let rest: Vec<String> = notes.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        let place = |begin: &str| rest.iter().position(|line| line.starts_with(begin));
        let (answer, end) = (place("stopping as soon as"), place("stopped after step"));
        // A step can be over before the answer.
        assert!(end.is_some() && answer <= end, "{rest:?}");
    }
}

/// A step of a second or more: the answer does not wait for its end, and a second signal does not either.
#[test]
fn a_long_step_does_not_delay_the_answer() {
    let stage = Stage::new();
    let wide = "< input(1, 8, 8) repeat(12) < conv(220) relu > conv(3) gap softmax >";
    std::fs::write(stage.path("wide.nin"), wide).unwrap();
    let line = "train wide.nin --data npy:data --batch 120 --threads 1 --isa portable --algo direct --epochs 9 --out wide";
    let mut child =
        stage.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    notes.find(|line| line.starts_with("run folder")).expect("it trains");
    let begun = Instant::now();
    send(&child, libc::SIGINT);
    let answer = notes.next().expect("an answer");
    let answered = begun.elapsed();
    assert!(answer.starts_with("stopping as soon as"), "{answer}");
    send(&child, libc::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let rest: Vec<String> = notes.collect();
    assert!(rest.is_empty(), "the second signal ends it at once: {rest:?}");
    // How long the step would have been, from the same set-up: far longer than the answer took.
    let begun = Instant::now();
    let mut child =
        quiet(&mut stage.command(&line.replace("--out wide", "--out again"))).spawn().unwrap();
    let metrics = stage.path("again/metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |metadata| metadata.len()) == 0 {
        thread::sleep(std::time::Duration::from_millis(5));
    }
    let step = begun.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answered < step / 3, "answered after {answered:?} of {step:?}");
}

/// As `nohup` and background jobs of shells start commands.
#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let stage = Stage::new();
    let mut moments = Moments(9);
    for signal in SIGNALS {
        let run = format!("run{signal}");
        let mut command = stage.command(&stage.begin(&run));
        let mut child = ignoring(quiet(&mut command), signal).spawn().unwrap();
        for _ in 0..5 {
            thread::sleep(stage.took.mul_f64(0.2 * moments.next()));
            send(&child, signal);
        }
        assert!(child.wait().unwrap().success(), "signal {signal}");
        stage.assert_same(&run, &format!("signal {signal} was ignored"));
    }
}

#[test]
fn a_sweep_that_was_asked_to_stop_goes_on() {
    let stage = Stage::new();
    let line = "sweep m.nin -D width=3,6 --recipe r.toml --data npy:data --threads 1 --out swept";
    let mut command = stage.command(line);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    notes.find(|line| line.starts_with("epoch 1/")).expect("it trains");
    send(&child, libc::SIGTERM);
    let rest: Vec<String> = notes.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.last().unwrap().contains("the same command goes on with it"), "{rest:?}");
    assert_eq!(stage.run(line).lines().count(), 3);
    stage.assert_same("swept/Bars-width=6-seed1", "a sweep's run");
}
