//! The table of functions a program consists of. Asking for one is what puts it there.

use std::collections::HashMap;

use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, FuncRef, Function, Signature, UserExternalName,
};
use cranelift_codegen::isa::CallConv;

use super::signature;
use super::target::Target;
use crate::compiler::abi;
use crate::compiler::kernel::Kernel;

/// The function that a block, a step or an owner's strips are, perhaps shared with others that differ only in their offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// The function's number.
    pub(super) function: u32,
    /// Where its own offsets begin in the table.
    pub(super) offsets: usize,
}

/// How wide the numbers of a program's table of offsets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// 32 bits, where nothing lies farther on.
    Narrow,
    /// 64 bits.
    Wide,
}

impl Width {
    /// That of numbers of which none is larger.
    pub(super) fn of(largest: usize) -> Width {
        if u32::try_from(largest).is_ok() { Width::Narrow } else { Width::Wide }
    }

    /// Bytes of a number.
    pub(super) fn bytes(self) -> usize {
        match self {
            Width::Narrow => size_of::<u32>(),
            Width::Wide => size_of::<u64>(),
        }
    }
}

/// Kernels in the order they were first asked for. A kernel's position is its function's number in the module.
pub(super) struct Functions {
    kernels: Vec<Kernel>,
    indices: HashMap<Kernel, u32>,
    placed: HashMap<Kernel, Placed>,
    /// The table of offsets: [`Kernel::Offsets`].
    offsets: Vec<u64>,
    /// How wide its numbers are.
    width: Width,
    call_conv: CallConv,
    tile_call_conv: CallConv,
    /// The number of the first.
    first: usize,
}

impl Functions {
    /// An empty table whose functions are numbered from `first` on.
    pub(super) fn new(target: &Target, first: usize, width: Width) -> Functions {
        let (call_conv, tile_call_conv) = (target.call_conv(), target.tile_call_conv());
        Functions {
            kernels: Vec::new(),
            indices: HashMap::new(),
            placed: HashMap::new(),
            offsets: Vec::new(),
            width,
            call_conv,
            tile_call_conv,
            first,
        }
    }

    /// The kernel's number; a new one at the end of the table if nobody asked for it before.
    pub(super) fn index(&mut self, kernel: &Kernel) -> u32 {
        if let Some(&index) = self.indices.get(kernel) {
            return index;
        }
        let index = u32::try_from(self.first + self.kernels.len());
        let index = index.expect("a program has fewer than 2^32 functions");
        self.kernels.push(kernel.clone());
        self.indices.insert(kernel.clone(), index);
        index
    }

    /// What a kernel that reads offsets is, if it was written already.
    pub(super) fn placed(&self, kernel: &Kernel) -> Option<Placed> {
        self.placed.get(kernel).copied()
    }

    /// Says what a kernel that reads offsets is.
    pub(super) fn place(&mut self, kernel: Kernel, placed: Placed) {
        self.placed.insert(kernel, placed);
    }

    /// Adds numbers to the table of offsets; their position.
    pub(super) fn tabulate(&mut self, numbers: &[u64]) -> usize {
        let position = self.offsets.len();
        self.offsets.extend(numbers);
        position
    }

    /// The table of offsets.
    pub(super) fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// How wide its numbers are.
    pub(super) fn width(&self) -> Width {
        self.width
    }

    /// The kernel at a position, if the table reaches that far.
    pub(super) fn get(&self, position: usize) -> Option<&Kernel> {
        self.kernels.get(position)
    }

    /// The signature of a kernel's function.
    pub(super) fn signature(&self, kernel: &Kernel) -> Signature {
        signature::of(kernel, self.call_conv, self.tile_call_conv)
    }

    /// The signature of the functions of rules.
    pub(super) fn rule_signature(&self) -> Signature {
        signature::of_rule(self.call_conv)
    }

    /// Makes a numbered function of this table callable from another one.
    pub(super) fn import(&self, index: u32, caller: &mut Function) -> FuncRef {
        let kernel = &self.kernels[index as usize - self.first];
        import_as(index, self.signature(kernel), caller)
    }

    /// Makes an entry of another table callable.
    pub(super) fn import_entry(&self, index: u32, caller: &mut Function) -> FuncRef {
        import_as(index, abi::entry_signature(self.call_conv), caller)
    }
}

/// Makes a function callable by its number.
fn import_as(index: u32, signature: Signature, caller: &mut Function) -> FuncRef {
    let signature = caller.import_signature(signature);
    let name = caller.declare_imported_user_function(UserExternalName { namespace: 0, index });
    caller.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    })
}
