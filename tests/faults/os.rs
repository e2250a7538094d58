//! What only the system can do to a process.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// Sends a signal.
pub(crate) fn send(child: &Child, signal: i32) {
    let process = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: kill touches no memory of this process; the child was not waited for, so that its number is still its own.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0, "{}", io::Error::last_os_error());
}

/// No file of the command grows beyond so many bytes: as on a full disk, a write that would fails.
pub(crate) fn limited(command: &mut Command, bytes: u64) -> &mut Command {
    let limit = move || {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: between fork and exec these two system calls are allowed; they read `limit` and nothing else.
        let set = unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit)
        };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes system calls alone and allocates nothing.
    unsafe { command.pre_exec(limit) }
}

/// The command starts with a signal ignored, as `nohup` starts it.
pub(crate) fn ignoring(command: &mut Command, signal: i32) -> &mut Command {
    let ignore = move || {
        // SAFETY: a system call that is allowed between fork and exec.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(ignore) }
}

/// Both ends of a terminal of so many columns: the one a person sits at, and the one a command writes to.
pub(crate) fn terminal(columns: u16) -> (File, File) {
    let (mut person, mut command) = (0, 0);
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: openpty writes the two descriptors, reads `size`, and takes null for no name and no settings.
    let opened = unsafe {
        libc::openpty(
            &raw mut person,
            &raw mut command,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw const size).cast_mut(),
        )
    };
    assert_eq!(opened, 0, "{}", io::Error::last_os_error());
    // SAFETY: both are open and belong to nobody else.
    unsafe { (File::from_raw_fd(person), File::from_raw_fd(command)) }
}
