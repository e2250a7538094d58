//! Which level a library takes on which CPU, what its code is made of, and what documents say.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use target_lexicon::Triple;

use super::*;
use crate::compile::{Purpose, planned};
use crate::compiler::codegen::{self, Assembly, Target, intrinsic, listing};
use crate::compiler::kernel::{Intrinsic, Kernel};
use crate::compiler::plan::{self, Algos, Demand};
use crate::model::Model;

/// What CPUID and XGETBV answer.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    /// Leaf 0, EAX: the last leaf.
    last: u32,
    /// Leaf 1, ECX.
    leaf1: u32,
    /// Leaf 7, EBX.
    leaf7: u32,
    xcr0: u32,
}

const OSXSAVE: u32 = 1 << 27;

fn target(isa: Isa) -> Target {
    Target::of(&"x86_64-unknown-linux-gnu".parse::<Triple>().unwrap(), isa).unwrap()
}

/// Runs a library's bytes, step by step, on a CPU that answers as recorded.
fn level(cpu: Cpu) -> u64 {
    let bytes = intrinsic::assemble(Intrinsic::Detect, &target(Isa::Portable));
    let code = listing::reachable(&bytes);
    let mut registers: BTreeMap<Register, u32> = BTreeMap::new();
    let (mut saved, mut carry, mut zero) = (Vec::new(), false, false);
    let mut at = 0;
    for _ in 0..1000 {
        let instruction = code[&at];
        at = instruction.next_ip();
        let get =
            |register: Register| registers.get(&register.full_register()).copied().unwrap_or(0);
        let operand = |number: u32| match instruction.op_kind(number) {
            OpKind::Register => get(instruction.op_register(number)),
            _ => instruction.immediate(number) as u32,
        };
        let to = instruction.op0_register().full_register();
        match instruction.mnemonic() {
            Mnemonic::Push => saved.push(get(to)),
            Mnemonic::Pop => drop(registers.insert(to, saved.pop().expect("something was pushed"))),
            Mnemonic::Mov => drop(registers.insert(to, operand(1))),
            mnemonic @ (Mnemonic::Xor | Mnemonic::And | Mnemonic::Test | Mnemonic::Cmp) => {
                let (a, b) = (operand(0), operand(1));
                let result = match mnemonic {
                    Mnemonic::Xor => a ^ b,
                    Mnemonic::Cmp => a.wrapping_sub(b),
                    _ => a & b,
                };
                (zero, carry) = (result == 0, mnemonic == Mnemonic::Cmp && a < b);
                if matches!(mnemonic, Mnemonic::Xor | Mnemonic::And) {
                    registers.insert(to, result);
                }
            }
            Mnemonic::Cpuid => {
                let (leaf, part) = (get(Register::RAX), get(Register::RCX));
                let [eax, ebx, ecx] = answers(cpu, leaf, part);
                registers.extend([
                    (Register::RAX, eax),
                    (Register::RBX, ebx),
                    (Register::RCX, ecx),
                ]);
                registers.insert(Register::RDX, 0x1234_5678);
            }
            Mnemonic::Xgetbv => {
                assert_ne!(cpu.leaf1 & OSXSAVE, 0, "the instruction faults on this CPU");
                assert_eq!(get(Register::RCX), 0, "XCR0 is asked for");
                registers.extend([(Register::RAX, cpu.xcr0), (Register::RDX, 0)]);
            }
            Mnemonic::Jb if carry => at = instruction.near_branch_target(),
            Mnemonic::Je if zero => at = instruction.near_branch_target(),
            Mnemonic::Jne if !zero => at = instruction.near_branch_target(),
            Mnemonic::Jb | Mnemonic::Je | Mnemonic::Jne => {}
            Mnemonic::Ret => {
                assert!(saved.is_empty(), "what was pushed was popped");
                return u64::from(get(Register::RAX));
            }
            other => panic!("the function has {other:?}, which this does not know"),
        }
    }
    panic!("the function does not return")
}

