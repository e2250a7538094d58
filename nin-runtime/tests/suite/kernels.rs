//! What plans and makers leave of the speed of chosen models, without a clock: algorithms and tiles of every product with what
//! they are reckoned to cost, and the instructions of the loops in which the time goes. A shape that is lost, a sum that is
//! spilled or a load that is made twice is a difference in a snapshot, on any machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use nin_runtime::compile::{Purpose, planned};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::codegen::{self, Assembly, MachineCode, Target};
use nin_runtime::compiler::kernel::{Kernel, TileShape};
use nin_runtime::compiler::plan::{self, Algorithm, Algos, Choice, Demand, Plan, Product};
use nin_runtime::export::platform;

use crate::libraries::shipped;

/// What the innermost loop of a tile consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Loop {
    instructions: usize,
    products: usize,
    loads: usize,
    stores: usize,
}

/// The instructions up to the first return, in order.
fn decode(bytes: &[u8]) -> Vec<Instruction> {
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    let mut found = vec![];
    while decoder.can_decode() {
        let instruction = decoder.decode();
        found.push(instruction);
        if instruction.mnemonic() == Mnemonic::Ret {
            break;
        }
    }
    found
}

fn is_product(instruction: &Instruction) -> bool {
    let name = format!("{:?}", instruction.mnemonic()).to_lowercase();
    ["vfmadd", "vmulps", "mulps"].iter().any(|product| name.starts_with(product))
}

impl Loop {
    fn of(body: &[Instruction]) -> Loop {
        let memory = |operand: u32| {
            move |of: &&Instruction| {
                of.op_count() > operand
                    && of.op_kind(operand) == OpKind::Memory
                    && of.mnemonic() != Mnemonic::Lea
            }
        };
        let loads = body.iter().filter(|of| memory(1)(of) || memory(2)(of)).count();
        Loop {
            instructions: body.len(),
            products: body.iter().filter(|of| is_product(of)).count(),
            loads,
            stores: body.iter().filter(memory(0)).count(),
        }
    }

    /// The shortest loop with products in it; all of a tile that has none.
    fn innermost(code: &[Instruction]) -> Loop {
        let back = code.iter().enumerate().filter_map(|(end, jump)| {
            let jumps = jump.op_count() == 1 && jump.op0_kind() == OpKind::NearBranch64;
            let target = jump.near_branch_target();
            let back = jumps && jump.mnemonic() != Mnemonic::Call && target <= jump.ip();
            let start = code.iter().position(|of| of.ip() == target).filter(|_| back)?;
            Some(&code[start..=end])
        });
        let bodies = back.map(Loop::of).filter(|body| body.products > 0);
        bodies.min_by_key(|body| body.instructions).unwrap_or_else(|| Loop::of(code))
    }
}

/// Plan and code of a model's training in batches of 128, for any CPU of an instruction set.
fn compiled(name: &str, isa: Isa) -> (nin_dsl::graph::Graph, Plan, Vec<MachineCode>) {
    let graph = shipped(name);
    let triple = platform(Some("x86_64-unknown-linux-gnu")).expect("a platform");
    let target = Target::of(&triple, isa).expect("a target");
    let demand = Demand { batch: 128, registers: target.registers(), algos: &Algos::default() };
    let plan = planned(&graph, Purpose::Training, demand);
    let clif = codegen::write(plan::verify(&graph, &plan), &target);
    let code = codegen::translate(clif, &target, 2, Assembly::Drop).expect("code");
    (graph, plan, code)
}

fn product(choice: Choice, tile: TileShape) -> String {
    let algorithm = match choice.algorithm {
        Algorithm::Direct => "direct".to_owned(),
        Algorithm::Winograd(winograd) => {
            format!("winograd{} {}", winograd.size.outputs, winograd.reach)
        }
    };
    format!("{tile} {algorithm}, {} of {}", choice.cost.total(), choice.direct)
}

/// What there is to say of a model's code.
fn account(name: &str, isa: Isa) -> String {
    let (graph, plan, code) = compiled(name, isa);
    let mut text = String::from("products: tile, algorithm, cost of the cost of the direct one\n");
    for conv in &plan.convs {
        let weight = graph.weight(conv.kernel).name.trim_end_matches(".weight");
        let products = [
            ("forward", conv.choice(Product::Forward), conv.tile(Product::Forward)),
            ("input grad", conv.choice(Product::InputGrad), conv.tile(Product::InputGrad)),
            ("kernel grad", conv.choice(Product::KernelGrad), conv.tile(Product::KernelGrad)),
        ];
        for (what, choice, tile) in products {
            writeln!(text, "  {weight} {what}: {}", product(choice, tile)).unwrap();
        }
    }
    let mut tiles: BTreeMap<(usize, usize), BTreeMap<Loop, usize>> = BTreeMap::new();
    let (mut of_tiles, mut of_transforms, mut others) = (0, 0, 0);
    for function in &code {
        match &function.kernel {
            Kernel::Tile(tile) => {
                let innermost = Loop::innermost(&decode(&function.bytes));
                *tiles.entry((tile.rows, tile.cols)).or_default().entry(innermost).or_default() +=
                    1;
                of_tiles += function.bytes.len();
            }
            Kernel::Transform(_) => of_transforms += function.bytes.len(),
            Kernel::Block { .. }
            | Kernel::Step { .. }
            | Kernel::Strips { .. }
            | Kernel::Sums { .. }
            | Kernel::Gather { .. }
            | Kernel::Track { .. }
            | Kernel::Follow { .. }
            | Kernel::Entry(_)
            | Kernel::Export(_)
            | Kernel::Intrinsic(_)
            | Kernel::Offsets => others += function.bytes.len(),
        }
    }
    writeln!(text, "tiles: innermost loops").unwrap();
    for ((rows, cols), loops) in tiles {
        for (Loop { instructions, products, loads, stores }, count) in loops {
            writeln!(
                text,
                "  {rows}x{cols}: {products} products, {loads} loads, {stores} stores in {instructions} instructions, {count} times"
            )
            .unwrap();
        }
    }
    writeln!(
        text,
        "bytes: {of_tiles} of tiles, {of_transforms} of transforms, {others} around them"
    )
    .unwrap();
    writeln!(
        text,
        "floats: {} of an arena, {} prepared, {} of a slice",
        plan.arena() / size_of::<f32>(),
        plan.prepared_bytes / size_of::<f32>(),
        plan.slice_floats
    )
    .unwrap();
    text
}

const ISAS: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

#[test]
fn digits_costs_what_it_did() {
    for isa in ISAS {
        insta::assert_snapshot!(format!("kernels-digits-{isa}"), account("digits.nin", isa));
    }
}

#[test]
fn nin_cifar10_costs_what_it_did() {
    for isa in ISAS {
        insta::assert_snapshot!(format!("kernels-cifar10-{isa}"), account("nin-cifar10.nin", isa));
    }
}

/// Assembled tiles keep their sums in registers: what a loop that adds products stores is spilled.
#[test]
fn no_sum_is_spilled() {
    for isa in [Isa::Avx2, Isa::Avx512] {
        for function in compiled("nin-cifar10.nin", isa).2 {
            let Kernel::Tile(tile) = &function.kernel else { continue };
            let code = decode(&function.bytes);
            let innermost = Loop::innermost(&code);
            let loops = innermost.instructions < code.len();
            assert!(!loops || innermost.stores == 0, "{isa}: {tile}: {innermost:?}");
        }
    }
}
