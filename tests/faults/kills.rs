//! `kill -9`: a run goes on from wherever it was, its set-up included, and ends in the bits of one that nothing disturbed.

use std::{fs, thread};

use crate::stage::{Moments, Stage, times};

#[test]
#[expect(clippy::print_stdout, reason = "figures of a campaign; the harness keeps them to itself")]
fn a_killed_run_ends_in_the_bits_of_an_undisturbed_one() {
    let stage = Stage::new();
    let mut moments = Moments(16);
    let (mut kills, mut in_set_up, mut runs) = (0, 0, 0);
    while kills < times() {
        let run = format!("run{runs}");
        runs += 1;
        let mut story = vec![];
        // One kill, and often another of what goes on after it.
        while story.is_empty() || (moments.next() < 0.4 && kills < times()) {
            // Half of them in the first part, where the run is set up.
            let share = moments.next() * if moments.next() < 0.5 { 0.3 } else { 1.0 };
            let line = stage.go_on(&run);
            let mut child = stage.start(&line);
            thread::sleep(stage.took.mul_f64(share));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            in_set_up += usize::from(!stage.path(&run).join("last.safetensors").is_file());
            story.push(format!("{line}: killed after {share:.3} of a run"));
        }
        stage.run(&stage.go_on(&run));
        stage.assert_same(&run, &story.join("; "));
    }
    println!("{kills} kills of {runs} runs, {in_set_up} of them before the first checkpoint");
}

/// As soon as a file is there that the set-up writes before the first checkpoint: the folder is no run yet, and no other's.
#[test]
fn a_run_killed_in_its_set_up_is_begun_again_in_its_folder() {
    let stage = Stage::new();
    for name in [".nin-lock", "model.nin", "recipe.toml", "plan.txt", "statistics.safetensors"] {
        let run = format!("run-{name}");
        // The checkpoint may be faster than the kill.
        for attempt in 0.. {
            assert!(attempt < 100, "every kill after {name} came too late");
            let _ = fs::remove_dir_all(stage.path(&run));
            let mut child = stage.start(&stage.begin(&run));
            while !stage.path(&run).join(name).exists() {
                assert!(child.try_wait().unwrap().is_none(), "{run} ended without {name}");
            }
            child.kill().unwrap();
            child.wait().unwrap();
            if !stage.path(&run).join("last.safetensors").is_file() {
                break;
            }
        }
        let message = stage.fails(1, &format!("train --resume {run}"));
        assert!(message.contains("cannot be resumed"), "{message}");
        stage.run(&stage.begin(&run));
        stage.assert_same(&run, &format!("killed after {name}"));
    }
}

#[test]
fn a_killed_sweep_goes_on() {
    let stage = Stage::new();
    let line = |out: &str| {
        format!("sweep m.nin -D width=3,4 --recipe r.toml --data npy:data --threads 1 --out {out}")
    };
    let errors = |table: &str| -> Vec<Vec<String>> {
        // All but the seconds.
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        table.lines().skip(1).map(|line| words(line)[..12].to_vec()).collect()
    };
    let whole = errors(&stage.run(&line("sweeps")));
    let mut moments = Moments(61);
    for number in 0..times().div_ceil(10) {
        let out = format!("sweep{number}");
        for _ in 0..3 {
            let mut child = stage.start(&line(&out));
            thread::sleep(stage.took.mul_f64(1.5 * moments.next()));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(errors(&stage.run(&line(&out))), whole);
    }
}
