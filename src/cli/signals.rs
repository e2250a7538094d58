//! [`Stop`]: what asks a run to stop, be it Ctrl-C, a request to terminate or a hang-up.
//!
//! What was ignored when the command started stays ignored: so `nohup` and shells' background jobs ask for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::INTERRUPTED;
use super::terminal::Terminal;

/// Which signals ask.
#[cfg(unix)]
const SIGNALS: &[i32] = &[SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: &[i32] = &HURRYING;
/// Which of them hurry when they come again.
const HURRYING: [i32; 2] = [SIGINT, SIGTERM];

/// Whether somebody has asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    /// Whether nothing is left to answer; locked while the answer is printed.
    answered: Arc<Mutex<bool>>,
}

impl Stop {
    /// From now on the first signal asks, and a second one that a person sends ends the process at once.
    pub(crate) fn on_signals(terminal: Terminal) -> anyhow::Result<Stop> {
        let asked = Arc::new(AtomicBool::new(false));
        let heeded = SIGNALS.iter().copied().filter(|&signal| !is_ignored(signal));
        let heeded: Vec<i32> = heeded.collect();
        let registered = heeded.iter().try_for_each(|&signal| {
            // Whoever presses Ctrl-C twice does not want to wait for the step under way. No file is half written by this:
            // they are renamed into place. A terminal that closes sends its hang-up twice, by the shell and by itself.
            if HURRYING.contains(&signal) {
                let status = i32::from(INTERRUPTED);
                flag::register_conditional_shutdown(signal, status, Arc::clone(&asked))?;
            }
            flag::register(signal, Arc::clone(&asked)).map(drop)
        });
        registered.context("Ctrl-C cannot be handled")?;
        let stop = Stop { asked, answered: Arc::default() };
        stop.answer(&heeded, terminal);
        Ok(stop)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// From now on no signal is answered: the end of the run is the answer.
    pub(crate) fn done(&self) {
        *self.lock() = true;
    }

    /// Answers the first signal at once: a step can take long. Where there is no thread to be had, the end of the step is the
    /// answer.
    #[cfg(unix)]
    fn answer(&self, signals: &[i32], terminal: Terminal) {
        let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) else { return };
        let stop = self.clone();
        let answer = move || {
            let came = signals.forever().next().is_some();
            let mut answered = stop.lock();
            if came && !*answered {
                terminal.interject(
                    "stopping as soon as what is under way is finished and saved; a second Ctrl-C ends it at once",
                );
                *answered = true;
            }
        };
        // The handle is not waited for: the thread goes with the process.
        let _ = std::thread::Builder::new().name("nin-signals".to_owned()).spawn(answer);
    }

    #[cfg(not(unix))]
    fn answer(&self, _: &[i32], _: Terminal) {}

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether whoever started the command had it ignore a signal.
#[cfg(unix)]
#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, sigaction changes nothing and writes the present one to `found`, if it returns 0.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), found.as_mut_ptr()) == 0
            && found.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
fn is_ignored(_: i32) -> bool {
    false
}
