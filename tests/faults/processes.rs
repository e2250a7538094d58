//! Several processes in one place: a run is one process's, and of several writers of a file each writes a whole one.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::stage::{Stage, quiet, temporaries, times};

#[test]
fn a_run_is_one_process_s() {
    let stage = Stage::new();
    let long = format!("{} --epochs 1000000", stage.begin("run"));
    let mut child = stage.start(&long);
    while !stage.path("run/last.safetensors").is_file() {
        thread::sleep(Duration::from_millis(5));
    }
    let process = format!("under way in process {}", child.id());
    for line in [&stage.begin("run"), "train --resume run"] {
        let message = stage.fails(1, line);
        assert!(message.contains(&process), "nin {line}: {message}");
    }
    // The lock goes with its process.
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = stage.start("train --resume run");
    thread::sleep(stage.took);
    assert!(child.try_wait().unwrap().is_none(), "the dead process's run was not taken over");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Of two that begin at once one trains, and the other says so.
#[test]
fn of_two_processes_one_trains() {
    let stage = Stage::new();
    for number in 0..times().div_ceil(4) {
        let run = format!("run{number}");
        let spawn = || {
            let mut command = stage.command(&stage.begin(&run));
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [spawn(), spawn()].map(|child| child.wait_with_output().unwrap());
        let refused: Vec<String> = both
            .iter()
            .filter(|output| !output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
            .collect();
        let [message] = refused.as_slice() else { panic!("{refused:?}") };
        assert!(
            message.contains("this run is under way in") || message.contains("already holds a run"),
            "{message}"
        );
        stage.assert_same(&run, "two began it");
    }
}

#[test]
fn writers_of_one_file_do_not_meet() {
    let stage = Stage::new();
    stage.run("init m.nin -o expected");
    let expected = fs::read(stage.path("expected")).unwrap();
    let loops = times().div_ceil(2) * 3;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..loops {
                    let status = quiet(&mut stage.command("init m.nin -o w")).status().unwrap();
                    assert!(status.success(), "{status}");
                    assert!(fs::read(stage.path("w")).unwrap() == expected, "a torn file");
                }
            });
        }
    });
    assert_eq!(temporaries(stage.place()), 0);
}
