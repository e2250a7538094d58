//! How the command behaves beside others: help, completions, manual, quietness, colours, pipes.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::Bench;

/// Every verb, as `nin help` lists them.
fn verbs(bench: &Bench) -> Vec<String> {
    let help = bench.run("help");
    let list = help.lines().skip_while(|line| *line != "Verbs:").skip(1);
    let words = list.map_while(|line| line.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

/// A line for each verb that prints results, all of which succeed after [`prepare`].
const PRINTING: [&str; 15] = [
    "check m.nin",
    "check m.nin --json",
    "explain",
    "show m.nin --stage clif",
    "data mnist:data",
    "train m.nin --data mnist:data --epochs 1",
    "sweep m.nin --data mnist:data --epochs 1 --out swept",
    "eval m.nin --weights w --data mnist:data",
    "features m.nin --weights w image.png -o maps.png",
    "predict m.nin --weights w image.png",
    "run m.nin --weights w --input x.npy --labels l.npy -o y.npy",
    "bench m.nin --batch 1 --runs 1 --json",
    "completions bash",
    "man train",
    "--help",
];

/// A folder with what the lines name.
fn prepare() -> Bench {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seven.png");
    fs::copy(picture, bench.path("image.png")).unwrap();
    ndarray_npy::write_npy(bench.path("x.npy"), &ndarray::Array4::<f32>::zeros((1, 1, 8, 8)))
        .unwrap();
    ndarray_npy::write_npy(bench.path("l.npy"), &ndarray::arr1(&[3i64])).unwrap();
    bench
}

#[test]
fn a_closed_pipe_ends_every_verb_quietly() {
    let bench = prepare();
    for line in PRINTING {
        let mut child = bench
            .command(&format!("{line} -q"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert!(stderr.is_empty(), "nin {line}: {}", String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(0), "nin {line}");
    }
}

#[test]
fn quiet_leaves_the_results_and_verbose_adds_to_the_rest() {
    let bench = prepare();
    fs::write(bench.path("odd.nin"), "< input(1, 9, 9) conv(3) maxpool(2) gap softmax >").unwrap();
    for line in PRINTING.into_iter().chain(["check odd.nin", "init m.nin -o v", "fmt m.nin"]) {
        let output = |flag: &str| bench.command(&format!("{line} {flag}")).output().unwrap();
        let quiet = output("-q");
        assert!(quiet.status.success() && quiet.stderr.is_empty(), "nin {line} -q");
        let (plain, verbose) = (output(""), output("-v"));
        // Timings differ, and where runs are kept.
        let kind = line.split(' ').next().unwrap_or_default();
        if !["train", "bench", "explain"].contains(&kind) {
            assert_eq!(quiet.stdout, plain.stdout, "nin {line}");
            assert_eq!(verbose.stdout, plain.stdout, "nin {line}");
        }
        let said = |output: &Output| output.stdout.len() + output.stderr.len();
        if !["completions", "man", "--help"].contains(&kind) {
            assert!(said(&verbose) > said(&plain), "nin {line} -v says no more");
        }
    }
}

#[test]
fn colours_follow_the_conventions() {
    let bench = Bench::new();
    let coloured = |set: &[(&str, &str)], line: &str| {
        let mut command = bench.command(line);
        for name in ["NO_COLOR", "CLICOLOR"] {
            command.env_remove(name);
        }
        let output = command.envs(set.iter().copied()).output().unwrap();
        String::from_utf8(output.stderr).unwrap().contains('\x1b')
    };
    // A mistake that clap finds, one that the checker finds, and one that the file system finds.
    for line in ["check", "check m.nin -D witdh=3", "check absent.nin"] {
        assert!(!coloured(&[], line), "nin {line}: standard error is no terminal");
        assert!(coloured(&[("CLICOLOR_FORCE", "1")], line), "nin {line}");
        assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], line), "nin {line}");
    }
}

#[test]
fn shells_are_told_of_every_verb() {
    let bench = Bench::new();
    let verbs = verbs(&bench);
    assert!(verbs.len() >= 12, "{verbs:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = bench.run(&format!("completions {shell}"));
        for word in verbs.iter().map(String::as_str).chain(["--stage", "avx512", "N012"]) {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            // What the scripts of other shells leave out.
            let knows = match word {
                "avx512" => ["bash", "fish", "zsh"].contains(&shell),
                "N012" => ["bash", "zsh"].contains(&shell),
                _ => true,
            };
            assert_eq!(script.contains(word), knows, "{word} in the script for {shell}");
        }
    }
    fs::write(bench.path("nin.bash"), bench.run("completions bash")).unwrap();
    // Where bash is, it must read the script and complete a verb.
    let probe = "source ./nin.bash; COMP_WORDS=(nin che); COMP_CWORD=1; _nin nin che nin; echo ${COMPREPLY[*]}";
    let bash = Command::new("bash").args(["-c", probe]).current_dir(bench.path("")).output();
    if let Ok(output) = bash {
        let reply = String::from_utf8_lossy(&output.stdout);
        assert_eq!(reply.trim(), "check", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_readme_names_every_verb() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for verb in verbs(&Bench::new()) {
        assert!(readme.contains(&format!("| `nin {verb} ")), "{verb}");
    }
}

#[test]
fn the_manual_has_a_page_a_verb() {
    let bench = Bench::new();
    bench.run("man --out pages -q");
    let overview = fs::read_to_string(bench.path("pages/nin.1")).unwrap();
    assert_eq!(overview, bench.run("man"));
    for verb in verbs(&bench) {
        assert!(overview.contains(&format!("nin\\-{verb}(1)")), "{verb} is not in the overview");
        let page = fs::read_to_string(bench.path(&format!("pages/nin-{verb}.1"))).unwrap();
        assert_eq!(page, bench.run(&format!("man {verb}")));
        for heading in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES"] {
            assert!(page.contains(&format!(".SH {heading}\n")), "{verb}: no {heading}");
        }
    }
}

/// In the order of the verbs, in a folder with the models and pictures of the repository.
#[cfg(unix)]
#[test]
fn the_examples_of_help_work_as_pasted() {
    let bench = Bench::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(bench.path("models")).unwrap();
    for model in ["digits.nin", "nin-mnist.nin"] {
        fs::copy(root.join("models").join(model), bench.path("models").join(model)).unwrap();
    }
    std::os::unix::fs::symlink(root.join("examples"), bench.path("examples")).unwrap();
    let nin = Path::new(env!("CARGO_BIN_EXE_nin")).parent().unwrap();
    let mut ran = 0;
    for verb in verbs(&bench) {
        for line in bench.run(&format!("{verb} --help")).replace("\\\n", "").lines() {
            let Some(example) = line.strip_prefix("  ").filter(|line| line.contains("nin ")) else {
                continue;
            };
            // Shortened where it is long, and without what other programs or the home folder are needed for.
            let example = match verb.as_str() {
                "train" if example.contains("-D") || example.contains("--resume") => continue,
                "train" => format!("{example} --epochs 1"),
                "bench" => format!("{example} --runs 1"),
                "completions" => example.replace("~/", "/dev/null; : "),
                "man" => example.replace("~/", "").replace("| man -l -", "| cat"),
                _ => {
                    example.replace("| less", "| cat").replace("| dot -Tsvg -o digits.svg", "| cat")
                }
            };
            if !example.starts_with("nin ") && !example.starts_with("echo ") {
                continue;
            }
            let path = [nin.to_str().unwrap(), ":", &std::env::var("PATH").unwrap()].concat();
            let mut shell = Command::new("sh");
            shell.args(["-ec", &example]).current_dir(bench.path("")).env("PATH", path);
            if verb == "run" && example.contains("--input") {
                let zeros = ndarray::Array4::<f32>::zeros((1, 1, 28, 28));
                ndarray_npy::write_npy(bench.path("x.npy"), &zeros).unwrap();
            }
            let output = shell.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{example}: {errors}");
            ran += 1;
        }
    }
    assert!(ran > 20, "only {ran} examples ran");
}