/// EAX, EBX and ECX. Beyond its last leaf, a CPU may answer with anything.
fn answers(cpu: Cpu, leaf: u32, part: u32) -> [u32; 3] {
    assert_eq!(part, 0, "of each leaf the first part is asked for");
    match leaf {
        0 => [cpu.last, 0x756e_6547, 0x6c65_746e],
        _ if leaf > cpu.last => [u32::MAX; 3],
        1 => [0x0005_0671, 0x00ff_0800, cpu.leaf1],
        7 => [0, cpu.leaf7, 0x0000_0001],
        other => panic!("leaf {other} was asked for"),
    }
}

const NEHALEM: Cpu = Cpu { last: 0xb, leaf1: 0x009c_e3bd, leaf7: 0, xcr0: 0 };
const SANDY_BRIDGE: Cpu = Cpu { last: 0xd, leaf1: 0x1fba_e3bf, leaf7: 0, xcr0: 0x7 };
const HASWELL: Cpu = Cpu { last: 0xd, leaf1: 0x7ffa_fbbf, leaf7: 0x0000_27ab, xcr0: 0x7 };
const KNIGHTS_LANDING: Cpu = Cpu { last: 0xd, leaf1: 0x7ffa_f3bf, leaf7: 0x1c0d_23ab, xcr0: 0xe7 };
const SKYLAKE_SP: Cpu = Cpu { last: 0x16, leaf1: 0x7ffe_fbff, leaf7: 0xd39f_fffb, xcr0: 0x2ff };
const ALDER_LAKE: Cpu = Cpu { last: 0x20, leaf1: 0x7ffa_fbff, leaf7: 0x239c_27eb, xcr0: 0x207 };
const ZEN_3: Cpu = Cpu { last: 0x10, leaf1: 0x7ed8_320b, leaf7: 0x219c_97a9, xcr0: 0x207 };
const VIRTUAL: Cpu = Cpu { last: 0x1c, leaf1: 0xfffa_3203, leaf7: 0xf1bf_07ab, xcr0: 0xe7 };
const ZEN_4: Cpu = Cpu { last: 0x10, leaf1: 0x7ed8_320b, leaf7: 0xf1bf_97a9, xcr0: 0x2e7 };

#[test]
fn recorded_cpus_get_their_level() {
    for (name, cpu, expected) in [
        ("Nehalem", NEHALEM, 0),
        ("Sandy Bridge, without AVX2", SANDY_BRIDGE, 0),
        ("Haswell", HASWELL, 1),
        ("Knights Landing, AVX-512F without VL", KNIGHTS_LANDING, 1),
        ("Skylake-SP", SKYLAKE_SP, 2),
        ("Alder Lake, AVX-512 fused off", ALDER_LAKE, 1),
        ("Zen 3", ZEN_3, 1),
        ("Zen 4", ZEN_4, 2),
        ("an EPYC's virtual machine", VIRTUAL, 2),
        ("a system that keeps no masks and no ZMM", Cpu { xcr0: 0x7, ..ZEN_4 }, 1),
        ("a system that keeps no YMM", Cpu { xcr0: 0x3, ..HASWELL }, 0),
        ("a system that keeps ZMM's and no YMM", Cpu { xcr0: 0xe3, ..SKYLAKE_SP }, 0),
        ("a system without XSAVE", Cpu { leaf1: SKYLAKE_SP.leaf1 & !OSXSAVE, ..SKYLAKE_SP }, 0),
        ("a hypervisor that ends before leaf 7", Cpu { last: 6, ..SKYLAKE_SP }, 0),
    ] {
        assert_eq!(level(cpu), expected, "{name}: {cpu:x?}");
    }
}

/// Whatever single bit of a level is missing, the level is not taken; what is beside them does not matter.
#[test]
fn every_bit_of_the_table_is_looked_at() {
    let none = Cpu { last: 7, leaf1: OSXSAVE, leaf7: 0, xcr0: 0 };
    let least = |number: usize| {
        LEVELS[..number].iter().fold(none, |cpu, level| Cpu {
            leaf1: cpu.leaf1 | level.mask(Word::Leaf1Ecx),
            leaf7: cpu.leaf7 | level.mask(Word::Leaf7Ebx),
            xcr0: cpu.xcr0 | level.state,
            ..cpu
        })
    };
    let has = |cpu: Cpu, least: Cpu| {
        [(cpu.leaf1, least.leaf1), (cpu.leaf7, least.leaf7), (cpu.xcr0, least.xcr0)]
            .into_iter()
            .all(|(word, least)| word & least == least)
    };
    for number in 0..=LEVELS.len() {
        let cpu = least(number);
        assert_eq!(level(cpu), number as u64);
        for bit in (0..32).map(|bit| 1 << bit) {
            for changed in [
                Cpu { leaf1: cpu.leaf1 ^ bit, ..cpu },
                Cpu { leaf7: cpu.leaf7 ^ bit, ..cpu },
                Cpu { xcr0: cpu.xcr0 ^ bit, ..cpu },
            ] {
                let expected = (0..=LEVELS.len()).rev().find(|&number| has(changed, least(number)));
                assert_eq!(level(changed), expected.unwrap_or(0) as u64, "{changed:x?}");
            }
        }
    }
}

