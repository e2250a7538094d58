//! Systems that refuse a process memory to execute: what runs models maps its code in another way, or says what is refused; what
//! only writes files does not notice.
#![cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
#![allow(unsafe_code)]

mod common;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Output;

use common::{Bench, Folder};

/// What a child process is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Memory that becomes executable: the kernel's own rule (`PR_SET_MDWE`), from Linux 6.3 on.
    Kernel,
    /// The same by a filter of system calls, as sandboxes have it.
    Sandbox,
    /// That, and files without names: there is no other way left.
    Everything,
}

impl Rule {
    /// Makes the rule this process's, for good.
    fn impose(self) -> io::Result<()> {
        let filtered = match self {
            Rule::Kernel => {
                let flags = libc::c_ulong::from(libc::PR_MDWE_REFUSE_EXEC_GAIN);
                // SAFETY: sets an attribute of the process, from plain numbers.
                return answered(unsafe {
                    libc::prctl(libc::PR_SET_MDWE, flags, 0_u64, 0_u64, 0_u64)
                });
            }
            Rule::Sandbox => u32::MAX,
            Rule::Everything => libc::SYS_memfd_create as u32,
        };
        let mut filter = filter(filtered);
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: plain numbers, and a program of filters that lives during the call; the kernel copies it.
        unsafe {
            answered(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64))?;
            let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
            answered(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program))
        }
    }
}

fn answered(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Refuses `mprotect` that makes memory executable, and one more system call.
fn filter(refused: u32) -> [libc::sock_filter; 7] {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
    /// Where the number of the call, and the low half of its third argument, lie in what a filter sees.
    const NUMBER: u32 = 0;
    const THIRD: u32 = 32;
    let op =
        |code: u32, k: u32, [jt, jf]: [u8; 2]| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at| op(BPF_LD | BPF_W | BPF_ABS, at, [0, 0]);
    let answer = |with| op(BPF_RET | BPF_K, with, [0, 0]);
    [
        load(NUMBER),
        op(BPF_JMP | BPF_JEQ | BPF_K, libc::SYS_mprotect as u32, [0, 2]),
        load(THIRD),
        op(BPF_JMP | BPF_JSET | BPF_K, libc::PROT_EXEC as u32, [2, 1]),
        op(BPF_JMP | BPF_JEQ | BPF_K, refused, [1, 0]),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_ERRNO | libc::EACCES as u32),
    ]
}

/// Runs a line under a rule; `None` if this kernel has none such.
fn under(rule: Rule, folder: &Folder, line: &str) -> Option<Output> {
    let mut command = folder.command(line);
    // SAFETY: between fork and exec, the child only makes system calls from numbers and from its own stack.
    unsafe { command.pre_exec(move || rule.impose()) };
    match command.output() {
        Err(error) if rule == Rule::Kernel && error.raw_os_error() == Some(libc::EINVAL) => None,
        output => Some(output.unwrap()),
    }
}

/// Every verb that runs a model, in an order in which each has what it needs.
const RUNS: [&str; 6] = [
    "train m.nin --data mnist:data --epochs 1 --out run",
    "eval m.nin --weights w --data mnist:data",
    "features m.nin --weights w dot.png -o maps.png",
    "predict m.nin --weights w dot.png",
    "run m.nin --weights w --input x.npy -o y.npy",
    "bench m.nin --batch 1",
];

/// A folder in which every verb has what it needs.
fn folder() -> Bench {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    let array = ndarray::Array4::<f32>::from_elem((2, 1, 8, 8), 0.5);
    ndarray_npy::write_npy(bench.path("x.npy"), &array).unwrap();
    let file = fs::File::create(bench.path("dot.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    let pixels: Vec<u8> = (0..64).map(|at| at * 4).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bench
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Where written memory cannot become executable, code is mapped in another way, and computes the same.
#[test]
fn models_run_where_written_memory_stays_unexecutable() {
    let bench = folder();
    for rule in [Rule::Kernel, Rule::Sandbox] {
        for line in RUNS {
            let Some(output) = under(rule, &bench, line) else { continue };
            assert!(output.status.success(), "{rule:?}: nin {line}: {}", text(&output.stderr));
            if line.starts_with("eval") || line.starts_with("predict") {
                assert_eq!(text(&output.stdout), bench.run(line), "{rule:?}: nin {line}");
            }
        }
        let _ = fs::remove_dir_all(bench.path("run"));
    }
}

/// Where no code can be had, an error says so, and what to do; nothing panics.
#[test]
fn a_refusal_is_told() {
    let bench = folder();
    for line in RUNS {
        let output = under(Rule::Everything, &bench, line).unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "nin {line}: {errors}");
        for part in ["execute", "Permission denied", "nin compile"] {
            assert!(errors.contains(part), "nin {line}: {errors}");
        }
    }
}

/// Libraries are made where no code can be executed, of this CPU or another, and hold the same bytes.
#[test]
fn libraries_are_made_all_the_same() {
    let bench = folder();
    let files = || {
        ["out.o", "out.a", "out.so", "out.h"].map(|file| {
            let bytes = fs::read(bench.path(file)).unwrap();
            fs::remove_file(bench.path(file)).unwrap();
            bytes
        })
    };
    for isa in ["--isa dispatch", "--target aarch64-unknown-linux-gnu"] {
        for contents in ["--weights w", "--train", ""] {
            let kinds = "--emit obj,staticlib,shared,header -o out";
            let line = format!("compile m.nin {contents} {isa} {kinds}");
            bench.run(&line);
            let expected = files();
            let output = under(Rule::Everything, &bench, &line).unwrap();
            assert!(output.status.success(), "nin {line}: {}", text(&output.stderr));
            assert_eq!(files(), expected, "nin {line}");
        }
    }
}
