//! Machine code as people read it: every function in one syntax, jumps by label, calls by name.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_module::ModuleRelocTarget;
use iced_x86::{
    Decoder, DecoderOptions, Formatter as _, Instruction, Mnemonic, NasmFormatter, OpKind,
    SymbolResolver, SymbolResult,
};

use super::code::MachineCode;
use crate::compiler::kernel::Kernel;

/// All functions, a heading each; a function's position is its number. What has no text from its maker is x86-64's and is
/// disassembled.
pub(crate) fn listing<'a>(code: impl IntoIterator<Item = &'a MachineCode>) -> String {
    let code: Vec<&MachineCode> = code.into_iter().collect();
    let one = |function: &&MachineCode| {
        let body = match &function.assembly {
            Some(text) => text.clone(),
            None if function.kernel == Kernel::Offsets => String::new(),
            None => disassemble(function, &code),
        };
        let name = name(&function.kernel, function.others);
        format!("; {name} ({} bytes)\n{body}\n", function.bytes.len())
    };
    code.iter().map(one).collect()
}

/// What a function is called above its text.
pub(super) fn name(kernel: &Kernel, others: usize) -> String {
    match others {
        0 => kernel.to_string(),
        others => format!("{kernel}, and {others} like it"),
    }
}

fn disassemble(function: &MachineCode, program: &[&MachineCode]) -> String {
    let instructions = reachable(&function.bytes);
    let targets = instructions.values().filter_map(branch_target).collect::<BTreeSet<u64>>();
    let labels: BTreeMap<u64, String> =
        targets.into_iter().zip(1..).map(|(at, number)| (at, format!("L{number}"))).collect();
    let names = Names { labels: labels.clone(), calls: calls(function, program) };
    let mut formatter = NasmFormatter::with_options(Some(Box::new(names)), None);
    formatter.options_mut().set_show_branch_size(false);
    let mut text = String::new();
    let mut end = 0;
    for (&at, instruction) in &instructions {
        data(&mut text, at - end);
        if let Some(label) = labels.get(&at) {
            text += &format!("{label}:\n");
        }
        text.push_str("  ");
        formatter.format(instruction, &mut text);
        text.push('\n');
        end = instruction.next_ip();
    }
    data(&mut text, function.bytes.len() as u64 - end);
    text
}

/// What no instruction reaches: padding, and constants that are read.
fn data(text: &mut String, bytes: u64) {
    if bytes > 0 {
        *text += &format!("  ; {bytes} bytes of constants and padding\n");
    }
}

/// The instructions that control reaches from the first byte on, by their places.
pub(super) fn reachable(bytes: &[u8]) -> BTreeMap<u64, Instruction> {
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    let mut found = BTreeMap::new();
    let mut ahead = vec![0];
    while let Some(at) = ahead.pop() {
        if at >= bytes.len() as u64 || found.contains_key(&at) {
            continue;
        }
        decoder.set_position(at as usize).expect("the place is in the code");
        decoder.set_ip(at);
        let instruction = decoder.decode();
        ahead.extend(branch_target(&instruction));
        let goes_on =
            !matches!(instruction.mnemonic(), Mnemonic::Jmp | Mnemonic::Ret | Mnemonic::Ud2);
        ahead.extend(goes_on.then_some(instruction.next_ip()));
        found.insert(at, instruction);
    }
    found
}

/// Where a jump within the function leads.
fn branch_target(instruction: &Instruction) -> Option<u64> {
    let near = instruction.op0_kind() == OpKind::NearBranch64;
    let jumps = near && instruction.mnemonic() != Mnemonic::Call;
    jumps.then(|| instruction.near_branch_target())
}

/// The functions named by a function's relocations, by their places.
fn calls(function: &MachineCode, program: &[&MachineCode]) -> BTreeMap<u64, String> {
    let named = function.relocs.iter().filter_map(|reloc| match reloc.name {
        ModuleRelocTarget::User { namespace: 0, index } => {
            Some((u64::from(reloc.offset), program.get(index as usize)?.kernel.to_string()))
        }
        _ => None,
    });
    named.collect()
}

/// What the formatter writes in place of addresses.
struct Names {
    labels: BTreeMap<u64, String>,
    calls: BTreeMap<u64, String>,
}

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _operand: u32,
        _instruction_operand: Option<u32>,
        address: u64,
        _address_size: u32,
    ) -> Option<SymbolResult<'_>> {
        let called = self.calls.range(instruction.ip()..instruction.next_ip()).next();
        let label = || branch_target(instruction).and_then(|target| self.labels.get(&target));
        let name = called.map(|(_, name)| name).or_else(label)?;
        Some(SymbolResult::with_str(address, name))
    }
}
