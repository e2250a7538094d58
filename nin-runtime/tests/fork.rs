//! What a fork of a process with sessions can do with them. It has their memory, and none of their threads.
//!
//! These tests are a program of their own: their processes fork.
#![cfg(unix)]
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ndarray::{Array4, ArrayD};
use nin_runtime::Hyper;
use nin_runtime::compile::{Options, Purpose};
use nin_runtime::error::Error;
use nin_runtime::model::Model;
use nin_runtime::run::exec::{Session, StepParams};
use nin_runtime::train::{Recipe, init};

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Well,
    Badly,
    Never,
}

/// Runs `life` in a fork of this process, where it must neither fail nor hang.
fn fork(life: impl FnOnce()) -> End {
    // SAFETY: the child runs `life`, which takes no lock that another thread may have held, and ends without a return to the tests.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "a process");
    if child == 0 {
        let ended = catch_unwind(AssertUnwindSafe(life));
        // SAFETY: it has no conditions.
        unsafe { libc::_exit(i32::from(ended.is_err())) }
    }
    let begin = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: `status` is written to while it is borrowed.
        let ended = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if ended == child {
            return if status == 0 { End::Well } else { End::Badly };
        }
        if begin.elapsed() > Duration::from_secs(60) {
            // SAFETY: the child was not waited for, so its number is still its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
            return End::Never;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn session(threads: usize) -> Session {
    let text = "< input(1, 12, 12) mlpconv(8, 3) gap softmax >";
    let model = Model::from_text("small.nin", text, &[]).unwrap();
    let options = Options { batch: 20, threads, purpose: Purpose::Training, ..Options::default() };
    let weights = init(model.graph(), &Recipe::default());
    model.compile(&options).unwrap().session(&weights).unwrap()
}

fn images(count: usize) -> Array4<f32> {
    Array4::from_shape_fn((count, 1, 12, 12), |(n, _, y, x)| ((n + 3 * y + x) % 7) as f32)
}

fn step(session: &mut Session, images: &Array4<f32>) -> Result<f64, Error> {
    let hyper = vec![
        Hyper { lr: 0.1, momentum: 0.9, decay: 0.0 };
        session.program().graph().weights().len()
    ];
    let labels = vec![1; images.dim().0];
    let params = StepParams { hyper: &hyper, ..StepParams::default() };
    session.step(images.view(), &labels, &params).map(|outcome| outcome.loss)
}

#[test]
fn a_fork_is_told_that_it_has_no_threads() {
    let (one, many) = (images(1), images(20));
    let mut session = session(2);
    let expected: [ArrayD<f32>; 2] =
        [&one, &many].map(|images| session.forward(images.view()).unwrap());
    let parent = std::process::id();
    let end = fork(|| {
        let refused = |error: Error| {
            let text = error.to_string();
            assert!(matches!(error, Error::Forked { process } if process == parent), "{text}");
            assert!(text.contains("Session::fork"), "{text}");
        };
        refused(session.forward(many.view()).unwrap_err());
        refused(step(&mut session, &many).unwrap_err());
        let weights = session.weights();
        refused(session.set_weights(&weights).unwrap_err());
        // A session of the child's own has the same weights, and threads.
        let mut own = session.fork().unwrap();
        for (images, expected) in [&one, &many].into_iter().zip(&expected) {
            assert_eq!(own.forward(images.view()).unwrap(), *expected);
        }
        drop(own);
        // There is nobody to wait for.
        drop(session);
    });
    assert_eq!(end, End::Well);
    // The parent's threads are still there.
    assert_eq!(self::session(2).forward(many.view()).unwrap(), expected[1]);
}

#[test]
fn a_session_on_one_thread_goes_on_in_a_fork() {
    let many = images(20);
    let mut session = session(1);
    let mut twin = session.fork().unwrap();
    let losses = [(); 2].map(|()| step(&mut twin, &many).unwrap());
    let end = fork(|| {
        let again = [(); 2].map(|()| step(&mut session, &many).unwrap());
        assert_eq!(again, losses);
        drop(session);
    });
    assert_eq!(end, End::Well);
}