/// Names of features as the disassembler has them: what every CPU of the platform has, and what a level needs.
fn allowed(isa: Isa) -> BTreeSet<String> {
    let baseline = [
        "INTEL8086",
        "INTEL186",
        "INTEL286",
        "INTEL386",
        "INTEL486",
        "X64",
        "CMOV",
        "SSE",
        "SSE2",
        "MULTIBYTENOP",
        "CPUID",
    ];
    let names = features(isa).map(|feature| feature.name.to_uppercase().replace('.', "_"));
    baseline.into_iter().map(str::to_owned).chain(names).collect()
}

/// Code uses nothing that its level does not ask the CPU for.
#[test]
fn code_needs_what_its_level_says() {
    let text = "model M < input(3, 16, 16) mlpconv(40, 21, kernel = 5) batchnorm maxpool(3, stride = 2, round = ceil)
                dropout(0.25) conv(33, kernel = 3) elu avgpool(2) conv(12, kernel = 3, stride = 2) gap softmax >";
    let model = Model::from_text("m.nin", text, &[]).unwrap();
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
        let (target, allowed) = (target(isa), allowed(isa));
        for algo in ["auto", "direct", "winograd"] {
            let algos: Algos = algo.parse().unwrap();
            let demand = Demand { batch: 128, registers: target.registers(), algos: &algos };
            let plan = planned(model.graph(), Purpose::Training, demand);
            let clif = codegen::write(plan::verify(model.graph(), &plan), &target);
            let functions = codegen::translate(clif, &target, 2, Assembly::Drop).unwrap();
            for function in functions.iter().filter(|of| of.kernel != Kernel::Offsets) {
                for instruction in listing::reachable(&function.bytes).values() {
                    for feature in needed(instruction) {
                        let kernel = &function.kernel;
                        assert!(
                            allowed.contains(&feature),
                            "{isa}: {instruction} of {kernel} needs {feature}"
                        );
                        used.entry(isa.word()).or_default().insert(feature);
                    }
                }
            }
        }
    }
    // The rows that made the difference are there for a reason.
    assert!(used["avx512"].contains("AVX512VL") && used["avx2"].contains("FMA"));
}

fn needed(instruction: &Instruction) -> impl Iterator<Item = String> {
    instruction.cpuid_features().iter().map(|feature| format!("{feature:?}"))
}

/// Documents say what the table says.
#[test]
fn documents_have_the_table() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ahead-of-time.md");
    let text = std::fs::read_to_string(file).unwrap();
    for level in &LEVELS {
        let names: Vec<String> = level.features.iter().map(|feature| shown(feature.name)).collect();
        let bits: Vec<String> = (0..32)
            .filter(|bit| level.state & 1 << bit != 0)
            .map(|bit: u32| bit.to_string())
            .collect();
        let row = format!("| `{}` | {} | {} |", level.isa, names.join(", "), bits.join(", "));
        assert!(text.contains(&row), "docs/ahead-of-time.md lacks the row\n{row}");
    }
    for isa in [Isa::Avx2, Isa::Avx512] {
        for feature in ["avx2", "fma", "avx512f", "avx512vl"] {
            let own = LEVELS[number(isa) - 1].features.iter().any(|other| other.name == feature);
            assert_eq!(isa.summary().contains(&shown(feature)), own, "{isa}: {feature}");
        }
    }
}

/// A feature's name in documents.
fn shown(name: &str) -> String {
    name.to_uppercase().replace("AVX512", "AVX-512")
}
